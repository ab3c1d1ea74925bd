import { type Dialect, dialects } from '../../server/src/llm/dialect.ts';
import { readAnthropicStream } from '../../server/src/llm/testing/anthropic-grammar.ts';
import { readChatStream } from '../../server/src/llm/testing/chat-grammar.ts';
import { readResponsesStream } from '../../server/src/llm/testing/responses-grammar.ts';
import type { StreamContent } from '../../server/src/llm/testing/stream-content.ts';
import { anthropic } from '../support/mock-upstream/anthropic.ts';
import { chat } from '../support/mock-upstream/chat.ts';
import type { MockDialect } from '../support/mock-upstream/dialect.ts';
import { responses } from '../support/mock-upstream/responses.ts';

/** A dialect as this proof needs it, on either side of the gate; written from the vendors' documentation, not from the gate. */
export interface Side {
  readonly path: string;
  /** The provider that speaks it, as portcullis.yaml has it. */
  readonly provider: (url: string) => object;
  readonly request: (model: string, wantsUsage: boolean) => object;
  readonly upstream: MockDialect;
  /** The event by which a provider ends its answer with an error, after so many others. */
  readonly errorEvent: (message: string, after: number) => string;
  /** Reads what a client got. @throws Error where it is no legal stream, or no legal beginning of one */
  readonly read: (text: string) => StreamContent;
  /** Whether it is the body of an HTTP error. */
  readonly isError: (json: { readonly type?: unknown; readonly error?: Record<string, unknown> }) => boolean;
}

const messages = [{ role: 'user', content: 'Say something.' }];
const isText = (value: unknown) => typeof value === 'string' && value !== '';

const known: Readonly<Partial<Record<string, Side>>> = {
  anthropic: {
    path: '/v1/messages',
    provider: (url) => ({ kind: 'anthropic', base_url: url, api_key: 'key-of-anthropic' }),
    request: (model) => ({ model, max_tokens: 4_000, stream: true, messages }),
    upstream: anthropic,
    errorEvent: (message) =>
      `event: error\ndata: ${JSON.stringify({ type: 'error', error: { type: 'overloaded_error', message } })}\n\n`,
    read: readAnthropicStream,
    isError: ({ type, error }) => type === 'error' && isText(error?.['type']) && isText(error?.['message']),
  },
  chat: {
    path: '/v1/chat/completions',
    provider: (url) => ({ kind: 'openai-compatible', base_url: `${url}/v1`, api_key: 'key-of-chat' }),
    request: (model, wantsUsage) => ({
      model,
      max_tokens: 4_000,
      stream: true,
      messages,
      ...(wantsUsage && { stream_options: { include_usage: true } }),
    }),
    upstream: chat,
    errorEvent: (message) =>
      `data: ${JSON.stringify({ error: { message, type: 'server_error', param: null, code: null } })}\n\n`,
    read: readChatStream,
    isError: ({ error }) => isText(error?.['type']) && isText(error?.['message']),
  },
  responses: {
    path: '/v1/responses',
    provider: (url) => ({
      kind: 'openai-compatible',
      base_url: `${url}/v1`,
      api_key: 'key-of-responses',
      dialects: ['responses'],
    }),
    request: (model) => ({ model, max_output_tokens: 4_000, stream: true, store: false, input: 'Say something.' }),
    upstream: responses,
    errorEvent: (message, after) =>
      `event: error\ndata: ${JSON.stringify({ type: 'error', sequence_number: after, code: 'server_error', message, param: null })}\n\n`,
    read: readResponsesStream,
    isError: ({ error }) => isText(error?.['type']) && isText(error?.['message']),
  },
};

/** The dialects of the gate that are proved, and those that are not. */
export const sides = new Map<Dialect, Side>(
  dialects.flatMap((dialect) => {
    const side = known[dialect];
    return side ? [[dialect, side] as const] : [];
  }),
);
export const unproved: readonly string[] = dialects.filter((dialect) => !sides.has(dialect));

export function sideOf(dialect: Dialect): Side {
  const side = sides.get(dialect);
  if (!side) throw new Error(`no side for ${dialect}`);
  return side;
}
