import { freeformArguments } from '../freeform-tools.ts';
import { sealFromText } from '../seal.ts';
import { eventsIn } from './sse-text.ts';
import { type ContentBlock, type StreamContent, insist } from './stream-content.ts';

/**
 * Checks a stream of Chat Completions chunks against the vendor's description ("The chat completion chunk object"),
 * written without a look at the encoder: chunks of one id; the first names the role; a tool call's first part gives
 * id, type and name, later parts only arguments; indexes without gaps; one finish_reason, then at most a chunk with usage
 * and no choices, then [DONE]; an object with `error` ends everything, without [DONE]. Of what others added: reasoning is
 * text in `reasoning_content`, and its details come at once, after all content.
 */
export function readChatStream(text: string): StreamContent {
  let content: ContentBlock | null = null;
  let thought: string | null = null;
  let details: readonly Detail[] | null = null;
  const calls: Extract<ContentBlock, { type: 'tool_call' }>[] = [];
  let phase: 'new' | 'open' | 'finished' | 'usage' | 'done' | 'failed' = 'new';
  let stop: string | null = null;
  let usage: unknown = null;
  let id: unknown;
  for (const { event, data } of eventsIn(text)) {
    insist(event === 'message', `a named event ${event}`);
    insist(phase !== 'done' && phase !== 'failed', 'something after the end');
    if (data === '[DONE]') {
      insist(phase === 'finished' || phase === 'usage', `[DONE] in phase ${phase}`);
      phase = 'done';
      continue;
    }
    const chunk = JSON.parse(data);
    if (chunk.error !== undefined) {
      insist(typeof chunk.error.message === 'string', 'an error without text');
      phase = 'failed';
      continue;
    }
    insist(chunk.object === 'chat.completion.chunk' && Number.isInteger(chunk.created), 'not a chunk');
    insist(id === undefined || chunk.id === id, 'another id');
    id = chunk.id;
    const [choice] = chunk.choices;
    if (choice === undefined) {
      insist(phase === 'finished' && Number.isInteger(chunk.usage.prompt_tokens), `no choices in phase ${phase}`);
      usage = chunk.usage;
      phase = 'usage';
      continue;
    }
    insist(phase === 'new' || phase === 'open', `a choice in phase ${phase}`);
    insist(
      (phase === 'new') === (choice.delta.role === 'assistant'),
      'the role stands in the first chunk and there alone',
    );
    insist(choice.index === 0 && (chunk.usage ?? null) === null, 'another choice, or usage before the end');
    phase = 'open';
    insist(details === null || Object.keys(choice.delta).length === 0, 'content after the details of the reasoning');
    details = choice.delta.reasoning_details ?? details;
    if (typeof choice.delta.reasoning_content === 'string') {
      thought = (thought ?? '') + choice.delta.reasoning_content;
    }
    if (typeof choice.delta.content === 'string') {
      content ??= { type: 'text', text: '', closed: false };
      content.text += choice.delta.content;
    }
    for (const part of choice.delta.tool_calls ?? []) readPart(part, calls);
    if (choice.finish_reason !== null) {
      insist(legalReasons.has(choice.finish_reason), `finish_reason ${choice.finish_reason}`);
      stop = choice.finish_reason;
      phase = 'finished';
    }
  }
  const ended = phase === 'done';
  const blocks = [...reasoning(thought, details), ...(content === null ? [] : [content]), ...calls].map((block) => ({
    ...block,
    closed: ended,
  }));
  return { blocks, ending: ended ? 'finished' : phase === 'failed' ? 'failed' : 'open', stop, usage };
}

const legalReasons = new Set(['stop', 'length', 'tool_calls', 'content_filter', 'function_call']);

interface Detail {
  readonly type: string;
  readonly text?: string;
  readonly data?: string;
  readonly signature?: string;
}

function reasoning(thought: string | null, details: readonly Detail[] | null): ContentBlock[] {
  const sealed = (details ?? []).map(({ text = '', data, signature }): ContentBlock => {
    return { type: 'reasoning', text, seal: sealFromText(data ?? signature ?? ''), closed: false };
  });
  const seen = sealed.map((block) => (block.type === 'reasoning' ? block.text : '')).join('');
  if (thought === null || seen === thought) return sealed;
  // Some of it has no seal, or that of this dialect.
  return [{ type: 'reasoning', text: thought, seal: null, closed: false }];
}

interface Part {
  readonly index: number;
  readonly id?: string;
  readonly type?: string;
  readonly function?: { readonly name?: string; readonly arguments: string };
  readonly custom?: { readonly name?: string; readonly input: string };
}

function readPart(part: Part, calls: Extract<ContentBlock, { type: 'tool_call' }>[]): void {
  insist(part.index <= calls.length, `tool call ${part.index} after ${calls.length} calls`);
  const call = calls[part.index];
  const { name, arguments: json } = part.custom
    ? { name: part.custom.name, arguments: freeformArguments(part.custom.input) }
    : { name: part.function?.name, arguments: part.function?.arguments ?? '' };
  if (call === undefined) {
    insist(part.type === (part.custom ? 'custom' : 'function'), 'a tool call without type, or of another');
    insist(Boolean(part.id) && Boolean(name), 'a tool call without id or name');
    const { id = '' } = part;
    calls.push({ type: 'tool_call', id, name: name ?? '', argumentsJson: json, closed: false });
  } else {
    insist(part.id === undefined && name === undefined, 'a tool call that begins twice');
    insist(part.function !== undefined, 'a tool call that goes on as another');
    call.argumentsJson += json;
  }
}
