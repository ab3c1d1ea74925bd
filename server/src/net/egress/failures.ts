import { errors } from 'undici';
import { EgressError } from './model.ts';

/** What had ended a request when it failed. */
export interface Ended {
  readonly deadline: boolean;
  readonly closed: boolean;
  readonly cancelled: boolean;
}

const unreachable: readonly string[] = [
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
  'EACCES',
];
/** OpenSSL's and Node's words for certificates and handshakes that do not hold. */
const tls = /^(ERR_TLS|ERR_SSL|EPROTO|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_PURPOSE)/;

/** Gives a failed request its reason. */
export function namedFailure(error: unknown, host: string, ended: Ended): EgressError {
  if (error instanceof EgressError) return error;
  const code = codeOf(error);
  const options = { internal: error instanceof Error ? `${code} ${error.message}` : String(error), cause: error };
  if (ended.closed) return new EgressError('closed', 'The gate is shutting down.', options);
  if (ended.cancelled) return new EgressError('cancelled', `The request to ${host} was given up.`, options);
  if (ended.deadline) return new EgressError('deadline', `${host} did not answer in time.`, options);
  if (tls.test(code)) return new EgressError('tls', `The certificate or TLS of ${host} does not hold.`, options);
  if (error instanceof errors.ConnectTimeoutError || unreachable.includes(code)) {
    return new EgressError('connect', `${host} could not be reached.`, options);
  }
  return new EgressError('broken', `${host} broke the connection, or answered something that is not HTTP.`, options);
}

/** Of several addresses that were tried, the last one's failure tells as much as any. */
function codeOf(error: unknown): string {
  const last: unknown = error instanceof AggregateError ? error.errors.at(-1) : error;
  return last instanceof Error && 'code' in last ? String(last.code) : '';
}
