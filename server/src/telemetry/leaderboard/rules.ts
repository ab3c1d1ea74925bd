import { opinionsMin, successesMin } from '../../base/telemetry-limits.ts';
import {
  type BoardEntry,
  type Measure,
  type MeasuredVersion,
  scoreParts,
  type Standing,
  type VersionSums,
  type Weights,
} from './model.ts';

/**
 * The board: ranked versions first, the best first, then those with not enough data. The same entries in any order of
 * `versions`.
 * @param runsMin fewer runs that succeeded or failed are not enough to be ranked
 */
export function rankVersions(versions: readonly MeasuredVersion[], weights: Weights, runsMin: number): BoardEntry[] {
  const able = versions.filter(({ sums }) => trialsOf(sums) >= BigInt(runsMin));
  const leastCost = least(able.map(costOf));
  const leastDuration = least(able.map(durationOf));
  const scored = able.flatMap((entry) => {
    const parts = partsOf(entry, leastCost, leastDuration);
    const score = scoreOf(parts, weights);
    return score === null ? [] : [{ ...entry, parts, score }];
  });
  const sorted = scored.toSorted((a, b) => b.score - a.score || bySample(a.sums, b.sums));
  const scores = sorted.map(({ score }) => score);
  const ranked = sorted.map(({ sums, measures, parts, score }) => ({
    sums,
    measures,
    standing: { rank: 1 + scores.indexOf(score), score, parts },
  }));
  const placed = new Set<VersionSums>(ranked.map(({ sums }) => sums));
  const rest = versions.filter(({ sums }) => !placed.has(sums)).toSorted((a, b) => bySample(a.sums, b.sums));
  return [...ranked, ...rest.map((entry) => ({ ...entry, standing: null }))];
}

/** How many runs tell of success. */
export function trialsOf({ succeeded, failed }: Pick<VersionSums, 'succeeded' | 'failed'>): bigint {
  return succeeded + failed;
}

function partsOf(entry: MeasuredVersion, leastCost: number, leastDuration: number): Standing['parts'] {
  const { success, rating, evaluation } = entry.measures;
  const surely = success?.interval?.low ?? 0;
  return {
    // What has too few successes has the worst cost and duration, not none: one more must not lower it. To be cheap or fast
    // counts as far as runs succeed.
    ...(success && {
      success: surely,
      cost: surely * shareOfLeast(costOf(entry), leastCost),
      duration: surely * shareOfLeast(durationOf(entry), leastDuration),
    }),
    ...(isEnough(rating) && { rating: (rating.value - 1) / 4 }),
    ...(isEnough(evaluation) && { evaluation: evaluation.value }),
  };
}

/** The weighted mean of the parts that there are; null where nothing of what counts is there. */
function scoreOf(parts: Standing['parts'], weights: Weights): number | null {
  let [sum, weight] = [0, 0];
  for (const name of scoreParts) {
    const part: number | undefined = parts[name];
    if (part === undefined) continue;
    sum += weights[name] * part;
    weight += weights[name];
  }
  return weight === 0 ? null : sum / weight;
}

function costOf({ sums, measures }: MeasuredVersion): number | null {
  return sums.succeeded >= successesMin ? (measures.costPerSuccess?.value ?? null) : null;
}

function durationOf({ sums, measures }: MeasuredVersion): number | null {
  return sums.succeeded >= successesMin ? (measures.durationP50?.value ?? null) : null;
}

function shareOfLeast(value: number | null, leastValue: number): number {
  if (value === null) return 0;
  return value <= leastValue ? 1 : leastValue / value;
}

/** Of those above 0: what costs nothing tells nothing of what others should. */
function least(values: readonly (number | null)[]): number {
  return Math.min(Infinity, ...values.flatMap((value) => (value !== null && value > 0 ? [value] : [])));
}

/** A few opinions are shown, and count for nothing. */
function isEnough(measured: Measure | null): measured is Measure {
  return measured !== null && measured.n >= opinionsMin;
}

/** Larger samples first; the names make the order whole. */
function bySample(a: VersionSums, b: VersionSums): number {
  return (
    Number(trialsOf(b) - trialsOf(a)) || compareText(a.promptVersion, b.promptVersion) || compareText(a.model, b.model)
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
