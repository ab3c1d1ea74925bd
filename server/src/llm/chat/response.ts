import { randomUUID } from 'node:crypto';
import type { Answer, AssistantBlock, StopReason, TextBlock, ToolCallBlock } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { readUsage } from './usage.ts';
import { writeUsage } from './usage-writer.ts';

const stopReasons: ReadonlyMap<unknown, StopReason> = new Map([
  ['stop', 'end'],
  ['length', 'length'],
  ['tool_calls', 'tool'],
  ['content_filter', 'refusal'],
]);

const wireReasons: Readonly<Record<StopReason, string>> = {
  end: 'stop',
  length: 'length',
  tool: 'tool_calls',
  stop_sequence: 'stop',
  refusal: 'content_filter',
};

/** @throws PortcullisError upstream_error when the answer is not a Chat Completion, or holds what cannot be translated. */
export function parseAnswer(json: unknown, losses: Losses): Answer {
  const completion = new ObjectReader(json, '', losses);
  const choices = completion.list('choices');
  if (choices.length > 1) losses.drop('choices[1]', 'is a second choice, which nobody asked for');
  const choice = new ObjectReader(choices[0], 'choices[0]', losses);
  const message = choice.child('message');
  if (message === null) throw choice.malformed('message', 'a JSON object');
  const refusal = message.optionalString('refusal') ?? '';
  const blocks: AssistantBlock[] = [
    ...textBlocks(message.optionalString('content') ?? ''),
    ...textBlocks(refusal),
    ...message.list('tool_calls').map((call, i) => parseToolCall(call, `tool_calls[${i}]`, losses)),
  ];
  choice.hint('logprobs');
  closeMessage(message, losses);
  return {
    id: completion.optionalString('id') ?? '',
    model: completion.optionalString('model') ?? '',
    blocks,
    ...parseStop(choice, { called: blocks.some(({ type }) => type === 'tool_call'), refused: refusal !== '' }, losses),
    usage: readUsage(json),
  };
}

/**
 * Reads why a choice ended. What the answer holds goes before what it is labelled: many servers finish a turn of tool
 * calls with "stop", and OpenAI a refusal too.
 * @throws PortcullisError upstream_error for a reason that is none of this dialect's, or tool calls that never came.
 */
export function parseStop(
  choice: ObjectReader,
  seen: { readonly called: boolean; readonly refused: boolean },
  losses: Losses,
): Pick<Answer, 'stop' | 'stopSequence'> {
  const stop = stopReasons.get(choice.any('finish_reason'));
  if (stop === undefined) throw losses.malformed('finish_reason', `one of ${[...stopReasons.keys()].join(', ')}`);
  if (stop === 'tool' && !seen.called) throw losses.malformed('finish_reason', 'something else without any tool call');
  if (stop !== 'end') return { stop, stopSequence: null };
  if (seen.refused) return { stop: 'refusal', stopSequence: null };
  if (seen.called) return { stop: 'tool', stopSequence: null };
  // vLLM's addition: the sequence that matched, where one did. OpenAI does not tell it from a natural end.
  const matched = choice.any('stop_reason');
  return typeof matched === 'string' ? { stop: 'stop_sequence', stopSequence: matched } : { stop, stopSequence: null };
}

/** Ends the reading of a message or delta. Content that was never asked for matters; what servers add of their own is listed. */
export function closeMessage(message: ObjectReader, losses: Losses): void {
  for (const name of ['audio', 'function_call']) {
    if (message.any(name) !== undefined) losses.drop(message.path(name), 'is content that nobody asked for');
  }
  message.neutral('role', 'assistant');
  message.closeOpen();
}

function textBlocks(text: string): TextBlock[] {
  return text === '' ? [] : [{ type: 'text', text }];
}

function parseToolCall(json: unknown, path: string, losses: Losses): ToolCallBlock {
  const call = new ObjectReader(json, path, losses);
  const fn = call.child('function');
  if (fn === null) throw call.malformed('function', 'a JSON object');
  return { type: 'tool_call', id: callId(call), name: fn.string('name'), argumentsJson: parseArgumentsText(fn) };
}

/** The call's identifier. Some servers give none, and the caller cannot answer a call without: it gets a unique one. */
export function callId(call: ObjectReader): string {
  return call.optionalString('id') || `call_${randomUUID().replaceAll('-', '')}`;
}

/** The arguments, or a part of them, as text. Some servers send the object itself. */
export function parseArgumentsText(fn: ObjectReader): string {
  const value = fn.any('arguments') ?? '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

export function writeAnswer(answer: Answer, createdS: number): string {
  const calls = answer.blocks.filter((block) => block.type === 'tool_call');
  const texts = answer.blocks.filter((block) => block.type === 'text');
  return JSON.stringify({
    id: answer.id,
    object: 'chat.completion',
    created: createdS,
    model: answer.model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: texts.length === 0 && calls.length > 0 ? null : texts.map(({ text }) => text).join(''),
          refusal: null,
          ...(calls.length > 0 && { tool_calls: calls.map(writeToolCall) }),
        },
        logprobs: null,
        finish_reason: writeStop(answer.stop),
      },
    ],
    ...(answer.usage !== null && { usage: writeUsage(answer.usage) }),
  });
}

/** Chat does not say which stop sequence matched, nor that one did. */
export function writeStop(stop: StopReason): string {
  return wireReasons[stop];
}

function writeToolCall({ id, name, argumentsJson }: ToolCallBlock): unknown {
  return { id, type: 'function', function: { name, arguments: argumentsJson } };
}
