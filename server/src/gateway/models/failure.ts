import type { ErrorCode, PortcullisError } from '../../base/errors.ts';
import type { Fail } from './breaker.ts';
import type { Provider, UpstreamHeaders } from './provider.ts';

/** What a failed attempt means for the call and for its target. */
export interface Failure {
  /** Another attempt may succeed. */
  readonly retriable: boolean;
  /** But not at the same target. */
  readonly onlyElsewhere: boolean;
  /** What the breaker counts, where it speaks of the target; null where it is of this one call or its caller alone. */
  readonly blame: Fail | null;
  /** How long the provider asked to be left alone, in milliseconds; null where it did not. */
  readonly retryAfterMs: number | null;
}

/** The end of a call that is nobody's failure: killed, given up by its client, refused by a budget. */
export const ended: Failure = { retriable: false, onlyElsewhere: false, blame: null, retryAfterMs: null };

const broken: Fail = { doubtful: false, restMs: null };

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
  const restMs = retryAfterMs(headers, nowMs);
  return {
    // SDKs believe a provider that says whether trying again is of use.
    retriable: (isBroken(status) || status === 429) && headers['x-should-retry'] !== 'false',
    onlyElsewhere: false,
    blame: isBroken(status) ? broken : credential === 'gate' ? blameOfAccount(status, restMs) : null,
    retryAfterMs: restMs,
  };
}

function isBroken(status: number): boolean {
  return status === 408 || status >= 500;
}

function blameOfAccount(status: number, restMs: number | null): Fail | null {
  // One call that is larger than the account's limit is told the same as all calls of an account that is at its limit.
  if (status === 429) return { doubtful: true, restMs };
  return status === 401 || status === 402 ? broken : null;
}

const ofTheProvider: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['upstream_error', 'deadline_exceeded']);
const toldInStreams: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['rate_limited', 'unavailable']);

/**
 * An attempt that ended with an error, while its call went on.
 * @param sent whether anything was sent: what a provider tells in its stream can also be an error of ours before that
 * @param streamed a stream begins early; a whole answer is as late as it is long
 */
export function fault(
  { code, final, members }: PortcullisError,
  { sent, streamed }: { readonly sent: boolean; readonly streamed: boolean },
): Failure {
  // A budget that the target took too long for is its owner's, and says nothing of it to others. It would take as long again.
  if (code === 'deadline_exceeded' && members.rule !== undefined)
    return { ...ended, retriable: true, onlyElsewhere: true };
  if (final || !(ofTheProvider.has(code) || (sent && toldInStreams.has(code)))) return ended;
  const isLate = code === 'deadline_exceeded' && sent && !streamed;
  return { ...ended, retriable: true, blame: { ...broken, doubtful: isLate || code === 'rate_limited' } };
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
