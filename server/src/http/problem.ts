import { type PortcullisError, errorCodes } from '../base/errors.ts';

/** The body of an RFC 9457 problem (`application/problem+json`): the shape of errors on the control API and everywhere without a dialect. */
export function problemBody(error: PortcullisError, requestId: string): Record<string, unknown> {
  const { retryAfterS, resetsAt, ...members } = error.members;
  return {
    type: `urn:portcullis:error:${error.code}`,
    title: errorCodes[error.code].title,
    status: error.status,
    detail: error.message,
    code: error.code,
    request_id: requestId,
    ...members,
    ...(resetsAt === undefined ? {} : { resets_at: resetsAt }),
    ...(retryAfterS === undefined ? {} : { retry_after: Math.ceil(retryAfterS) }),
    ...legacyMembers(error),
  };
}

// Programs written for the systems that this one replaces read `error` and `message` of 401, 403 and 429.
function legacyMembers(error: PortcullisError): Record<string, string> {
  const names: Readonly<Record<number, string>> = { 401: 'unauthorized', 403: 'forbidden', 429: 'rate_limit_exceeded' };
  const name = names[error.status];
  return name === undefined ? {} : { error: name, message: error.message };
}
