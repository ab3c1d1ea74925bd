import fc from 'fast-check';
import { expect, it } from 'vitest';
import { RateLimiter } from './gcra.ts';

class Time {
  ms: number;

  constructor(ms: number) {
    this.ms = ms;
  }

  now(): number {
    return this.ms;
  }

  monotonic(): number {
    return this.ms;
  }
}

// performance.now() has fractions, whose sums are rarely exact.
const start = fc.double({ min: 0, max: 1e9, noNaN: true });
const rate = fc.record({ perMinute: fc.integer({ min: 1, max: 100_000 }), burst: fc.integer({ min: 1, max: 50 }) });

it('whatever the time is, a full bucket lets exactly its burst through at once, and counts down to zero', () => {
  fc.assert(
    fc.property(start, rate, (ms, { perMinute, burst }) => {
      const limiter = new RateLimiter(new Time(ms), 10);
      const verdicts = Array.from({ length: burst + 1 }, () => limiter.take('a', { perMinute, burst }));
      expect(verdicts.map(({ allowed }) => allowed)).toEqual([...Array.from({ length: burst }, () => true), false]);
      expect(verdicts.map(({ remaining }) => remaining)).toEqual([
        ...Array.from({ length: burst }, (_, n) => burst - 1 - n),
        0,
      ]);
    }),
  );
});

it('a caller who waits as long as it was told is let through', () => {
  fc.assert(
    fc.property(start, rate, (ms, { perMinute, burst }) => {
      const time = new Time(ms);
      const limiter = new RateLimiter(time, 10);
      for (let i = 0; i < burst; i++) limiter.take('a', { perMinute, burst });
      const { retryAfterS } = limiter.take('a', { perMinute, burst });
      expect(retryAfterS).toBeGreaterThan(0);
      time.ms += retryAfterS * 1000;
      expect(limiter.take('a', { perMinute, burst }).allowed).toBe(true);
    }),
  );
});

it('a full store refuses new keys alone, until a bucket in it is full again', () => {
  const time = new Time(0);
  const limiter = new RateLimiter(time, 2);
  const slow = { perMinute: 60, burst: 2 };
  expect([limiter.take('a', slow).allowed, limiter.take('b', slow).allowed]).toEqual([true, true]);
  expect([limiter.take('c', slow).allowed, limiter.take('a', slow).allowed]).toEqual([false, true]);
  time.ms = 3_000;
  expect(limiter.take('c', slow).allowed).toBe(true);
  expect(limiter.size).toBeLessThanOrEqual(2);
});
