import type { Sample } from '../harness/result.ts';
import type { BurstResult } from './worker/job.ts';

/** Two bursts of calls, all of the same cost, on a budget that has room for `limitCalls` of them. */
interface Burst {
  readonly limitCalls: number;
  readonly first: readonly BurstResult[];
  /** When all that was leased had come back. */
  readonly second: readonly BurstResult[];
  /** How long the first one took. */
  readonly seconds: number;
  /** Calls that would have fitted in what was leased and not spent after the first one. */
  readonly outstanding: number;
  readonly postedInTheEnd: number;
}

/**
 * Whether the budget gave exactly what it had. A refusal is false when fewer of the calls that were admitted had been asked
 * for by then than there was room for: in whatever order they were decided, there was room. At the first refusal it was
 * for `refused_with_room_calls`, or more.
 */
export function limitFigures({ limitCalls, first, second, seconds, outstanding, postedInTheEnd }: Burst): Sample {
  const askedUs = first.flatMap(({ admittedAskedUs }) => admittedAskedUs).sort((a, b) => a - b);
  const refusedUs = first.flatMap(({ refusedUs }) => refusedUs).sort((a, b) => a - b);
  const fullUs = askedUs[limitCalls - 1] ?? Number.POSITIVE_INFINITY;
  const firstRefusedUs = refusedUs[0] ?? Number.POSITIVE_INFINITY;
  const askedBefore = askedUs.filter((us) => us < firstRefusedUs).length;
  const all = [...first, ...second];
  const admittedInTheEnd = all.reduce((sum, { admittedAskedUs }) => sum + admittedAskedUs.length, 0);
  return {
    limit_calls: limitCalls,
    asked_calls: askedUs.length + refusedUs.length,
    admitted_calls: askedUs.length,
    false_refusals: refusedUs.filter((us) => us < fullUs).length,
    refused_with_room_calls: Math.max(0, limitCalls - askedBefore),
    outstanding_calls: outstanding,
    overspent_calls: Math.max(0, postedInTheEnd - limitCalls),
    unused_in_the_end_calls: limitCalls - admittedInTheEnd,
    answers_per_s: (askedUs.length + refusedUs.length) / seconds,
    errors: all.reduce((sum, { failed }) => sum + failed, 0),
  };
}
