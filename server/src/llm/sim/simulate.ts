import { PortcullisError } from '../../base/errors.ts';
import type { Answer, AssistantBlock, Conversation } from '../conversation.ts';
import type { Dialect } from '../dialect.ts';
import { Losses } from '../losses.ts';
import { errorOfStatus } from '../provider-error.ts';
import type { AnswerEvent, StreamBlock } from '../stream-events.ts';
import { wireFormats } from '../wire-formats.ts';
import { reply } from './reply.ts';
import { type Script, parseScript } from './script.ts';

/** What the simulated model does with a request. The caller waits `afterMs` before each part; nothing here does. */
export type Simulation =
  | { readonly kind: 'answer'; readonly afterMs: number; readonly body: string; readonly dropped: readonly string[] }
  /** A stream that ends without its terminal event is meant to be cut there. */
  | { readonly kind: 'stream'; readonly events: Iterable<SimulatedEvent>; readonly dropped: readonly string[] }
  | { readonly kind: 'error'; readonly afterMs: number; readonly status: number; readonly body: string };

export interface SimulatedEvent {
  /** Milliseconds after the event before. */
  readonly afterMs: number;
  /** SSE text of one event, in the caller's dialect. */
  readonly text: string;
}

/** Chat stamps its answers; a fixed stamp keeps the same request at the same bytes. */
const createdS = 0;

/**
 * The built-in model `sim`: deterministic, in every dialect by the same code that serves real ones, and marked as simulated
 * in all that it says. `Script` documents the names by which it is told to be slow, long or faulty. What it cannot
 * take (an image, say) it ignores and lists in `dropped`.
 */
export function simulate(request: {
  readonly dialect: Dialect;
  /** The parsed request. */
  readonly body: unknown;
  readonly requestId: string;
}): Simulation {
  const { dialect, requestId } = request;
  const wire = wireFormats[dialect];
  const losses = new Losses('allow');
  try {
    const conversation = wire.parseRequest(request.body, losses);
    const script = parseScript(conversation.model);
    const afterMs = script.latencyMs;
    if (script.errorStatus !== null) {
      return { kind: 'error', afterMs, ...errorOfStatus(dialect, script.errorStatus, scripted('error')) };
    }
    const answer = reply(conversation, script.tokens, requestId);
    const dropped = losses.names;
    return conversation.stream
      ? { kind: 'stream', events: perform(answer, conversation, script, dialect, requestId), dropped }
      : { kind: 'answer', afterMs, body: wire.writeAnswer(answer, { createdS, request: conversation }), dropped };
  } catch (thrown) {
    const { status, message } = PortcullisError.from(thrown);
    return { kind: 'error', afterMs: 0, ...errorOfStatus(dialect, status, message) };
  }
}

function* perform(
  answer: Answer,
  request: Conversation,
  script: Script,
  dialect: Dialect,
  requestId: string,
): Iterable<SimulatedEvent> {
  const encoder = wireFormats[dialect].createEncoder({ createdS, request, includeUsage: request.streamUsage });
  let written = 0;
  let afterMs = script.latencyMs;
  for (const event of eventsOf(answer)) {
    if (written === script.cutAfterEvents) return;
    if (written === script.errorAfterEvents) {
      const error = new PortcullisError('unavailable', scripted('error in mid-stream'));
      yield { afterMs, text: encoder.fail(error, requestId) };
      return;
    }
    if (isToken(event) && script.tokensPerS !== null) afterMs += 1000 / script.tokensPerS;
    const text = encoder.write(event);
    if (text === '') continue;
    yield { afterMs, text };
    afterMs = 0;
    written++;
  }
}

function isToken({ type }: AnswerEvent): boolean {
  return type === 'text_delta' || type === 'arguments_delta' || type === 'reasoning_delta';
}

/** The answer as a stream, a token at a time. The input is known from the start, the output at the end. */
function* eventsOf({ id, model, blocks, stop, stopSequence, usage }: Answer): Iterable<AnswerEvent> {
  yield { type: 'start', id, model, usage: usage && { ...usage, output: 0 } };
  for (const [index, block] of blocks.entries()) {
    yield { type: 'block_start', index, block: streamBlock(block) };
    yield* deltasOf(block, index);
    yield { type: 'block_stop', index };
  }
  yield { type: 'finish', stop, stopSequence, usage };
}

function streamBlock(block: AssistantBlock): StreamBlock {
  return block.type === 'tool_call' ? { kind: 'tool_call', id: block.id, name: block.name } : { kind: block.type };
}

function* deltasOf(block: AssistantBlock, index: number): Iterable<AnswerEvent> {
  switch (block.type) {
    case 'text':
      for (const text of pieces(block.text)) yield { type: 'text_delta', index, text };
      break;
    case 'reasoning':
      for (const text of pieces(block.text)) yield { type: 'reasoning_delta', index, text };
      if (block.seal !== null) yield { type: 'seal', index, seal: block.seal };
      break;
    default:
      for (const json of pieces(block.argumentsJson)) yield { type: 'arguments_delta', index, json };
  }
}

/** Pieces of about a token. */
function* pieces(text: string): Iterable<string> {
  let piece = '';
  for (const character of text) {
    piece += character;
    if (Buffer.byteLength(piece) < 4) continue;
    yield piece;
    piece = '';
  }
  if (piece !== '') yield piece;
}

function scripted(what: string): string {
  return `[simulated] The model's name asks for this ${what}.`;
}
