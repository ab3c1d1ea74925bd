import type { Clock } from '../../base/clock.ts';
import { deliveryAnswerBytesMax, deliveryAnswerCharsKept } from '../../base/webhook-limits.ts';
import type { Egress } from '../../net/egress/egress.ts';
import { type EgressAnswer, EgressError } from '../../net/egress/model.ts';
import type { Attempt, Claimed } from './model.ts';
import { outcomeOf, retryAfterOf } from './rules.ts';
import { signedHeaders, type SigningSecret } from './signing.ts';

export interface AttemptOptions {
  readonly egress: Pick<Egress, 'request'>;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

// Reasons of egress that say nothing of the endpoint: nothing was tried, or we ended it.
const notTried: readonly string[] = ['busy', 'closed', 'cancelled'];

/**
 * Makes one attempt at a delivery.
 * @param secrets none where they cannot be opened: then nothing is sent, since nothing goes unsigned
 * @returns null where it was not tried: there was no place, or the process ends
 */
export async function attempt(
  claimed: Claimed,
  secrets: readonly SigningSecret[],
  { egress, clock, timeoutMs }: AttemptOptions,
  signal: AbortSignal,
): Promise<Attempt | null> {
  const startedAt = clock.now();
  const began = clock.monotonic();
  const failed = (error: string): Attempt => ({
    outcome: 'failed',
    startedAt,
    durationMs: Math.round(clock.monotonic() - began),
    status: null,
    error,
    answer: '',
    retryAfterMs: null,
  });
  if (secrets.length === 0) return failed('unsigned');
  const message = { id: claimed.eventId, timestampS: Math.floor(startedAt / 1000), body: claimed.body };
  try {
    const answer = await egress.request({
      owner: 'webhook',
      // Of its own: another path of the same host may hang.
      share: claimed.endpointId,
      url: claimed.url,
      method: 'POST',
      headers: { 'content-type': 'application/json', 'user-agent': 'Portcullis', ...signedHeaders(message, secrets) },
      body: claimed.body,
      timeoutMs,
      responseBytesMax: deliveryAnswerBytesMax,
      take: 'start',
      signal,
    });
    return { ...answered(answer, clock.now()), startedAt, durationMs: Math.round(clock.monotonic() - began) };
  } catch (error) {
    if (!(error instanceof EgressError)) throw error;
    return notTried.includes(error.reason) ? null : failed(error.reason);
  }
}

function answered({ status, headers, body }: EgressAnswer, nowMs: number): Omit<Attempt, 'startedAt' | 'durationMs'> {
  const outcome = outcomeOf(status);
  const retryAfter = headers['retry-after'];
  return {
    outcome,
    status,
    error: outcome === 'delivered' ? null : 'status',
    answer: textOf(body),
    retryAfterMs: retryAfterOf(status, typeof retryAfter === 'string' ? retryAfter : undefined, nowMs),
  };
}

/** The beginning of an answer as text that can be stored: whatever it is, it has no NUL. */
function textOf(body: Buffer): string {
  return body.toString().replaceAll('\0', '\uFFFD').slice(0, deliveryAnswerCharsKept).toWellFormed();
}
