import type { ErrorCode, PortcullisError } from '../../base/errors.ts';
import { errorDetails } from '../error-details.ts';

/**
 * The type of each of our errors in the words that OpenAI and its clients use. SDKs choose their exception by the status;
 * clients take `insufficient_quota` for final, which a spent budget is.
 */
const types: Readonly<Record<ErrorCode, string>> = {
  invalid_argument: 'invalid_request_error',
  context_length_exceeded: 'invalid_request_error',
  unauthenticated: 'authentication_error',
  insufficient_scope: 'permission_error',
  policy_denied: 'permission_error',
  origin_denied: 'permission_error',
  not_found: 'not_found_error',
  conflict: 'invalid_request_error',
  in_progress: 'invalid_request_error',
  payload_too_large: 'invalid_request_error',
  misdirected: 'invalid_request_error',
  idempotency_mismatch: 'invalid_request_error',
  rate_limited: 'rate_limit_error',
  budget_exceeded: 'insufficient_quota',
  client_closed: 'server_error',
  internal: 'server_error',
  upstream_error: 'server_error',
  unavailable: 'server_error',
  cannot_verify: 'server_error',
  killed: 'server_error',
  deadline_exceeded: 'server_error',
};

/**
 * The body of a refusal. The SDKs give the program the whole `error`, with its `code`, `param` and `details`; of a stream
 * that breaks, Python's gives nothing else, so the request id stands in there as well.
 */
export function errorBody(error: PortcullisError, requestId: string): string {
  const { param = null, ...details } = errorDetails(error);
  return JSON.stringify({
    error: { message: error.message, type: typeOf(error), param, code: error.code, request_id: requestId, details },
    request_id: requestId,
  });
}

/** A budget of which some comes back soon is not spent. */
function typeOf({ code, final }: PortcullisError): string {
  return code === 'budget_exceeded' && !final ? types.rate_limited : types[code];
}

/** The event that ends a stream by an error; nothing may follow it, `[DONE]` neither. */
export function streamErrorEvent(error: PortcullisError, requestId: string): string {
  return `data: ${errorBody(error, requestId)}\n\n`;
}
