import type { Dialect } from '../../server/src/llm/dialect.ts';
import type { ErrorFeature } from './error-matrix.ts';

/** How a provider can refuse a request. */

const everywhere = (status: number) => ({ anthropic: status, chat: status, responses: status });

/** The type in Anthropic's dialect, and in both of OpenAI's. */
const types = (anthropic: string, openai: string): Record<Dialect, string> => ({
  anthropic,
  chat: openai,
  responses: openai,
});

const openaiError = (message: string, type: string, code: string | null) => {
  const body = { error: { message, type, code, param: null } };
  return { chat: body, responses: body };
};

const tooLong = "This model's maximum context length is 8192 tokens.";

const throughGate = true;

export const errorFeatures: readonly ErrorFeature[] = [
  {
    name: 'an error of the request',
    status: everywhere(400),
    message: 'The request is wrong.',
    type: types('invalid_request_error', 'invalid_request_error'),
    code: null,
    throughGate,
  },
  {
    name: 'an overflow of the context, in the words that clients know it by',
    status: everywhere(400),
    message: tooLong,
    body: {
      anthropic: {
        type: 'error',
        error: { type: 'invalid_request_error', message: `prompt is too long: ${tooLong}` },
      },
      ...openaiError(tooLong, 'invalid_request_error', 'context_length_exceeded'),
    },
    type: types('invalid_request_error', 'invalid_request_error'),
    code: 'context_length_exceeded',
    // Claude Code knows it by its first words.
    messageTold: ({ from, to }) => ([from, to].includes('anthropic') ? `prompt is too long: ${tooLong}` : tooLong),
    throughGate,
  },
  {
    name: 'an error of the caller’s own credential',
    status: everywhere(401),
    message: 'No such key.',
    type: types('authentication_error', 'authentication_error'),
    code: null,
  },
  {
    name: 'a bill that is not paid',
    status: { anthropic: 402, chat: 429, responses: 429 },
    message: 'Pay first.',
    body: {
      anthropic: { type: 'error', error: { type: 'billing_error', message: 'Pay first.' } },
      ...openaiError('Pay first.', 'insufficient_quota', 'insufficient_quota'),
    },
    type: types('billing_error', 'insufficient_quota'),
    code: 'insufficient_quota',
    throughGate,
  },
  {
    name: 'an error of permission',
    status: everywhere(403),
    message: 'Not for you.',
    body: openaiError('Not for you.', 'permission_error', null),
    type: types('permission_error', 'permission_error'),
    code: null,
    throughGate,
  },
  {
    name: 'a model that the provider does not know',
    status: everywhere(404),
    message: 'No such model.',
    type: types('not_found_error', 'not_found_error'),
    code: null,
    throughGate,
  },
  {
    name: 'a request that is too large',
    status: everywhere(413),
    message: 'Too large.',
    type: types('request_too_large', 'invalid_request_error'),
    code: null,
    throughGate,
  },
  {
    name: 'too many requests, with when to try again',
    status: everywhere(429),
    message: 'Slow down.',
    type: types('rate_limit_error', 'rate_limit_error'),
    code: 'rate_limit_exceeded',
    throughGate,
  },
  {
    name: 'an error of the provider',
    status: everywhere(500),
    message: 'Something broke.',
    type: types('api_error', 'server_error'),
    code: null,
    throughGate,
  },
  {
    name: 'an overload',
    status: { anthropic: 529, chat: 503, responses: 503 },
    statusTold: { chat: 503, responses: 503 },
    message: 'Overloaded.',
    body: openaiError('Overloaded.', 'server_error', 'server_is_overloaded'),
    type: types('overloaded_error', 'server_error'),
    code: 'overloaded',
    throughGate,
  },
  {
    name: 'a time-out of the provider',
    status: everywhere(504),
    message: 'Too slow.',
    body: openaiError('Too slow.', 'server_error', 'timeout'),
    type: types('timeout_error', 'server_error'),
    code: 'timeout',
    throughGate,
  },
];
