import { publicEntriesMax, publicMedianRunsMin, publicP95RunsMin, publicRunsMin } from '../../base/telemetry-limits.ts';
import type { BoardEntry, Measure, VersionSums } from './model.ts';
import type { PublicEntry } from './public-board.ts';
import { presets } from './model.ts';
import { measureVersion } from './measures.ts';
import { rankVersions, trialsOf } from './rules.ts';

/**
 * What strangers may see of a workflow's versions: registered ones with `publicRunsMin` runs or more that succeeded or
 * failed, as labels and rounded aggregates. Others have no part in it, not even in what those are measured by.
 */
export function publicEntries(versions: readonly VersionSums[], runsMin: number): PublicEntry[] {
  const shown = versions.filter((sums) => sums.label !== null && trialsOf(sums) >= BigInt(publicRunsMin));
  return rankVersions(shown.map(measureVersion), presets.balanced, Math.max(runsMin, publicRunsMin))
    .slice(0, publicEntriesMax)
    .map(publicEntry);
}

function publicEntry({ sums, measures, standing }: BoardEntry): PublicEntry {
  const { success, costPerSuccess, durationP50, durationP95, rating, evaluation } = measures;
  const { succeeded, failed, cancelled, label } = sums;
  const interval = success?.interval;
  // Durations are released apart from successes (public-steps.ts).
  const timed = [...sums.durations.values()].reduce((sum, runs) => sum + runs, 0n);
  return {
    rank: standing?.rank ?? null,
    label: label ?? '',
    score: standing && round(standing.score, 2),
    runs: Number(succeeded + failed),
    cancelled: Number(cancelled),
    success:
      success && interval
        ? {
            rate: unlessAll(round(success.value, 2), sums),
            low: round(interval.low, 2),
            high: round(interval.high, 2),
          }
        : null,
    costPerSuccessNanousd: enough(costPerSuccess, (value) => BigInt(Math.round(Number(value.toPrecision(2))))),
    durationP50Ms: timed >= publicMedianRunsMin ? (durationP50?.value ?? null) : null,
    durationP95Ms: timed >= publicP95RunsMin ? (durationP95?.value ?? null) : null,
    rating: enough(rating, (value) => round(value, 1)),
    evaluation: enough(evaluation, (value) => round(value, 2)),
  };
}

/** Rounding must not say that all succeeded, or none, where that is not so. */
function unlessAll(rate: number, { succeeded, failed }: VersionSums): number {
  if (rate === 1 && failed > 0n) return 0.99;
  return rate === 0 && succeeded > 0n ? 0.01 : rate;
}

/** Of too few it would tell what single ones were. */
function enough<T>(measured: Measure | null, shown: (value: number) => T): T | null {
  return measured && measured.n >= publicRunsMin ? shown(measured.value) : null;
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
