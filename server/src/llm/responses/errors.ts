import type { ErrorCode, PortcullisError } from '../../base/errors.ts';
import type { StreamSoFar } from '../stream-events.ts';
import { errorBody } from '../chat/errors.ts';

/** OpenAI's error shape is one for all of its endpoints. */
export { errorBody };

/**
 * The code of a failed response for each of our errors, where it is not `server_error`. Codex ends its turn at
 * `insufficient_quota` and `invalid_prompt`, and tries the others again.
 */
const codes: Readonly<Partial<Record<ErrorCode, string>>> = {
  invalid_argument: 'invalid_prompt',
  context_length_exceeded: 'context_length_exceeded',
  payload_too_large: 'invalid_prompt',
  rate_limited: 'rate_limit_exceeded',
  budget_exceeded: 'insufficient_quota',
};

/** The `error` of a failed response. */
export function responseError({ code, message, final }: PortcullisError): { code: string; message: string } {
  // A budget of which some comes back soon is not spent.
  const told = code === 'budget_exceeded' && !final ? 'rate_limited' : code;
  return { code: codes[told] ?? 'server_error', message };
}

/** The event that ends a stream by an error of the gate's own: of the response that began, with the number that is next. */
export function streamErrorEvent(error: PortcullisError, requestId: string, soFar: StreamSoFar | null): string {
  const [, id = `resp_${requestId}`] = /"response":\s*\{\s*"id":\s*"([^"\\]+)"/.exec(String(soFar?.first ?? '')) ?? [];
  const [, last = '-1'] = [...String(soFar?.last ?? '').matchAll(/"sequence_number":\s*(\d+)/g)].at(-1) ?? [];
  const response = {
    id,
    object: 'response',
    status: 'failed',
    error: responseError(error),
    incomplete_details: null,
    output: [],
    usage: null,
  };
  return failedEvent(Number(last) + 1, JSON.stringify(response), error, requestId);
}

/**
 * The event that ends a stream by an error; nothing may follow it. Codex knows a failure by `response.failed` alone; the
 * official SDKs raise an exception for an event that has an `error` of its own, and hand on any other as if it were news.
 * @param response the failed response as JSON text
 */
export function failedEvent(
  sequenceNumber: number,
  response: string,
  error: PortcullisError,
  requestId: string,
): string {
  const type = 'response.failed';
  const members = `"type":"${type}","sequence_number":${sequenceNumber},"response":${response}`;
  return `event: ${type}\ndata: {${members},${errorBody(error, requestId).slice(1)}\n\n`;
}
