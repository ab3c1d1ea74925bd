import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { binMiddleMs, durationBin, durationBinMax, percentile } from './histogram.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

async function binsOfSchema(durations: readonly number[]): Promise<number[]> {
  const { rows } = await db.pool.query<{ bin: number }>(
    'SELECT duration_bin(ms) AS bin FROM unnest($1::float8[]) WITH ORDINALITY AS d (ms, n) ORDER BY n',
    [durations.map(String)],
  );
  return rows.map(({ bin }) => bin);
}

/** The doubles beside a number: what lies nearest to an edge on either side. */
function around(edge: number): number[] {
  const bits = new BigInt64Array(new Float64Array([edge]).buffer);
  const at = (step: bigint) => Number(new Float64Array(new BigInt64Array([bits[0]! + step]).buffer)[0]);
  return [at(-1n), edge, at(1n)];
}

const edges = Array.from({ length: 260 }, (_, n) => 2 ** (n / 8)).flatMap(around);

describe('the bin of a duration', () => {
  test('is that of its logarithm, from one bin to the next at powers of 2^(1/8)', () => {
    expect([0, 0.999, 1, 1.0905, 1.0906, 2, 1000, 60_000].map(durationBin)).toEqual([0, 0, 1, 1, 2, 9, 80, 127]);
    for (let octave = 0; octave < 31; octave += 1) {
      const [below, at] = around(2 ** octave);
      expect(durationBin(at!)).toBe(1 + 8 * octave);
      expect(durationBin(below!)).toBe(8 * octave);
    }
  });

  test('is one of 256, whatever the number', () => {
    const absurd = [-1, -Infinity, 2 ** 31.76, 4e9, 4.1e9, 1e300, Infinity, NaN];
    expect(absurd.map(durationBin)).toEqual([0, 0, 255, 255, 255, 255, 255, 255]);
  });

  test('is the same in the schema: at every edge, beside it, and for any number', async () => {
    expect(await binsOfSchema(edges)).toEqual(edges.map(durationBin));
    const duration = fc.oneof(
      fc.double(),
      fc.double({ min: 0, max: 1e6, noNaN: true }),
      fc.double({ min: 0, max: 33, noNaN: true }).map((log) => 2 ** log),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(duration, { minLength: 500, maxLength: 500 }), async (durations) => {
        expect(await binsOfSchema(durations)).toEqual(durations.map(durationBin));
      }),
      { numRuns: 30 },
    );
  });

  test('has its middle within 4.5 % of whatever is in it', () => {
    for (const ms of edges.filter((edge) => edge >= 1 && durationBin(edge) < durationBinMax)) {
      expect(Math.abs(binMiddleMs(durationBin(ms)) / ms - 1)).toBeLessThan(0.045);
    }
  });
});

describe('a percentile', () => {
  test('is within 4.5 % of the exact one (nearest rank), also after histograms were added', () => {
    const durations = fc.array(
      fc.double({ min: 0, max: 31, noNaN: true }).map((log) => 2 ** log),
      { minLength: 1, maxLength: 300 },
    );
    fc.assert(
      fc.property(durations, durations, fc.integer({ min: 1, max: 100 }), (some, others, percent) => {
        const bins = new Map<number, bigint>();
        for (const ms of [...some, ...others]) bins.set(durationBin(ms), (bins.get(durationBin(ms)) ?? 0n) + 1n);
        const sorted = [...some, ...others].sort((a, b) => a - b);
        const exact = sorted.findLast(
          (ms) => 100 * sorted.filter((other) => other < ms).length < percent * sorted.length,
        )!;
        expect(Math.abs(percentile(bins, percent)! / exact - 1)).toBeLessThan(0.045);
      }),
    );
  });

  test('of nothing is none, and bins whose counts were taken back are none', () => {
    expect(percentile(new Map(), 50)).toBeNull();
    expect(percentile(new Map([[3, 0n]]), 50)).toBeNull();
    expect(
      percentile(
        new Map([
          [3, 0n],
          [9, 1n],
        ]),
        1,
      ),
    ).toBe(binMiddleMs(9));
  });
});
