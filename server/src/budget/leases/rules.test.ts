import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LeasableCounter, type SliceReport, reslice } from './rules.ts';

const amount = fc.bigInt({ min: 0n, max: 10_000n });

/** A counter and one of its slices, as they can be: what is granted is leased, what is leased is held, all within the limit. */
const situation = fc
  .record({
    limit: amount,
    posted: amount,
    granted: amount,
    leasedByOthers: amount,
    heldByRows: amount,
    held: amount,
    spent: amount,
    wanted: amount,
    dearest: amount,
  })
  .map(({ limit, posted, granted, leasedByOthers, heldByRows, held, ...report }) => {
    const leased = granted + leasedByOthers;
    const counter: LeasableCounter = {
      limit: limit + posted + leased + heldByRows,
      posted,
      held: leased + heldByRows,
      leased,
    };
    return { counter, report: { ...report, granted, held: held < granted ? held : granted, takeable: 0n } };
  });

/** The same, and the slice was posted meanwhile. */
const lost = fc
  .record({ counter: situation, spent: amount, takeable: amount })
  .map(({ counter: { counter, report }, spent, takeable }) => ({
    counter,
    report: { ...report, granted: null, spent, takeable },
  }));

function after({ posted, held, leased }: LeasableCounter, change: ReturnType<typeof reslice>) {
  return { posted: posted + change.posted, held: held + change.held, leased: leased + change.leased };
}

function bigMax(...amounts: bigint[]): bigint {
  return amounts.reduce((one, other) => (one > other ? one : other));
}

test('posted and held never pass the limit, but by what was spent beyond the slice', () => {
  fc.assert(
    fc.property(situation, ({ counter, report }) => {
      const now = after(counter, reslice(counter, report));
      const overrun = bigMax(0n, report.spent - (report.granted - report.held));
      expect(now.posted + now.held <= (counter.limit ?? 0n) + overrun).toBe(true);
    }),
  );
});

test('all slices together are at most a hundredth of the limit, or one call up to a twentieth, unless they were more before', () => {
  fc.assert(
    fc.property(situation, ({ counter, report }) => {
      const { leased } = after(counter, reslice(counter, report));
      const twentieth = (counter.limit ?? 0n) / 20n;
      const ceiling = bigMax((counter.limit ?? 0n) / 100n, report.dearest < twentieth ? report.dearest : twentieth);
      expect(leased <= bigMax(ceiling, counter.leased)).toBe(true);
    }),
  );
});

test('what calls in flight hold of a slice stays in it, and the counter agrees with the slice', () => {
  fc.assert(
    fc.property(situation, ({ counter, report }) => {
      const change = reslice(counter, report);
      expect(change.granted).not.toBeNull();
      expect((change.granted ?? 0n) >= report.held).toBe(true);
      expect(change.held).toBe(change.leased);
      expect(change.leased).toBe((change.granted ?? 0n) - report.granted);
      expect(change.posted).toBe(report.spent);
    }),
  );
});

test('nothing is kept that is not wanted', () => {
  fc.assert(
    fc.property(situation, ({ counter, report }) => {
      const { granted } = reslice(counter, { ...report, wanted: 0n });
      expect(granted).toBe(report.held);
    }),
  );
});

test('of a slice that was posted, all is taken back but what is in flight, and what was spent is posted', () => {
  fc.assert(
    fc.property(lost, ({ counter, report }) => {
      const change = reslice(counter, report);
      expect(change.takenBack <= report.takeable).toBe(true);
      expect(change.posted + change.takenBack).toBe(report.spent);
      // Of the posting as much stays as may still be spent.
      expect(report.takeable - change.takenBack).toBe(report.takeable < report.held ? report.takeable : report.held);
      expect(change).toMatchObject({ held: 0n, leased: 0n, granted: null });
    }),
  );
});

test('a budget without a limit leases nothing', () => {
  const report: SliceReport = { granted: 0n, takeable: 0n, spent: 0n, held: 0n, wanted: 10n, dearest: 1n };
  expect(reslice({ limit: null, posted: 0n, held: 0n, leased: 0n }, report)).toMatchObject({ granted: 0n, leased: 0n });
});

test('half of what may be leased is left for other processes, but never less than one call is given', () => {
  const counter = { limit: 100_000n, posted: 0n, held: 0n, leased: 0n };
  const report: SliceReport = { granted: 0n, takeable: 0n, spent: 0n, held: 0n, wanted: 5_000n, dearest: 10n };
  expect(reslice(counter, report).granted).toBe(500n);
  expect(reslice(counter, { ...report, dearest: 800n }).granted).toBe(800n);
  expect(reslice(counter, { ...report, dearest: 3_000n }).granted).toBe(3_000n);
  expect(reslice(counter, { ...report, wanted: 90_000n, dearest: 80_000n }).granted).toBe(5_000n);
});
