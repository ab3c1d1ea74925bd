import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { boardRunsMinDefault, opinionsMin } from '../../base/telemetry-limits.ts';
import { durationBin } from '../histogram.ts';
import { type BoardEntry, presetNames, presets, scoreParts, type VersionSums, type Weights } from './model.ts';
import { measureVersion } from './measures.ts';
import { rankVersions } from './rules.ts';

/** Runs as they are counted, one by one. */
interface CountedRun {
  readonly outcome: 'succeeded' | 'failed' | 'cancelled';
  readonly cost: number;
  readonly ms: number;
  readonly ratings: readonly number[];
  /** Millionths. */
  readonly evaluations: readonly number[];
}

function sumsOf(name: string, runs: readonly CountedRun[]): VersionSums {
  const of = (outcome: CountedRun['outcome']) => runs.filter((run) => run.outcome === outcome);
  const sum = (values: readonly number[]) => values.reduce((all, value) => all + BigInt(value), 0n);
  const squares = (values: readonly number[]) => values.reduce((all, value) => all + BigInt(value) ** 2n, 0n);
  // Of each run the mean, in millionths.
  const means = (given: readonly (readonly number[])[], unit: number) =>
    given
      .filter(({ length }) => length > 0)
      .map((of) => Math.round((unit * of.reduce((a, b) => a + b, 0)) / of.length));
  const ratings = means(
    runs.map((run) => run.ratings),
    1_000_000,
  );
  const evaluations = means(
    runs.map((run) => run.evaluations),
    1,
  );
  const costs = runs.map(({ cost }) => cost);
  const durations = new Map<number, bigint>();
  for (const { ms } of of('succeeded')) durations.set(durationBin(ms), (durations.get(durationBin(ms)) ?? 0n) + 1n);
  return {
    promptVersion: name,
    label: name,
    model: '',
    succeeded: BigInt(of('succeeded').length),
    failed: BigInt(of('failed').length),
    cancelled: BigInt(of('cancelled').length),
    costNanousd: sum(costs),
    succeededNanousd: sum(of('succeeded').map(({ cost }) => cost)),
    costSquares: squares(costs),
    ratings: BigInt(ratings.length),
    ratingPpm: sum(ratings),
    ratingSquares: squares(ratings),
    evaluations: BigInt(evaluations.length),
    evaluationPpm: sum(evaluations),
    evaluationSquares: squares(evaluations),
    durations,
  };
}

const run = fc.record<CountedRun>({
  outcome: fc.constantFrom('succeeded', 'succeeded', 'failed', 'cancelled'),
  cost: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10 ** 12 })),
  ms: fc.integer({ min: 1, max: 10 ** 7 }),
  ratings: fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 2 }),
  evaluations: fc.array(fc.integer({ min: 0, max: 1_000_000 }), { maxLength: 2 }),
});
const board = fc
  .array(fc.array(run, { maxLength: 30 }), { minLength: 1, maxLength: 8 })
  .map((versions) => versions.map((runs, at) => sumsOf(`v${at}`, runs)));
const weights: fc.Arbitrary<Weights> = fc
  .record(Object.fromEntries(scoreParts.map((part) => [part, fc.integer({ min: 0, max: 10 })])))
  .map((drawn) => drawn as unknown as Weights)
  .filter((drawn) => scoreParts.some((part) => drawn[part] > 0));

const rank = (versions: readonly VersionSums[], weighed: Weights, runsMin: number) =>
  rankVersions(versions.map(measureVersion), weighed, runsMin);

const scoreIn = (entries: readonly BoardEntry[], name: string) =>
  entries.find(({ sums }) => sums.promptVersion === name)?.standing?.score ?? null;

describe('a board', () => {
  it('is the same in whatever order its rows come', () => {
    fc.assert(
      fc.property(board, weights, fc.infiniteStream(fc.nat()), (versions, weighed, dice) => {
        const shuffled = versions
          .map((sums) => ({ sums, at: dice.next().value ?? 0 }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ sums }) => sums);
        expect(rank(shuffled, weighed, 3)).toEqual(rank(versions, weighed, 3));
      }),
    );
  });

  it('has each version once, ranked ones first by score, and scores and parts within 0 and 1', () => {
    fc.assert(
      fc.property(board, weights, fc.integer({ min: 1, max: 20 }), (versions, weighed, runsMin) => {
        const entries = rank(versions, weighed, runsMin);
        expect(entries.map(({ sums }) => sums.promptVersion).toSorted()).toEqual(
          versions.map(({ promptVersion }) => promptVersion).toSorted(),
        );
        const standings = entries.map(({ standing }) => standing);
        const ranked = standings.filter((standing) => standing !== null);
        expect(standings.slice(0, ranked.length)).toEqual(ranked);
        let before = { rank: 0, score: Infinity };
        for (const [at, entry] of entries.entries()) {
          const { standing, sums } = entry;
          if (!standing) continue;
          expect(sums.succeeded + sums.failed).toBeGreaterThanOrEqual(BigInt(runsMin));
          expect(standing.score).toBeLessThanOrEqual(before.score);
          expect(standing.rank).toBe(standing.score === before.score ? before.rank : at + 1);
          for (const value of [standing.score, ...Object.values(standing.parts)]) {
            expect(value).toBeGreaterThanOrEqual(0);
            // The last bit of a weighted mean may round up.
            expect(value).toBeLessThanOrEqual(1 + 1e-12);
          }
          before = standing;
        }
      }),
    );
  });

  it('never lowers a version for what is better of one measure, all else equal', () => {
    const better: Readonly<Record<string, (sums: VersionSums) => VersionSums>> = {
      // The same costs and times: one that failed had succeeded.
      success: (sums) =>
        sums.failed === 0n ? sums : { ...sums, succeeded: sums.succeeded + 1n, failed: sums.failed - 1n },
      cost: (sums) => ({ ...sums, costNanousd: (sums.costNanousd * 9n) / 10n }),
      duration: (sums) => ({
        ...sums,
        durations: new Map([...sums.durations].map(([bin, n]) => [Math.max(0, bin - 3), n])),
      }),
      rating: (sums) => ({
        ...sums,
        ratingPpm: sums.ratingPpm + (5_000_000n * sums.ratings - sums.ratingPpm) / 2n,
      }),
      evaluation: (sums) => ({
        ...sums,
        evaluationPpm: sums.evaluationPpm + (1_000_000n * sums.evaluations - sums.evaluationPpm) / 2n,
      }),
    };
    fc.assert(
      fc.property(board, weights, fc.constantFrom(...Object.keys(better)), (versions, weighed, measure) => {
        const [first, ...others] = versions;
        if (!first) return;
        const before = scoreIn(rank(versions, weighed, 2), 'v0');
        const changed = better[measure]?.(first) ?? first;
        const after = scoreIn(rank([changed, ...others], weighed, 2), 'v0');
        expect(after ?? 1).toBeGreaterThanOrEqual((before ?? 0) - 1e-12);
      }),
      { numRuns: 1_000 },
    );
  });

  it('does not rank one lucky run: it says that there is not enough data, and measures nobody by it', () => {
    const steady = Array.from({ length: boardRunsMinDefault }, (_, at): CountedRun => ({
      outcome: at < 8 ? 'succeeded' : 'failed',
      cost: 1_000,
      ms: 1_000,
      ratings: [],
      evaluations: [],
    }));
    const lucky: CountedRun = { outcome: 'succeeded', cost: 1, ms: 1, ratings: [5], evaluations: [1_000_000] };
    const entries = rank([sumsOf('lucky', [lucky]), sumsOf('steady', steady)], presets.balanced, boardRunsMinDefault);
    expect(entries.map(({ sums, standing }) => [sums.promptVersion, standing?.rank])).toEqual([
      ['steady', 1],
      ['lucky', undefined],
    ]);
    const { success, cost, duration } = entries[0]?.standing?.parts ?? {};
    expect([cost, duration]).toEqual([success, success]);
  });

  const plain = (succeeded: number, failed: number, cost: number, ms: number) =>
    Array.from({ length: succeeded + failed }, (_, at): CountedRun => ({
      outcome: at < succeeded ? 'succeeded' : 'failed',
      cost,
      ms,
      ratings: [],
      evaluations: [],
    }));

  it('is not turned round by runs that do nothing, of which one succeeded, nor won by them', () => {
    const cent = 10_000_000;
    const honest = [sumsOf('good', plain(95, 5, cent, 60_000)), sumsOf('dear', plain(100, 0, 1_000 * cent, 90_000))];
    for (const successes of [1, 4]) {
      const noop = sumsOf('noop', plain(successes, 10 - successes, 0, 1));
      for (const preset of presetNames) {
        const names = (entries: readonly BoardEntry[]) => entries.map(({ sums }) => sums.promptVersion);
        const scores = (entries: readonly BoardEntry[]) => ['good', 'dear'].map((name) => scoreIn(entries, name));
        const [without, beside] = [rank(honest, presets[preset], 10), rank([...honest, noop], presets[preset], 10)];
        expect(names(beside), preset).toEqual([...names(without), 'noop']);
        expect(scores(beside)).toEqual(scores(without));
      }
    }
  });

  it('measures nobody by what costs nothing, which has the best cost by itself', () => {
    const [dear, cheap, free] = [20, 10, 0].map((cost) => sumsOf(`at ${cost}`, plain(20, 0, cost, 1_000)));
    const entries = rank(
      [dear, cheap, free].filter((sums) => sums !== undefined),
      presets.cost,
      10,
    );
    const parts = entries.map(({ sums, standing }) => [
      sums.promptVersion,
      (standing?.parts.cost ?? 0) / (standing?.parts.success ?? 1),
    ]);
    expect(Object.fromEntries(parts)).toEqual({ 'at 0': 1, 'at 10': 1, 'at 20': 0.5 });
  });

  it('counts cost and time as far as runs succeed: what succeeds three times as surely is ahead at any price', () => {
    const worse = sumsOf('worse', plain(20, 80, 1, 1));
    const better = sumsOf('better', plain(95, 5, 10 ** 12, 10 ** 7));
    for (const preset of presetNames) {
      const [first] = rank([worse, better], presets[preset], 10);
      expect(first?.sums.promptVersion, preset).toBe('better');
    }
  });

  it('counts ratings and evaluations in scores from five runs on, and shows fewer', () => {
    const rated = (count: number) =>
      Array.from({ length: 10 }, (_, at): CountedRun => ({
        outcome: 'succeeded',
        cost: 0,
        ms: 10,
        ratings: at < count ? [4] : [],
        evaluations: at < count ? [500_000] : [],
      }));
    const [few, enough] = [opinionsMin - 1, opinionsMin].map((count) => {
      const [entry] = rank([sumsOf('v', rated(count))], presets.quality, 10);
      expect(entry?.measures.rating).toMatchObject({ value: 4, n: count });
      return entry?.standing?.parts;
    });
    expect(few).not.toHaveProperty('rating');
    expect(few).not.toHaveProperty('evaluation');
    expect(enough).toMatchObject({ rating: 0.75, evaluation: 0.5 });
  });

  it('has no score where weights ask for nothing that a version has', () => {
    const runs = Array.from({ length: 12 }, (): CountedRun => ({
      outcome: 'failed',
      cost: 5,
      ms: 5,
      ratings: [],
      evaluations: [],
    }));
    const only = { success: 0, cost: 0, duration: 0, rating: 1, evaluation: 1 };
    expect(rank([sumsOf('v', runs)], only, 10)[0]?.standing).toBeNull();
    // What never succeeded has the worst cost and duration.
    expect(rank([sumsOf('v', runs)], presets.speed, 10)[0]?.standing).toMatchObject({
      rank: 1,
      score: 0,
      parts: { success: 0, cost: 0, duration: 0 },
    });
  });

  it('weighs every part in some preset, and success in all', () => {
    for (const part of scoreParts) expect(presetNames.some((name) => presets[name][part] > 0)).toBe(true);
    for (const name of presetNames) expect(presets[name].success).toBeGreaterThan(0);
  });
});

describe('measures', () => {
  it('are those of the runs, one by one', () => {
    fc.assert(
      fc.property(fc.array(run, { maxLength: 40 }), (runs) => {
        const { measures } = measureVersion(sumsOf('v', runs));
        const successes = runs.filter(({ outcome }) => outcome === 'succeeded');
        const trials = runs.filter(({ outcome }) => outcome !== 'cancelled');
        const mean = (values: readonly number[]) => values.reduce((all, value) => all + value, 0) / values.length;
        expect(measures.success?.value ?? null).toBe(trials.length === 0 ? null : successes.length / trials.length);
        const cost = successes.length === 0 ? 0 : runs.reduce((all, one) => all + one.cost, 0) / successes.length;
        const sorted = successes.map(({ ms }) => ms).toSorted((a, b) => a - b);
        const median = sorted[Math.ceil(sorted.length / 2) - 1];
        expect((measures.costPerSuccess === null) === (successes.length === 0)).toBe(true);
        expect(Math.abs((measures.costPerSuccess?.value ?? 0) - cost)).toBeLessThan(1);
        expect((measures.durationP50 === null) === (median === undefined)).toBe(true);
        expect(Math.abs((measures.durationP50?.value ?? 1) / (median ?? 1) - 1)).toBeLessThan(0.0455);
        const rated = runs.filter(({ ratings }) => ratings.length > 0);
        expect(measures.rating?.n ?? 0).toBe(rated.length);
        expect(measures.rating?.value ?? 0).toBeCloseTo(mean(rated.map(({ ratings }) => mean(ratings))) || 0, 5);
        for (const measured of Object.values(measures)) {
          if (!measured?.interval) continue;
          expect(measured.interval.low).toBeLessThanOrEqual(measured.value * (1 + 1e-12));
          expect(measured.interval.high).toBeGreaterThanOrEqual(measured.value * (1 - 1e-12));
        }
      }),
    );
  });
});
