import { randomUUID } from 'node:crypto';
import type { Answer, AnswerContext, AssistantBlock, StopReason, ToolCallBlock } from '../conversation.ts';
import { freeformInput, freeformNames } from '../freeform-tools.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { providerError } from '../provider-error.ts';
import { readExtras } from './call-extras.ts';
import { textBlocks } from './content.ts';
import { readReasoning, writeReasoning } from './reasoning.ts';
import { readUsage } from './usage.ts';
import { writeUsage } from './usage-writer.ts';

const stopReasons: ReadonlyMap<string, StopReason> = new Map([
  ['stop', 'end'],
  ['length', 'length'],
  ['tool_calls', 'tool'],
  // OpenAI's older word, which some servers still use for tool calls.
  ['function_call', 'tool'],
  ['content_filter', 'refusal'],
  // Text Generation Inference, Together, Mistral
  ['eos_token', 'end'],
  ['eos', 'end'],
  ['model_length', 'length'],
]);

/** The reasons of answers that were broken off: OpenRouter, vLLM, DeepSeek, Gemini. */
const failures: ReadonlySet<string> = new Set([
  'error',
  'abort',
  'insufficient_system_resource',
  'function_call_filter',
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
  // OpenRouter answers with status 200 before it knows of an error.
  if (completion.any('error') !== undefined) throw providerError('chat', json);
  const choices = completion.list('choices');
  if (choices.length > 1) losses.drop('choices[1]', 'is a second choice, which nobody asked for');
  const choice = new ObjectReader(choices[0], 'choices[0]', losses);
  const message = choice.child('message');
  if (message === null) throw choice.malformed('message', 'a JSON object');
  const refusal = message.optionalString('refusal') ?? '';
  const blocks: AssistantBlock[] = [
    ...readReasoning(message, losses),
    ...textBlocks(contentText(message, losses)),
    ...textBlocks(refusal),
    ...message.list('tool_calls').flatMap((call, i) => parseToolCall(call, `tool_calls[${i}]`, losses)),
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

/** What a message or delta says: a string, or the list of parts that Mistral and others send. */
export function contentText(message: ObjectReader, losses: Losses): string {
  const content = message.any('content') ?? '';
  if (typeof content === 'string') return content;
  return message
    .list('content')
    .map((item, i) => {
      const part = new ObjectReader(item, message.path(`content[${i}]`), losses);
      const type = part.string('type');
      if (type === 'text') return part.optionalString('text') ?? '';
      if (type === 'thinking') part.hint('thinking');
      else losses.drop(message.path(`content[${i}]`), `is a part of type "${type}", which nobody asked for`);
      return '';
    })
    .join('');
}

/**
 * Reads why a choice ended. What the answer holds goes before what it is labelled: many servers finish a turn of tool
 * calls with "stop", OpenAI a refusal too, and some give a finished answer no reason at all.
 * @throws PortcullisError upstream_error for a failure, a reason that is unknown, or tool calls that never came.
 */
export function parseStop(
  choice: ObjectReader,
  seen: { readonly called: boolean; readonly refused: boolean },
  losses: Losses,
): Pick<Answer, 'stop' | 'stopSequence'> {
  const given = choice.any('finish_reason') || 'stop';
  const reason = typeof given === 'string' ? given : '';
  if (choice.any('error') !== undefined) throw providerError('chat', { error: choice.any('error') });
  // Gemini tells more behind a colon: `content_filter: SAFETY`.
  const word = /^\w+(?=: )/.exec(reason)?.[0] ?? reason;
  if (failures.has(word)) {
    throw providerError('chat', { message: `The provider broke off its answer (${reason}).` });
  }
  const stop = stopReasons.get(word);
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
  for (const name of ['audio', 'function_call', 'images']) {
    const value = message.any(name);
    if (value !== undefined && !(Array.isArray(value) && value.length === 0)) {
      losses.drop(message.path(name), 'is content that nobody asked for');
    }
  }
  message.neutral('role', 'assistant');
  message.closeOpen();
}

function parseToolCall(json: unknown, path: string, losses: Losses): AssistantBlock[] {
  const call = new ObjectReader(json, path, losses);
  const fn = call.child('function');
  if (fn === null) throw call.malformed('function', 'a JSON object');
  return [
    ...readExtras(call),
    { type: 'tool_call', id: callId(call), name: fn.string('name'), argumentsJson: parseArgumentsText(fn) },
  ];
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

export function writeAnswer(answer: Answer, { createdS, request }: AnswerContext): string {
  const calls = answer.blocks.filter((block) => block.type === 'tool_call');
  const texts = answer.blocks.filter((block) => block.type === 'text');
  const freeform = freeformNames(request);
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
          ...writeReasoning(answer.blocks),
          ...(calls.length > 0 && { tool_calls: calls.map((call) => writeToolCall(call, freeform.has(call.name))) }),
        },
        logprobs: null,
        ...writeStop(answer),
      },
    ],
    ...(answer.usage !== null && { usage: writeUsage(answer.usage) }),
  });
}

/** Chat has no word for a stop sequence. Which one matched is told as vLLM does. */
export function writeStop({ stop, stopSequence }: Pick<Answer, 'stop' | 'stopSequence'>): object {
  return { finish_reason: wireReasons[stop], ...(stopSequence !== null && { stop_reason: stopSequence }) };
}

/** A call as a whole: of a custom tool where the caller offered it as one. */
export function writeToolCall({ id, name, argumentsJson }: Omit<ToolCallBlock, 'type'>, freeform: boolean): object {
  return freeform
    ? { id, type: 'custom', custom: { name, input: freeformInput(argumentsJson) } }
    : { id, type: 'function', function: { name, arguments: argumentsJson } };
}
