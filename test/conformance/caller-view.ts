import type { Seal } from '../../server/src/llm/conversation.ts';
import type { Dialect } from '../../server/src/llm/dialect.ts';
import { sealFromText } from '../../server/src/llm/seal.ts';
import { readAnthropicStream } from '../../server/src/llm/testing/anthropic-grammar.ts';
import { readChatStream } from '../../server/src/llm/testing/chat-grammar.ts';
import { readResponsesStream } from '../../server/src/llm/testing/responses-grammar.ts';
import { eventsIn } from '../../server/src/llm/testing/sse-text.ts';
import type { StreamContent } from '../../server/src/llm/testing/stream-content.ts';

/**
 * What a caller makes of an answer, read from the vendors' references without the gate's own parsers: streams by the
 * grammar checkers, which fail on an illegal one, and whole bodies here.
 */
export interface View {
  readonly id: string;
  readonly model: string;
  readonly blocks: readonly ViewBlock[];
  readonly stop: string | null;
  readonly stopSequence: string | null;
  readonly usage: Tokens | null;
  /** Whether it says where its words are from. */
  readonly cited: boolean;
  /** The error that ended the answer. */
  readonly error: { readonly kind: string; readonly message: string } | null;
}

export type ViewBlock =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'reasoning'; readonly text: string; readonly seal: Seal | null }
  | { readonly type: 'tool_call'; readonly id: string; readonly name: string; readonly input: unknown };

/** Tokens by class; `written` to the cache for the usual time, and for the longer one. */
export interface Tokens {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly written: number;
  readonly writtenLong: number;
  readonly reasoning: number;
}

// Whatever was told is looked at member by member.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const grammars: Readonly<Record<Dialect, (text: string) => StreamContent>> = {
  anthropic: readAnthropicStream,
  chat: readChatStream,
  responses: readResponsesStream,
};

/** Reads the SSE text of a stream. @throws Error where it is not legal in the dialect */
export function streamView(dialect: Dialect, text: string): View {
  const { blocks, ending, stop, usage } = grammars[dialect](text);
  if (ending === 'open') throw new Error('the stream does not end');
  const events: Json[] = eventsIn(text).flatMap(({ data }) => (data === '[DONE]' ? [] : [JSON.parse(data)]));
  const first = events.find((event) => event.message ?? event.choices ?? event.response) ?? {};
  const { id = '', model = '' } = first.message ?? first.response ?? first;
  return {
    id,
    model,
    blocks: blocks.map(({ closed: _closed, ...block }): ViewBlock => {
      if (block.type !== 'tool_call') return block;
      const { argumentsJson, ...call } = block;
      return { ...call, input: ending === 'failed' ? argumentsJson : inputOf(argumentsJson) };
    }),
    stop,
    stopSequence: events.map(stopSequenceOf).find((sequence) => typeof sequence === 'string') ?? null,
    usage: usage === null ? null : tokens[dialect](usage),
    cited: isCited(text),
    error: ending === 'failed' ? errorOf(dialect, events.at(-1)) : null,
  };
}

function inputOf(json: string): unknown {
  return json === '' ? '' : JSON.parse(json);
}

/** Chat servers tell it as vLLM does. */
function stopSequenceOf(event: Json): unknown {
  return event.delta?.stop_sequence ?? event.choices?.[0]?.stop_reason;
}

function errorOf(dialect: Dialect, event: Json): View['error'] {
  if (dialect === 'anthropic') return { kind: event.error.type, message: event.error.message };
  const error = dialect === 'responses' ? event.response.error : event.error;
  return { kind: error.code, message: error.message };
}

/** Reads a whole answer. */
export function wholeView(dialect: Dialect, text: string): View {
  const body = JSON.parse(text);
  const { id, model, usage = null } = body;
  const read = readers[dialect](body);
  return { id, model, ...read, usage: usage && tokens[dialect](usage), cited: isCited(text), error: null };
}

function isCited(text: string): boolean {
  return /"(?:citations|annotations)":\[[^\]]/.test(text);
}

type Read = Pick<View, 'blocks' | 'stop' | 'stopSequence'>;

const readers: Readonly<Record<Dialect, (body: Json) => Read>> = {
  anthropic: ({ content, stop_reason: stop, stop_sequence: stopSequence }) => ({
    blocks: content.map((block: Json): ViewBlock => {
      switch (block.type) {
        case 'text':
          return { type: 'text', text: block.text };
        case 'thinking':
          return { type: 'reasoning', text: block.thinking, seal: sealFromText(block.signature) };
        case 'tool_use':
          return { type: 'tool_call', id: block.id, name: block.name, input: block.input };
        default:
          throw new Error(`a block of type ${block.type}`);
      }
    }),
    stop,
    stopSequence,
  }),
  chat: ({ choices: [choice] }) => ({
    blocks: [
      ...(choice.message.reasoning_details ?? []).map((detail: Json) => ({
        type: 'reasoning',
        text: detail.text ?? '',
        seal: sealFromText(detail.data ?? detail.signature),
      })),
      ...(choice.message.content ? [{ type: 'text', text: choice.message.content }] : []),
      ...(choice.message.tool_calls ?? []).map((call: Json) => ({
        type: 'tool_call',
        id: call.id,
        name: (call.function ?? call.custom).name,
        input: call.custom ? { input: call.custom.input } : inputOf(call.function.arguments),
      })),
    ],
    stop: choice.finish_reason,
    stopSequence: choice.stop_reason ?? null,
  }),
  responses: ({ output, status, incomplete_details: incomplete }) => ({
    blocks: output.map((item: Json): ViewBlock => {
      switch (item.type) {
        case 'message':
          return { type: 'text', text: item.content.map((part: Json) => part.text).join('') };
        case 'reasoning': {
          const text = item.summary.map((part: Json) => part.text).join('');
          return { type: 'reasoning', text, seal: sealFromText(item.encrypted_content ?? '') };
        }
        case 'function_call':
          return { type: 'tool_call', id: item.call_id, name: item.name, input: inputOf(item.arguments) };
        case 'custom_tool_call':
          return { type: 'tool_call', id: item.call_id, name: item.name, input: { input: item.input } };
        default:
          throw new Error(`an item of type ${item.type}`);
      }
    }),
    stop: incomplete?.reason ?? status,
    stopSequence: null,
  }),
};

/** In OpenAI's dialects the prompt's tokens include those of the cache. */
function openai(prompt: number, output: number, input: Json, details: Json): Tokens {
  const { cached_tokens: cacheRead, cache_write_tokens: all, cache_write_tokens_details: by } = input;
  const writtenLong = by?.ttl_12h_tokens ?? 0;
  const written = all - writtenLong;
  return {
    input: prompt - cacheRead - all,
    output,
    cacheRead,
    written,
    writtenLong,
    reasoning: details.reasoning_tokens,
  };
}

const tokens: Readonly<Record<Dialect, (usage: Json) => Tokens>> = {
  anthropic: (usage) => ({
    input: usage.input_tokens,
    output: usage.output_tokens,
    cacheRead: usage.cache_read_input_tokens,
    written: usage.cache_creation_input_tokens - (usage.cache_creation?.ephemeral_1h_input_tokens ?? 0),
    writtenLong: usage.cache_creation?.ephemeral_1h_input_tokens ?? 0,
    reasoning: usage.output_tokens_details.thinking_tokens,
  }),
  chat: (usage) =>
    openai(usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens_details, usage.completion_tokens_details),
  responses: (usage) =>
    openai(usage.input_tokens, usage.output_tokens, usage.input_tokens_details, usage.output_tokens_details),
};
