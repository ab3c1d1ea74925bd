import { randomUUID } from 'node:crypto';
import type { Answer, AnswerContext, AssistantBlock, Seal, StopReason, ToolCallBlock } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { argumentsError, parseArguments } from '../tool-arguments.ts';
import { redactedSeal, signatureOf, signatureSeal } from './thinking.ts';
import { readUsage } from './usage.ts';
import { writeUsage } from './usage-writer.ts';

const stopReasons: ReadonlyMap<unknown, StopReason> = new Map([
  ['end_turn', 'end'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['tool_use', 'tool'],
  ['stop_sequence', 'stop_sequence'],
  ['refusal', 'refusal'],
]);

const wireReasons: Readonly<Record<StopReason, string>> = {
  end: 'end_turn',
  length: 'max_tokens',
  tool: 'tool_use',
  stop_sequence: 'stop_sequence',
  refusal: 'refusal',
};

/** @throws PortcullisError upstream_error when the answer is not a Message, or holds what cannot be translated. */
export function parseAnswer(json: unknown, losses: Losses): Answer {
  const message = new ObjectReader(json, '', losses);
  noteDetails(message);
  return {
    id: message.optionalString('id') ?? '',
    model: message.optionalString('model') ?? '',
    blocks: message.list('content').flatMap((item, i) => parseBlock(item, `content[${i}]`, losses)),
    stop: parseStop(message.any('stop_reason'), losses),
    stopSequence: message.optionalString('stop_sequence'),
    usage: readUsage(json),
  };
}

/** Reads a `stop_reason`. @throws PortcullisError upstream_error for one that no other dialect can express. */
export function parseStop(reason: unknown, losses: Losses): StopReason {
  const stop = stopReasons.get(reason);
  if (stop === undefined) throw losses.malformed('stop_reason', `one of ${[...stopReasons.keys()].join(', ')}`);
  return stop;
}

/** Why a model refused stays behind: the other dialects say only that it did. */
export function noteDetails(holder: ObjectReader): void {
  const details = holder.child('stop_details');
  details?.hint('category');
  details?.hint('explanation');
}

function parseBlock(json: unknown, path: string, losses: Losses): AssistantBlock[] {
  const block = new ObjectReader(json, path, losses);
  switch (translatable(block, path, losses)) {
    case 'text': {
      const text = parseText(block);
      return text === '' ? [] : [{ type: 'text', text }];
    }
    case 'thinking':
    case 'redacted_thinking': {
      const { text, seal } = parseThinking(block);
      return text === '' && seal === null ? [] : [{ type: 'reasoning', text, seal }];
    }
    case 'tool_use': {
      const input = block.optionalObject('input');
      if (input === null) throw block.malformed('input', 'a JSON object');
      return [{ ...parseToolUse(block), argumentsJson: JSON.stringify(input) }];
    }
    default:
      return [];
  }
}

const translatableTypes = ['text', 'thinking', 'redacted_thinking', 'tool_use'] as const;

/**
 * The type of a content block of an answer, or null for one that stays behind. What only the vendor can make is not ours
 * to judge: it is refused unless the route allows losses.
 */
export function translatable(
  block: ObjectReader,
  path: string,
  losses: Losses,
): (typeof translatableTypes)[number] | null {
  const type = block.string('type');
  const known = translatableTypes.find((each) => each === type);
  if (known === undefined) losses.drop(path, `is a block of type "${type}"`);
  return known ?? null;
}

/** Reads a block of either kind of thinking. Signatures stay as they are: the provider made them, whatever they are. */
export function parseThinking(block: ObjectReader): { readonly text: string; readonly seal: Seal | null } {
  const data = block.optionalString('data');
  const seal = data === null ? signatureSeal(block.optionalString('signature') ?? '') : redactedSeal(data);
  return { text: block.optionalString('thinking') ?? '', seal };
}

export function parseText(block: ObjectReader): string {
  block.hint('citations');
  return block.optionalString('text') ?? '';
}

/** A server may forget the id, which only ties the result to its call. Without a name there is no call. */
export function parseToolUse(block: ObjectReader): Pick<ToolCallBlock, 'type' | 'id' | 'name'> {
  const id = block.optionalString('id') || `toolu_${randomUUID()}`;
  return { type: 'tool_call', id, name: block.string('name') };
}

/** @throws PortcullisError upstream_error when a tool call's arguments are not the JSON object that this dialect needs. */
export function writeAnswer(answer: Answer, _context?: AnswerContext, losses?: Losses): string {
  return JSON.stringify({
    ...writeMessage(answer),
    content: answer.blocks.filter((block) => !isCut(block, answer, losses)).map(writeBlock),
    ...writeStop(answer.stop, answer.stopSequence),
    usage: writeUsage(answer.usage),
  });
}

/**
 * A call that the limit of the answer cut has no place where arguments are an object, and none that it did not have is
 * made up for it: a client could carry it out. What was said before it, and why it ended, is the answer.
 */
function isCut(block: AssistantBlock, { stop }: Answer, losses: Losses | undefined): boolean {
  if (stop !== 'length' || block.type !== 'tool_call' || parseArguments(block.argumentsJson) !== null) return false;
  losses?.hint('content.tool_use');
  return true;
}

/** A Message with nothing in it yet: what `message_start` carries too. */
export function writeMessage({ id, model }: Pick<Answer, 'id' | 'model'>): Record<string, unknown> {
  return {
    id,
    type: 'message',
    role: 'assistant',
    model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    stop_details: null,
    container: null,
    diagnostics: null,
  };
}

/** The members that say why the answer ended. A refusal's category and explanation are not known to other dialects. */
export function writeStop(stop: StopReason, stopSequence: string | null): Record<string, unknown> {
  const details = stop === 'refusal' ? { type: 'refusal', category: null, explanation: null } : null;
  return { stop_reason: wireReasons[stop], stop_sequence: stopSequence, stop_details: details };
}

function writeBlock(block: AssistantBlock): unknown {
  if (block.type === 'text') return writeText(block.text);
  if (block.type === 'reasoning') return writeThinking(block.text, signatureOf(block.seal));
  const input = parseArguments(block.argumentsJson);
  if (input === null) throw argumentsError(block);
  return writeToolUse(block, input);
}

export function writeText(text: string): unknown {
  return { type: 'text', text, citations: null };
}

export function writeThinking(thinking: string, signature: string): unknown {
  return { type: 'thinking', thinking, signature };
}

export function writeToolUse({ id, name }: Pick<ToolCallBlock, 'id' | 'name'>, input: unknown): unknown {
  return { type: 'tool_use', id, name, input, caller: { type: 'direct' } };
}
