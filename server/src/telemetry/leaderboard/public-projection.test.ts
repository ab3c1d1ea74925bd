import fc from 'fast-check';
import { expect, it } from 'vitest';
import { publicRunsMin } from '../../base/telemetry-limits.ts';
import type { VersionSums } from './model.ts';
import { publicEntries } from './public-projection.ts';

const count = fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 1_000 })).map(BigInt);
const sums: fc.Arbitrary<VersionSums> = fc
  .record({
    at: fc.uuid(),
    isRegistered: fc.boolean(),
    succeeded: count,
    failed: count,
    cancelled: count,
    cost: fc.integer({ min: 0, max: 10 ** 12 }).map(BigInt),
    ratings: count,
    evaluations: count,
    bin: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ at, isRegistered, succeeded, failed, cancelled, cost, ratings, evaluations, bin }) => ({
    promptVersion: `digest ${at}`,
    label: isRegistered ? `label ${at}` : null,
    model: 'secret model',
    succeeded,
    failed,
    cancelled,
    costNanousd: cost * (succeeded + failed),
    succeededNanousd: cost * succeeded,
    costSquares: cost * cost * (succeeded + failed),
    ratings,
    ratingPpm: 3_000_000n * ratings,
    ratingSquares: 9n * 10n ** 12n * ratings,
    evaluations,
    evaluationPpm: 333_333n * evaluations,
    evaluationSquares: 333_333n ** 2n * evaluations,
    durations: new Map([[bin, succeeded]]),
  }));

const isShown = ({ label, succeeded, failed }: VersionSums) =>
  label !== null && succeeded + failed >= BigInt(publicRunsMin);

it('strangers see versions with enough runs alone, and nothing in them depends on the others', () => {
  fc.assert(
    fc.property(fc.array(sums, { maxLength: 12 }), (versions) => {
      const entries = publicEntries(versions, 10);
      const shown = versions.filter(isShown);
      expect(entries.map(({ label }) => label).toSorted()).toEqual(shown.map(({ label }) => label ?? '').toSorted());
      expect(publicEntries(shown, 10)).toEqual(entries);
    }),
  );
});

it('strangers see labels and rounded aggregates of five at least', () => {
  fc.assert(
    fc.property(fc.array(sums, { maxLength: 6 }), (versions) => {
      for (const entry of publicEntries(versions, 1)) {
        const of = versions.find(({ label }) => label === entry.label);
        const has = (n: bigint | undefined) => (n ?? 0n) >= BigInt(publicRunsMin);
        expect(entry.durationP50Ms !== null).toBe((of?.succeeded ?? 0n) >= 20n);
        expect(entry.durationP95Ms !== null).toBe((of?.succeeded ?? 0n) >= 100n);
        expect([entry.runs, entry.cancelled].map(BigInt)).toEqual([
          (of?.succeeded ?? 0n) + (of?.failed ?? 0n),
          of?.cancelled,
        ]);
        expect(entry.success?.rate === 1).toBe(of?.failed === 0n);
        expect(entry.success?.rate === 0).toBe(of?.succeeded === 0n);
        expect(entry.rating !== null).toBe(has(of?.ratings));
        expect(entry.evaluation).toBe(has(of?.evaluations) ? 0.33 : null);
        expect(String(entry.costPerSuccessNanousd ?? 0n)).toMatch(/^\d{1,2}0*$/);
        for (const share of [entry.score ?? 0, entry.success?.rate, entry.success?.low, entry.success?.high])
          expect(String(share)).toMatch(/^[01](?:\.\d{1,2})?$/);
        expect(Object.keys(entry).toSorted()).toEqual(
          [
            'rank',
            'label',
            'score',
            'runs',
            'cancelled',
            'success',
            'costPerSuccessNanousd',
            'durationP50Ms',
            'durationP95Ms',
            'rating',
            'evaluation',
          ].toSorted(),
        );
      }
    }),
  );
});
