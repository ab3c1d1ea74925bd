import type { ErrorCode, PortcullisError } from '../../base/errors.ts';
import { errorDetails } from '../error-details.ts';

/**
 * The type of each of our errors among those that Anthropic documents. SDKs choose their exception by the status;
 * Claude Code retries an `overloaded_error` whatever the headers say, so no final refusal is one.
 */
const types: Readonly<Record<ErrorCode, string>> = {
  invalid_argument: 'invalid_request_error',
  context_length_exceeded: 'invalid_request_error',
  unauthenticated: 'authentication_error',
  insufficient_scope: 'permission_error',
  policy_denied: 'permission_error',
  origin_denied: 'permission_error',
  not_found: 'not_found_error',
  conflict: 'conflict_error',
  in_progress: 'conflict_error',
  payload_too_large: 'request_too_large',
  misdirected: 'invalid_request_error',
  idempotency_mismatch: 'invalid_request_error',
  rate_limited: 'rate_limit_error',
  budget_exceeded: 'rate_limit_error',
  client_closed: 'api_error',
  internal: 'api_error',
  upstream_error: 'api_error',
  unavailable: 'overloaded_error',
  cannot_verify: 'overloaded_error',
  killed: 'api_error',
  deadline_exceeded: 'timeout_error',
};

/** The body of a refusal. The SDKs give `details` to the program, and `details.error_code` as the error's own code. */
export function errorBody(error: PortcullisError, requestId: string): string {
  const details = { error_code: error.code, ...errorDetails(error) };
  return JSON.stringify({
    type: 'error',
    error: { type: typeOf(error), message: error.message, details },
    request_id: requestId,
  });
}

function typeOf({ code, final }: PortcullisError): string {
  const type = types[code];
  return final && type === 'overloaded_error' ? 'api_error' : type;
}

/** The event that ends a stream by an error; nothing may follow it. */
export function streamErrorEvent(error: PortcullisError, requestId: string): string {
  return `event: error\ndata: ${errorBody(error, requestId)}\n\n`;
}
