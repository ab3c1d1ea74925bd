import type { ErrorCode, PortcullisError } from '../../base/errors.ts';
import type { Provider, UpstreamHeaders } from './provider.ts';

/** What a failed attempt means for the call and for its target. */
export interface Failure {
  /** Another attempt may succeed. */
  readonly retriable: boolean;
  /** It speaks of the target, not of this one call or its caller: the breaker counts it. */
  readonly blamed: boolean;
  /** How long the provider asked to be left alone, in milliseconds; null where it did not. */
  readonly retryAfterMs: number | null;
  /** It asked so of all calls: a rate limit. */
  readonly limited: boolean;
}

/** The end of a call that is nobody's failure: killed, given up by its client, refused by a budget. */
export const ended: Failure = { retriable: false, blamed: false, retryAfterMs: null, limited: false };

/**
 * A refusal by the provider. A rate limit, or a refused or unpaid account, is the caller's own affair where the caller's
 * credential was used, and the target's where it was the gate's. @param nowMs Unix time
 */
export function refusal(
  status: number,
  headers: UpstreamHeaders,
  { credential }: Pick<Provider, 'credential'>,
  nowMs: number,
): Failure {
  const broken = status === 408 || status >= 500;
  const limited = status === 429;
  const ours = credential === 'gate';
  return {
    // SDKs believe a provider that says whether trying again is of use.
    retriable: (broken || limited) && headers['x-should-retry'] !== 'false',
    blamed: broken || (ours && (limited || status === 401 || status === 402)),
    retryAfterMs: retryAfterMs(headers, nowMs),
    limited: limited && ours,
  };
}

const ofTheProvider: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['upstream_error', 'deadline_exceeded']);
const toldInStreams: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['rate_limited', 'unavailable']);

/**
 * An attempt that ended with an error, while its call went on.
 * @param sent whether anything was sent: what a provider tells in its stream can also be an error of ours before that
 */
export function fault({ code, final }: PortcullisError, sent: boolean): Failure {
  const blamed = ofTheProvider.has(code) || (sent && toldInStreams.has(code));
  return { ...ended, retriable: blamed && !final, blamed };
}

/** RFC 9110, 10.2.3: seconds or a date; OpenAI also tells milliseconds. */
function retryAfterMs(headers: UpstreamHeaders, nowMs: number): number | null {
  const exact = headers['retry-after-ms'];
  if (typeof exact === 'string' && /^\d{1,9}$/.test(exact)) return Number(exact);
  const value = headers['retry-after'];
  if (typeof value !== 'string') return null;
  if (/^\d{1,9}(\.\d+)?$/.test(value)) return Number(value) * 1000;
  const at = value.endsWith(' GMT') ? Date.parse(value) : NaN;
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs);
}
