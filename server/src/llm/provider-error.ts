import { type ErrorCode, PortcullisError } from '../base/errors.ts';
import type { JsonObject } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import { isJsonObject } from './object-reader.ts';

/** Longest text of a provider that is told on. */
const messageCharsMax = 4096;

/** What a provider's error means, whatever it is called in its dialect. */
type Fault =
  | 'invalid'
  | 'context'
  | 'authentication'
  | 'permission'
  | 'billing'
  | 'not_found'
  | 'too_large'
  | 'rate_limit'
  | 'overloaded'
  | 'timeout'
  | 'api';

interface FaultNames {
  /** Our own code, for an error in mid-stream. The provider refusing the gate's credential is not the caller's fault. */
  readonly code: ErrorCode;
  readonly anthropic: string;
  /** OpenAI has one shape for all of its endpoints. */
  readonly openai: { readonly type: string; readonly code: string | null };
}

const faults: Readonly<Record<Fault, FaultNames>> = {
  invalid: { code: 'invalid_argument', anthropic: 'invalid_request_error', openai: openai('invalid_request_error') },
  context: {
    code: 'context_length_exceeded',
    anthropic: 'invalid_request_error',
    openai: openai('invalid_request_error', 'context_length_exceeded'),
  },
  authentication: { code: 'upstream_error', anthropic: 'authentication_error', openai: openai('authentication_error') },
  permission: { code: 'upstream_error', anthropic: 'permission_error', openai: openai('permission_error') },
  billing: {
    code: 'upstream_error',
    anthropic: 'billing_error',
    openai: openai('insufficient_quota', 'insufficient_quota'),
  },
  not_found: { code: 'not_found', anthropic: 'not_found_error', openai: openai('not_found_error') },
  too_large: { code: 'payload_too_large', anthropic: 'request_too_large', openai: openai('invalid_request_error') },
  rate_limit: {
    code: 'rate_limited',
    anthropic: 'rate_limit_error',
    openai: openai('rate_limit_error', 'rate_limit_exceeded'),
  },
  overloaded: { code: 'unavailable', anthropic: 'overloaded_error', openai: openai('server_error', 'overloaded') },
  timeout: { code: 'deadline_exceeded', anthropic: 'timeout_error', openai: openai('server_error', 'timeout') },
  api: { code: 'upstream_error', anthropic: 'api_error', openai: openai('server_error') },
};

function openai(type: string, code: string | null = null): FaultNames['openai'] {
  return { type, code };
}

/** The names that providers use for a fault, as `type`, `code` or `status`. */
const byName: ReadonlyMap<unknown, Fault> = new Map<string, Fault>([
  ['context_length_exceeded', 'context'],
  ['exceed_context_size_error', 'context'],
  ['invalid_api_key', 'authentication'],
  ['authentication_error', 'authentication'],
  ['permission_error', 'permission'],
  ['insufficient_quota', 'billing'],
  ['billing_error', 'billing'],
  ['model_not_found', 'not_found'],
  ['not_found_error', 'not_found'],
  ['request_too_large', 'too_large'],
  ['rate_limit_exceeded', 'rate_limit'],
  ['rate_limit_error', 'rate_limit'],
  ['overloaded_error', 'overloaded'],
  ['timeout_error', 'timeout'],
  ['invalid_request_error', 'invalid'],
  ['api_error', 'api'],
  ['server_error', 'api'],
  ['server_is_overloaded', 'overloaded'],
  ['slow_down', 'overloaded'],
  ['invalid_prompt', 'invalid'],
  // What this gate itself says, and writes of Google's errors before they are read once more
  ['overloaded', 'overloaded'],
  ['timeout', 'timeout'],
  // Google's (AIP-193), as `status`
  ['INVALID_ARGUMENT', 'invalid'],
  ['FAILED_PRECONDITION', 'invalid'],
  ['UNAUTHENTICATED', 'authentication'],
  ['PERMISSION_DENIED', 'permission'],
  ['NOT_FOUND', 'not_found'],
  ['RESOURCE_EXHAUSTED', 'rate_limit'],
  ['UNAVAILABLE', 'overloaded'],
  ['DEADLINE_EXCEEDED', 'timeout'],
  ['INTERNAL', 'api'],
]);

const byStatus: ReadonlyMap<number, Fault> = new Map([
  [401, 'authentication'],
  [402, 'billing'],
  [403, 'permission'],
  [404, 'not_found'],
  [408, 'timeout'],
  [413, 'too_large'],
  [429, 'rate_limit'],
  [503, 'overloaded'],
  [504, 'timeout'],
  [529, 'overloaded'],
]);

const openaiOverflow =
  /maximum context length|context (?:size|length|window)|exceeds the maximum number of tokens allowed/i;

/** How a dialect's providers word an overflow of the context, where no code says so. */
const overflow: Readonly<Record<Dialect, RegExp>> = {
  anthropic: /^prompt is too long/i,
  chat: openaiOverflow,
  responses: openaiOverflow,
};

/** The error for an error object that a provider sent inside a stream. Its wording is kept: clients act on it. */
export function providerError(from: Dialect, json: unknown): PortcullisError {
  const { fault, message } = readFault(from, json, null);
  const told = message ?? 'The provider ended the stream with an error.';
  return new PortcullisError(faults[fault].code, fault === 'context' ? markedOverflow(told) : told);
}

/** Claude Code knows an overflow of the context by these first words alone. */
function markedOverflow(message: string): string {
  return overflow.anthropic.test(message) ? message : `prompt is too long: ${message}`;
}

export interface TranslatedError {
  readonly status: number;
  readonly body: string;
}

/**
 * Turns a provider's error body into the other dialect's shape: the type by its class, the wording kept, since clients
 * act on it (they shorten a conversation that is too long, say). Nothing of a body that is no such shape is told on.
 */
export function translateError(error: {
  /** The provider's dialect. */
  readonly from: Dialect;
  /** The caller's dialect. */
  readonly to: Dialect;
  readonly status: number;
  readonly body: string;
}): TranslatedError {
  const { fault, message } = readFault(error.from, parse(error.body), error.status);
  return writeFault(error.to, fault, error.status, message ?? `The provider answered with status ${error.status}.`);
}

/** An error in a dialect's shape, named by what its status means. */
export function errorOfStatus(dialect: Dialect, status: number, message: string): TranslatedError {
  return writeFault(dialect, faultOfStatus(status), status, message);
}

function writeFault(to: Dialect, fault: Fault, status: number, message: string): TranslatedError {
  const names = faults[fault];
  if (to !== 'anthropic') {
    // 529 is Anthropic's own; everybody else knows 503.
    const body = JSON.stringify({ error: { message, ...names.openai, param: null } });
    return { status: status === 529 ? 503 : status, body };
  }
  const told = fault === 'context' ? markedOverflow(message) : message;
  return { status, body: JSON.stringify({ type: 'error', error: { type: names.anthropic, message: told } }) };
}

/** Reads an error in any shape that providers use: nested, flat, bare text, or (Google) in a list of one. */
function readFault(from: Dialect, body: unknown, status: number | null): { fault: Fault; message: string | null } {
  const json: unknown = Array.isArray(body) ? body[0] : body;
  const outer = isJsonObject(json) ? json : { error: json };
  const error = [outer['error'], responseError(outer), outer].find(isJsonObject) ?? {};
  const text = [error['message'], error['error'], error['detail']].find(
    (value) => typeof value === 'string' && value !== '',
  );
  const message = typeof text === 'string' ? text.slice(0, messageCharsMax) : null;
  if (message !== null && overflow[from].test(message)) return { fault: 'context', message };
  const named = byName.get(error['code']) ?? byName.get(error['type']) ?? byName.get(error['status']);
  const broad = named === undefined || named === 'invalid' || named === 'api';
  // OpenAI calls most errors alike, and tells them apart by their status.
  return { fault: (broad ? byStatus.get(status ?? 0) : named) ?? named ?? faultOfStatus(status), message };
}

/** Responses tells of a failure in the response that failed. */
function responseError({ response }: JsonObject): unknown {
  return isJsonObject(response) ? response['error'] : undefined;
}

function faultOfStatus(status: number | null): Fault {
  if (status === null) return 'api';
  return byStatus.get(status) ?? (status >= 500 ? 'api' : 'invalid');
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
