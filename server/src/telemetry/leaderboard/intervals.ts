import { successesMin } from '../../base/telemetry-limits.ts';
import { binMiddleMs } from '../histogram.ts';
import { studentT95, z95 } from './student-t.ts';

/** A 95 % confidence interval. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/**
 * Wilson's interval of a proportion (E. B. Wilson, 1927): good for few trials, and where all or none succeed.
 * @param trials from 1
 */
export function wilsonInterval(successes: number, trials: number): Interval {
  const share = successes / trials;
  const square = z95 ** 2;
  const centre = share + square / (2 * trials);
  const half = z95 * Math.sqrt((share * (1 - share)) / trials + square / (4 * trials ** 2));
  const scale = 1 + square / trials;
  // Rounding must not put what was observed outside.
  return {
    low: Math.max(0, Math.min(share, (centre - half) / scale)),
    high: Math.min(1, Math.max(share, (centre + half) / scale)),
  };
}

/** What is known of a sample of whole numbers. */
export interface Sample {
  readonly n: bigint;
  readonly sum: bigint;
  readonly squares: bigint;
}

/**
 * The interval of a mean that lies between bounds, in the unit of the sample: Student's of the sample and one more at each
 * bound (as A. Agresti and B. Caffo, 2000, do for proportions). Student's alone is none where few all say the same.
 * @param low what the least could be @param high what the most could be
 */
export function meanInterval({ n, sum, squares }: Sample, low: bigint, high: bigint): Interval {
  const more = { n: n + 2n, sum: sum + low + high, squares: squares + low ** 2n + high ** 2n };
  const mean = Number(sum) / Number(n);
  return within(studentInterval(more), mean, { low: Number(low), high: Number(high) });
}

/** The bounds hold, and what was observed lies in it, wherever those that were added drew it. */
export function within({ low, high }: Interval, observed: number, bounds: Interval): Interval {
  return {
    low: Math.max(bounds.low, Math.min(observed, low)),
    high: Math.min(bounds.high, Math.max(observed, high)),
  };
}

/** Student's interval of a mean, for two at least. */
export function studentInterval({ n, sum, squares }: Sample): Interval {
  // The square of the standard error, as one exact fraction.
  const error = Math.sqrt(Number(n * squares - sum * sum) / (Number(n) ** 2 * Number(n - 1n)));
  return around(Number(sum) / Number(n), studentT95(Number(n) - 1) * error);
}

/**
 * The interval of a cost per success, C / S over runs of which each has a cost and succeeded or not: that of a ratio of
 * sums, of the runs and two more of their mean cost, of which one succeeded. Approximate: of few runs with very uneven costs
 * it holds what is true less often than it should.
 * @returns null for fewer than `successesMin` successes, or where nothing cost anything: that tells of no spread
 */
export function ratioInterval(
  { n, sum, squares }: Sample,
  successes: bigint,
  costOfSuccesses: bigint,
): Interval | null {
  if (successes < successesMin || squares === 0n) return null;
  // In parts of a cost of which there are n, so that the mean is whole.
  const more = { n: n + 2n, sum: (n + 2n) * sum, squares: n ** 2n * squares + 2n * sum ** 2n };
  const { low, high } = linearInterval(more, successes + 1n, n * costOfSuccesses + sum);
  const observed = Number(sum) / Number(successes);
  return within({ low: low / Number(n), high: high / Number(n) }, observed, { low: 0, high: Infinity });
}

/** The interval of a ratio of sums by linearisation (W. G. Cochran, Sampling Techniques, 6.4), for two runs at least. */
export function linearInterval({ n, sum, squares }: Sample, successes: bigint, costOfSuccesses: bigint): Interval {
  // S² times the sum of (cost − ratio · success)², exactly.
  const residual = successes ** 2n * squares - 2n * sum * successes * costOfSuccesses + sum ** 2n * successes;
  const variance = (Number(n) / Number(n - 1n)) * (Number(residual) / Number(successes) ** 4);
  return around(Number(sum) / Number(successes), studentT95(Number(n) - 1) * Math.sqrt(variance));
}

/**
 * The interval of a percentile, in milliseconds: between two of the sample, by rank, as the middles of their bins. How many
 * of a sample lie below its true percentile is binomial, whatever the distribution (W. J. Conover, Practical Nonparametric
 * Statistics, 3.2); the ranks are by the normal approximation, rounded outwards.
 * @param percent 1 to 99
 * @returns null where the sample is too small to have such ranks
 */
export function percentileInterval(bins: ReadonlyMap<number, bigint>, percent: number): Interval | null {
  const filled = [...bins].filter(([, count]) => count > 0n).toSorted(([a], [b]) => a - b);
  const n = Number(filled.reduce((sum, [, count]) => sum + count, 0n));
  const share = percent / 100;
  const half = z95 * Math.sqrt(n * share * (1 - share));
  const [low, high] = [Math.floor(n * share - half), Math.ceil(n * share + half) + 1];
  return low < 1 || high > n ? null : { low: middleAt(filled, low), high: middleAt(filled, high) };
}

/** @param filled bins in order; `rank` is from 1 to the count of all */
function middleAt(filled: readonly (readonly [number, bigint])[], rank: number): number {
  let seen = 0;
  const found = filled.find(([, count]) => (seen += Number(count)) >= rank);
  return binMiddleMs(found?.[0] ?? 0);
}

function around(centre: number, half: number): Interval {
  return { low: centre - half, high: centre + half };
}
