import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { deliveryRetryAfterMsMax, deliveryRetryMs } from '../../base/webhook-limits.ts';
import { outcomeOf, retryAfterOf, verdictOf } from './rules.ts';

const failed = { outcome: 'failed', retryAfterMs: null } as const;
const below1 = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const now = Date.parse('2026-11-23T12:00:00Z');

describe('the schedule', () => {
  test('is ten attempts over about 75 hours: at once, then after 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h', () => {
    const delays = Array.from({ length: 10 }, (_, tries) => verdictOf(failed, tries, 0.5)).map((verdict) =>
      verdict.state === 'pending' ? verdict.afterMs / 60_000 : verdict,
    );
    expect(delays).toEqual([1 / 12, 5, 30, 120, 300, 600, 840, 1200, 1440, { state: 'dead', reason: 'exhausted' }]);
    expect(deliveryRetryMs.reduce((sum, ms) => sum + ms, 0) / 3_600_000).toBeCloseTo(75.6, 1);
  });

  test('of a failure lies within a fifth of its delay', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8 }), below1, (tries, random) => {
        const verdict = verdictOf(failed, tries, random);
        const afterMs = verdict.state === 'pending' ? verdict.afterMs : Number.NaN;
        expect(Math.abs(afterMs - deliveryRetryMs[tries]!)).toBeLessThanOrEqual(deliveryRetryMs[tries]! * 0.2 + 1);
      }),
    );
  });

  test('ends after its ten attempts, whatever is asked for', () => {
    fc.assert(
      fc.property(fc.integer({ min: 9, max: 100 }), below1, fc.integer({ min: 0 }), (tries, random, retryAfterMs) => {
        expect(verdictOf({ ...failed, retryAfterMs }, tries, random)).toEqual({ state: 'dead', reason: 'exhausted' });
      }),
    );
  });

  test('gives way to a Retry-After that is longer, and only to that', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 8 }), below1, fc.integer({ min: 0 }), (tries, random, retryAfterMs) => {
        const without = verdictOf(failed, tries, random);
        const verdict = verdictOf({ ...failed, retryAfterMs }, tries, random);
        const afterMs = without.state === 'pending' ? without.afterMs : Number.NaN;
        expect(verdict).toEqual({ state: 'pending', afterMs: Math.max(afterMs, retryAfterMs) });
      }),
    );
  });
});

test('2xx is a success, 410 says that it is gone, and anything else is a failure, redirects among it', () => {
  for (let status = 100; status < 600; status++) {
    const expected = status >= 200 && status < 300 ? 'delivered' : status === 410 ? 'gone' : 'failed';
    expect(outcomeOf(status)).toBe(expected);
  }
});

describe('Retry-After', () => {
  test.each([
    ['120', 120_000],
    [' 0 ', 0],
    ['Mon, 23 Nov 2026 12:01:00 GMT', 60_000],
    ['Mon, 23 Nov 2026 11:00:00 GMT', 0],
    ['999999999', deliveryRetryAfterMsMax],
    ['Mon, 23 Nov 2099 12:00:00 GMT', deliveryRetryAfterMsMax],
    ['99999999999999999999', null],
    ['soon', null],
    ['', null],
  ])('"%s" means %s ms', (header, expected) => {
    expect(retryAfterOf(429, header, now)).toBe(expected);
  });

  test('counts where a receiver is overloaded, and nowhere else', () => {
    const counting = [200, 301, 400, 404, 429, 500, 501, 502, 503, 504].filter(
      (status) => retryAfterOf(status, '5', now) !== null,
    );
    expect(counting).toEqual([429, 502, 503, 504]);
  });

  test('is from nothing to a day, whatever it says', () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        const ms = retryAfterOf(503, header, now) ?? 0;
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThanOrEqual(deliveryRetryAfterMsMax);
      }),
    );
  });
});
