import { deliveryJitter, deliveryRetryAfterMsMax, deliveryRetryMs } from '../../base/webhook-limits.ts';
import type { Attempt, AttemptOutcome, Verdict } from './model.ts';

/** What a status says of an attempt (Standard Webhooks 1.0): redirects are not followed, so that they are failures. */
export function outcomeOf(status: number): AttemptOutcome {
  if (status >= 200 && status < 300) return 'delivered';
  return status === 410 ? 'gone' : 'failed';
}

// Those with which a receiver that is overloaded answers.
const throttling: readonly number[] = [429, 502, 503, 504];

/**
 * How long an endpoint asks to be left alone: Retry-After in seconds or as a date (RFC 9110, 10.2.3), up to a day.
 * @param nowMs epoch milliseconds
 * @returns null where it does not ask, or in no way that can be read
 */
export function retryAfterOf(status: number, header: string | undefined, nowMs: number): number | null {
  if (header === undefined || !throttling.includes(status)) return null;
  const text = header.trim();
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? null : Math.min(Math.max(ms, 0), deliveryRetryAfterMsMax);
}

/**
 * What an attempt makes of its delivery.
 * @param tries the attempts that this schedule saw before it
 * @param random from 0 to below 1: where the delay lies within its jitter
 */
export function verdictOf(
  { outcome, retryAfterMs }: Pick<Attempt, 'outcome' | 'retryAfterMs'>,
  tries: number,
  random: number,
): Verdict {
  if (outcome === 'delivered') return { state: 'delivered' };
  if (outcome === 'gone') return { state: 'dead', reason: 'gone' };
  const delayMs = deliveryRetryMs[tries];
  if (delayMs === undefined) return { state: 'dead', reason: 'exhausted' };
  const jittered = Math.round(delayMs * (1 - deliveryJitter + 2 * deliveryJitter * random));
  // What it asks for is kept; that all its deliveries come back at once then is what its own places are for.
  return { state: 'pending', afterMs: Math.max(jittered, retryAfterMs ?? 0) };
}
