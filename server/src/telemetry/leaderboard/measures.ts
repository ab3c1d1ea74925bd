import { percentile } from '../histogram.ts';
import {
  type Interval,
  meanInterval,
  percentileInterval,
  ratioInterval,
  type Sample,
  wilsonInterval,
} from './intervals.ts';
import type { Measure, MeasuredVersion, Measures, VersionSums } from './model.ts';

const millionths = 1_000_000;

/** A version with what its sums come to, and 95 % intervals of it. */
export function measureVersion(sums: VersionSums): MeasuredVersion {
  return { sums, measures: measuresOf(sums) };
}

function measuresOf(sums: VersionSums): Measures {
  const { succeeded, failed, cancelled, costNanousd, succeededNanousd, costSquares, durations } = sums;
  const successes = Number(succeeded);
  const trials = successes + Number(failed);
  const runs = trials + Number(cancelled);
  const costs = { n: BigInt(runs), sum: costNanousd, squares: costSquares };
  const ratings = { n: sums.ratings, sum: sums.ratingPpm, squares: sums.ratingSquares };
  const evaluations = { n: sums.evaluations, sum: sums.evaluationPpm, squares: sums.evaluationSquares };
  return {
    success: trials === 0 ? null : measure(successes / trials, wilsonInterval(successes, trials), trials),
    costPerSuccess:
      successes === 0
        ? null
        : measure(Number(costNanousd) / successes, ratioInterval(costs, succeeded, succeededNanousd), runs),
    durationP50: durationMeasure(durations, 50, successes),
    durationP95: durationMeasure(durations, 95, successes),
    rating: meanMeasure(ratings, 1n, 5n),
    evaluation: meanMeasure(evaluations, 0n, 1n),
  };
}

function durationMeasure(bins: VersionSums['durations'], percent: number, n: number): Measure | null {
  const value = percentile(bins, percent);
  return value === null ? null : measure(value, percentileInterval(bins, percent), n);
}

/** The mean of a sample in millionths, of what lies between two numbers. */
function meanMeasure(sample: Sample, least: bigint, most: bigint): Measure | null {
  if (sample.n === 0n) return null;
  const n = Number(sample.n);
  const { low, high } = meanInterval(sample, least * 1_000_000n, most * 1_000_000n);
  return measure(Number(sample.sum) / n / millionths, { low: low / millionths, high: high / millionths }, n);
}

function measure(value: number, interval: Interval | null, n: number): Measure {
  return { value, interval, n };
}
