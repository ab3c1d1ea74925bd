import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { binMiddleMs, durationBin, percentile } from '../histogram.ts';
import { comparePaired, type TaskSums } from './comparison.ts';
import {
  meanInterval,
  percentileInterval,
  linearInterval,
  ratioInterval,
  type Sample,
  studentInterval,
  wilsonInterval,
} from './intervals.ts';
import { signTest } from './sign-test.ts';
import { studentT95, z95 } from './student-t.ts';

// Each statistic is checked against what SciPy says of it, and against a computation of another kind.

interface Bounds {
  readonly low: number;
  readonly high: number;
}

interface Vectors {
  readonly wilson: readonly (Bounds & { readonly successes: number; readonly trials: number })[];
  readonly student_t95: readonly { readonly freedom: number; readonly t: number }[];
  readonly sign_test: readonly { readonly more: number; readonly less: number; readonly p: number }[];
  readonly mean: readonly (Bounds & { readonly sample: readonly number[] })[];
  readonly ratio: readonly (Bounds & { readonly costs: readonly number[]; readonly successes: readonly boolean[] })[];
  readonly paired: readonly (Bounds & {
    readonly first: readonly (readonly [number, number])[];
    readonly second: readonly (readonly [number, number])[];
    readonly mean: number;
    readonly more: number;
    readonly less: number;
    readonly p: number;
  })[];
  readonly percentiles: readonly {
    readonly sample: readonly number[];
    readonly percentiles: Readonly<Record<'50' | '95', number>>;
  }[];
}

const file = new URL('../../../../test/vectors/leaderboard-statistics.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as Vectors;

/** How far it is off, in parts of what it should be. */
function errorOf(actual: number, expected: number): number {
  return Math.abs(actual - expected) / Math.max(1e-300, Math.abs(expected));
}

function sampleOf(values: readonly number[]): Sample {
  const exact = values.map(BigInt);
  const sum = exact.reduce((all, value) => all + value, 0n);
  return { n: BigInt(exact.length), sum, squares: exact.reduce((all, value) => all + value * value, 0n) };
}

/** The root of an increasing function. */
function bisect(rising: (at: number) => number, low: number, high: number): number {
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (rising(middle) < 0) low = middle;
    else high = middle;
  }
  return low;
}

describe("Wilson's interval", () => {
  it('is that of SciPy', () => {
    for (const { successes, trials, low, high } of vectors.wilson) {
      const interval = wilsonInterval(successes, trials);
      expect(Math.abs(interval.low - low)).toBeLessThan(1e-12);
      expect(Math.abs(interval.high - high)).toBeLessThan(1e-12);
    }
  });

  it('ends where the score test just does not refuse the proportion any more', () => {
    const trials = fc
      .integer({ min: 1, max: 5_000 })
      .chain((n) => fc.tuple(fc.integer({ min: 0, max: n }), fc.constant(n)));
    fc.assert(
      fc.property(trials, ([k, n]) => {
        const score = (p: number) => (p - k / n) / Math.sqrt((p * (1 - p)) / n);
        const { low, high } = wilsonInterval(k, n);
        const lowest = k === 0 ? 0 : bisect((p) => score(p) + z95, 1e-15, k / n);
        const highest = k === n ? 1 : bisect((p) => score(p) - z95, k / n, 1 - 1e-15);
        expect(Math.abs(low - lowest)).toBeLessThan(1e-9);
        expect(Math.abs(high - highest)).toBeLessThan(1e-9);
        expect(0 <= low && low <= k / n && k / n <= high && high <= 1).toBe(true);
      }),
    );
  });

  it('narrows with more of the same, and rises with each success', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2_000 }), fc.nat(), (n, any) => {
        const k = any % (n + 1);
        const [one, ten] = [wilsonInterval(k, n), wilsonInterval(10 * k, 10 * n)];
        expect(ten.high - ten.low).toBeLessThan(one.high - one.low);
        expect(k < n ? wilsonInterval(k + 1, n).low : 1).toBeGreaterThan(one.low);
      }),
    );
  });
});

describe("Student's t", () => {
  // As printed: W. A. Shewhart to every statistics book since, two-sided 95 %.
  const published: readonly (readonly [number, number])[] = [
    [1, 12.706],
    [2, 4.303],
    [3, 3.182],
    [4, 2.776],
    [5, 2.571],
    [6, 2.447],
    [7, 2.365],
    [8, 2.306],
    [9, 2.262],
    [10, 2.228],
    [15, 2.131],
    [20, 2.086],
    [25, 2.06],
    [30, 2.042],
    [40, 2.021],
    [60, 2],
    [120, 1.98],
  ];

  it('is that of the tables, and that of SciPy', () => {
    for (const [freedom, t] of published) expect(Math.round(studentT95(freedom) * 1000) / 1000).toBe(t);
    for (const { freedom, t } of vectors.student_t95) expect(errorOf(studentT95(freedom), t)).toBeLessThan(1e-9);
  });

  it('encloses 95 % of its density, by numeric integration', () => {
    for (const freedom of [1, 2, 3, 5, 8, 30, 199, 200, 201, 1_000]) {
      // With t = √ν tan θ the density is cos^(ν-1) θ, but for a constant: what is inside, of all.
      const power = (from: number, to: number) => simpson((angle) => Math.cos(angle) ** (freedom - 1), from, to);
      const inside = power(0, Math.atan(studentT95(freedom) / Math.sqrt(freedom)));
      expect(errorOf(inside / power(0, Math.PI / 2), 0.95)).toBeLessThan(1e-8);
    }
  });

  it('falls to the normal quantile', () => {
    let before = Infinity;
    for (let freedom = 1; freedom <= 400; freedom++) {
      expect(studentT95(freedom)).toBeLessThan(before);
      before = studentT95(freedom);
    }
    expect(errorOf(studentT95(1e9), z95)).toBeLessThan(1e-8);
  });
});

function simpson(of: (at: number) => number, from: number, to: number): number {
  const pieces = 20_000;
  const width = (to - from) / pieces;
  let sum = of(from) + of(to);
  for (let i = 1; i < pieces; i++) sum += (i % 2 === 1 ? 4 : 2) * of(from + i * width);
  return (sum * width) / 3;
}

describe('the sign test', () => {
  it('is that of SciPy', () => {
    for (const { more, less, p } of vectors.sign_test) {
      expect(errorOf(signTest(more, less), p)).toBeLessThan(1e-9);
    }
  });

  it('counts exactly the outcomes of fair coins that are as uneven or more', () => {
    for (let n = 0; n <= 12; n++) {
      for (let more = 0; more <= n; more++) {
        let uneven = 0;
        for (let coins = 0; coins < 2 ** n; coins++) {
          const heads = coins.toString(2).replaceAll('0', '').length;
          if (Math.abs(2 * heads - n) >= Math.abs(2 * more - n)) uneven++;
        }
        expect(errorOf(signTest(more, n - more), uneven / 2 ** n)).toBeLessThan(1e-12);
      }
    }
  });

  it('is the exact sum of binomials for thousands', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3_000 }), fc.nat(), (n, any) => {
        const fewer = any % (Math.floor(n / 2) + 1);
        let [binomial, sum] = [1n, 1n];
        for (let i = 1; i <= fewer; i++) {
          binomial = (binomial * BigInt(n - i + 1)) / BigInt(i);
          sum += binomial;
        }
        // The quotient to 60 bits, however small it is.
        const shift = BigInt(Math.max(0, n - 1 + 60 - sum.toString(2).length));
        const quotient = Number((sum << shift) / 2n ** BigInt(n - 1));
        const exact = Math.min(1, (quotient / 2 ** 60) * 2 ** (60 - Number(shift)));
        expect(errorOf(signTest(fewer, n - fewer), exact)).toBeLessThan(1e-9);
        expect(signTest(fewer, n - fewer)).toBe(signTest(n - fewer, fewer));
      }),
      { numRuns: 200 },
    );
  });
});

describe('intervals of means and ratios', () => {
  it('of a mean is that of SciPy', () => {
    for (const { sample, low, high } of vectors.mean) {
      const interval = studentInterval(sampleOf(sample));
      expect(errorOf(interval.low, low)).toBeLessThan(1e-9);
      expect(errorOf(interval.high, high)).toBeLessThan(1e-9);
    }
  });

  it('of a cost per success is that of its residuals', () => {
    for (const { costs, successes, low, high } of vectors.ratio) {
      const ofSuccesses = costs.reduce((sum, cost, at) => sum + (successes[at] ? BigInt(cost) : 0n), 0n);
      const count = successes.filter(Boolean).length;
      const interval = linearInterval(sampleOf(costs), BigInt(count), ofSuccesses);
      expect(errorOf(Math.max(0, interval.low), low)).toBeLessThan(1e-9);
      expect(errorOf(interval.high, high)).toBeLessThan(1e-9);
    }
  });

  it('of a cost per success is of the runs and two more, of five successes at least, and none where all was free', () => {
    const costs = [300, 500, 100, 100, 700, 100];
    const more = linearInterval(sampleOf([...costs, 300, 300]), 6n, 1_800n);
    const interval = ratioInterval(sampleOf(costs), 5n, 1_500n);
    expect(interval?.low).toBeCloseTo(more.low, 9);
    expect(interval?.high).toBeCloseTo(more.high, 9);
    expect(ratioInterval(sampleOf(costs), 4n, 1_400n)).toBeNull();
    expect(ratioInterval(sampleOf([0, 0, 0, 0, 0]), 5n, 0n)).toBeNull();
    const same = ratioInterval(sampleOf([10, 10, 10, 10, 10]), 5n, 50n);
    expect(same && [same.low < 9, same.high > 12]).toEqual([true, true]);
  });

  it('of a cost per success holds the true one in 90 of 100 samples at least, in 80 where costs are very uneven', () => {
    const random = generator(11);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    for (const [spread, least] of [
      [0.01, 0.9],
      [0.5, 0.9],
      [1, 0.8],
    ] as const) {
      for (const [chance, n] of [
        [0.7, 12],
        [0.9, 6],
        [0.9, 20],
        [0.97, 50],
        [0.5, 50],
      ] as const) {
        const truth = Math.exp(13 + spread ** 2 / 2) / chance;
        const intervals: Bounds[] = [];
        while (intervals.length < 500) {
          const runs = Array.from({ length: n }, () => ({
            cost: Math.round(Math.exp(13 + spread * normal())),
            hasSucceeded: random() < chance,
          }));
          const of = runs.filter(({ hasSucceeded }) => hasSucceeded);
          const sum = of.reduce((all, { cost }) => all + BigInt(cost), 0n);
          const interval = ratioInterval(sampleOf(runs.map(({ cost }) => cost)), BigInt(of.length), sum);
          if (interval) intervals.push(interval);
        }
        const held = intervals.filter(({ low, high }) => low <= truth && truth <= high).length;
        expect(held / intervals.length, `${spread} ${chance} ${n}`).toBeGreaterThan(least);
      }
    }
  });

  it('of a mean between bounds is that of the sample and one more at each bound, and within them', () => {
    expect(meanInterval(sampleOf([2, 4, 5]), 1n, 5n)).toEqual({
      ...studentInterval(sampleOf([1, 2, 4, 5, 5])),
      high: 5,
    });
    const { low, high } = meanInterval(sampleOf(Array.from({ length: 6 }, () => 5)), 1n, 5n);
    expect([low > 1 && low < 4, high]).toEqual([true, 5]);
    expect(meanInterval(sampleOf([1]), 0n, 1n)).toEqual({ low: 0, high: 1 });
  });

  // Whatever a coin's chance is, nothing between the same bounds is harder: here it is not sampled, but added up.
  it.each([1, 2, 5, 6, 10, 20, 50, 300])('of the mean of %d coins holds any true mean in 93 of 100 at least', (n) => {
    const intervals = Array.from({ length: n + 1 }, (_, k) =>
      meanInterval({ n: BigInt(n), sum: BigInt(k), squares: BigInt(k) }, 0n, 1n),
    );
    for (let p = 0.005; p < 1; p += 0.005) {
      let held = 0;
      for (const [k, { low, high }] of intervals.entries()) if (low <= p && p <= high) held += binomial(k, n, p);
      expect(held, `p ${p}`).toBeGreaterThan(0.93);
    }
  });

  it('of ratings and scores of many shapes holds the true mean in 93 of 100 samples at least', () => {
    const random = generator(7);
    // What is drawn, in millionths from 0 to a million, and its mean.
    const shapes: readonly (readonly [() => number, number])[] = [
      [() => (random() < 0.9 ? 1 : 0.75), 0.975],
      [() => (random() < 0.9 ? 1 : 0), 0.9],
      [() => random(), 0.5],
      [() => random() ** 4, 0.2],
      [() => (random() < 0.95 ? 1 : random() / 2), 0.9625],
    ];
    for (const [draw, mean] of shapes) {
      for (const n of [2, 5, 10, 40]) {
        let held = 0;
        for (let i = 0; i < 1_000; i++) {
          const sample = sampleOf(Array.from({ length: n }, () => Math.round(draw() * 1_000_000)));
          const { low, high } = meanInterval(sample, 0n, 1_000_000n);
          if (low <= mean * 1_000_000 && mean * 1_000_000 <= high) held++;
        }
        expect(held / 1_000, `${mean} of ${n}`).toBeGreaterThan(0.93);
      }
    }
  });
});

/** The same numbers from 0 to 1 each time (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function binsOf(sample: readonly number[]): Map<number, bigint> {
  const bins = new Map<number, bigint>();
  for (const ms of sample) bins.set(durationBin(ms), (bins.get(durationBin(ms)) ?? 0n) + 1n);
  return bins;
}

describe('percentiles of a histogram', () => {
  it('are within 4.5 % of what NumPy says of the whole sample', () => {
    for (const { sample, percentiles } of vectors.percentiles) {
      for (const percent of [50, 95] as const) {
        const exact = percentiles[percent];
        expect(errorOf(percentile(binsOf(sample), percent) ?? NaN, exact)).toBeLessThan(0.045);
      }
    }
  });

  it('lie between two of the sample which hold the true one in 19 of 20 or more, by the binomial distribution', () => {
    const from = 20;
    // Each of the sample has a bin of its own, so that its rank can be told.
    const sampleOfRanks = (n: number) => new Map(Array.from({ length: n }, (_, i) => [from + i, 1n]));
    const rankOf = (ms: number | undefined) => durationBin(ms ?? NaN) - from + 1;
    for (const [n, percent] of [
      [10, 50],
      [31, 50],
      [100, 50],
      [180, 50],
      [180, 95],
    ] as const) {
      const interval = percentileInterval(sampleOfRanks(n), percent);
      let held = 0;
      for (let below = rankOf(interval?.low); below < rankOf(interval?.high); below++)
        held += binomial(below, n, percent / 100);
      expect(held).toBeGreaterThan(0.945);
      expect(held).toBeLessThan(0.999);
    }
    // Nothing of so few is likely to lie above it.
    expect(percentileInterval(sampleOfRanks(100), 95)).toBeNull();
    expect(percentileInterval(new Map([[3, 5n]]), 50)).toBeNull();
    expect(percentileInterval(new Map([[3, 50n]]), 50)).toEqual({ low: binMiddleMs(3), high: binMiddleMs(3) });
  });
});

function binomial(k: number, n: number, p: number): number {
  if (p <= 0 || p >= 1) return k === (p <= 0 ? 0 : n) ? 1 : 0;
  let logarithm = k * Math.log(p) + (n - k) * Math.log(1 - p);
  for (let i = 1; i <= k; i++) logarithm += Math.log((n - i + 1) / i);
  return Math.exp(logarithm);
}

describe('a paired comparison', () => {
  const tasks = (rows: readonly (readonly [number, number])[]) =>
    new Map<string, TaskSums>(
      rows.map(([runs, succeeded], at) => [`task ${at}`, { runs, succeeded, costNanousd: succeeded }]),
    );

  it('is that of SciPy', () => {
    for (const { first, second, mean, low, high, more, less, p } of vectors.paired) {
      const { success, cost, tasks: common } = comparePaired(tasks(first), tasks(second));
      expect(common).toBe(first.length);
      expect(success).toMatchObject({ more, less, same: first.length - more - less });
      expect(Math.abs((success?.mean ?? NaN) - mean)).toBeLessThan(1e-12);
      expect(errorOf(success?.p ?? NaN, p)).toBeLessThan(1e-9);
      // A success costs 1 here: the same differences, but without bounds.
      expect(Math.abs((cost?.interval?.low ?? NaN) - low)).toBeLessThan(1e-9);
      expect(Math.abs((cost?.interval?.high ?? NaN) - high)).toBeLessThan(1e-9);
    }
  });

  it('is of common tasks alone, needs six of them, and turns round with its sides', () => {
    const five = tasks(Array.from({ length: 5 }, () => [2, 1] as const));
    expect(comparePaired(five, five)).toEqual({ tasks: 5, success: null, cost: null });
    const row = fc.tuple(fc.integer({ min: 1, max: 9 }), fc.nat({ max: 9 })).map(([n, k]) => [n, k % (n + 1)] as const);
    fc.assert(
      fc.property(
        fc.array(row, { minLength: 6, maxLength: 30 }),
        fc.array(row, { minLength: 6, maxLength: 30 }),
        (a, b) => {
          const [one, other] = [comparePaired(tasks(a), tasks(b)), comparePaired(tasks(b), tasks(a))];
          expect(one.tasks).toBe(Math.min(a.length, b.length));
          for (const side of ['success', 'cost'] as const) {
            const [there, back] = [one[side], other[side]];
            if (!there || !back) throw new Error('there is enough data');
            expect(there.mean).toBeCloseTo(-back.mean, 9);
            expect(there.interval?.low ?? 0).toBeCloseTo(-(back.interval?.high ?? 0), 9);
            expect([there.more, there.less, there.same, there.p]).toEqual([back.less, back.more, back.same, back.p]);
          }
        },
      ),
    );
  });

  it('where all tasks say the same has an interval nevertheless, and of costs none', () => {
    const all = (succeeded: number) => tasks(Array.from({ length: 6 }, () => [1, succeeded] as const));
    const { success, cost } = comparePaired(all(0), all(1));
    expect(success).toMatchObject({
      mean: 1,
      interval: { low: expect.closeTo(0.159, 3), high: 1 },
      p: expect.closeTo(1 / 32, 12),
    });
    expect(cost).toMatchObject({ mean: 1, interval: null });
    expect(comparePaired(all(1), all(1)).success?.interval?.high).toBeCloseTo(0.447, 3);
  });

  it.each([6, 10, 25])('of %d tasks tried once holds the true difference in 93 of 100 at least', (n) => {
    const outcomes = (more: number, less: number) =>
      Array.from({ length: n }, (_, at) =>
        at < more ? ([0, 1] as const) : at < more + less ? ([1, 0] as const) : ([1, 1] as const),
      );
    const intervals = new Map<string, Bounds>();
    for (let more = 0; more <= n; more++) {
      for (let less = 0; more + less <= n; less++) {
        const rows = outcomes(more, less);
        const one = tasks(rows.map(([first]) => [1, first]));
        const other = tasks(rows.map(([, second]) => [1, second]));
        intervals.set(`${more} ${less}`, comparePaired(one, other).success?.interval ?? { low: NaN, high: NaN });
      }
    }
    for (let first = 0; first <= 20; first++) {
      for (let second = 0; first + second <= 20; second++) {
        const [better, worse] = [first / 20, second / 20];
        let held = 0;
        for (const [key, { low, high }] of intervals) {
          const [more = 0, less = 0] = key.split(' ').map(Number);
          const isIn = low - 1e-12 <= better - worse && better - worse <= high + 1e-12;
          if (isIn)
            held += binomial(more, n, better) * binomial(less, n - more, better === 1 ? 0 : worse / (1 - better));
        }
        expect(held, `${better} ${worse}`).toBeGreaterThan(0.93);
      }
    }
  });
});
