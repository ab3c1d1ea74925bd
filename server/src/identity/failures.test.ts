import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../../test/support/identity.ts';
import { failureAddressesMax, failureDelayMaxS, failuresFree, failureWindowMs } from '../base/limits.ts';
import { FailedCredentials } from './failures.ts';

function setUp() {
  const clock = new ManualClock();
  return { clock, failures: new FailedCredentials(clock) };
}

/** Waits of `times` failures in a row, each as soon as it may come. */
function failInTurn({ clock, failures }: ReturnType<typeof setUp>, address: string, credential: string, times: number) {
  const waits: number[] = [];
  for (let i = 0; i < times; i++) {
    const wait = failures.count(address, credential);
    waits.push(wait / 1000);
    clock.advance(wait);
  }
  return waits;
}

describe('failed credentials', () => {
  it('cost nothing five times, then 2, 4, 8 … 300 seconds', () => {
    expect(failInTurn(setUp(), 'a', 'k', 16)).toEqual([0, 0, 0, 0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
  });

  it('that come during the wait are told what is left of it, and do not lengthen it', () => {
    const test = setUp();
    failInTurn(test, 'a', 'k', 5);
    expect(test.failures.count('a', 'k')).toBe(2000);
    test.clock.advance(500);
    for (let i = 0; i < 100; i++) expect(test.failures.count('a', 'k')).toBe(1500);
  });

  it('are free again when five do not fall into five minutes', () => {
    const test = setUp();
    for (let i = 0; i < 50; i++) {
      expect(test.failures.count('a', 'k')).toBe(0);
      test.clock.advance(failureWindowMs / 5);
    }
  });

  it('are forgiven five quiet minutes after the last wait', () => {
    const test = setUp();
    failInTurn(test, 'a', 'k', 8);
    test.clock.advance(failureWindowMs - 1);
    expect(test.failures.count('a', 'k')).toBe(16_000);
    test.clock.advance(16_000 + failureWindowMs);
    expect(failInTurn(test, 'a', 'k', 6)).toEqual([0, 0, 0, 0, 0, 2]);
  });

  it('make new credentials from the same address wait too, and no other address', () => {
    const test = setUp();
    for (let i = 0; i < 5; i++) expect(test.failures.count('a', `k${i}`)).toBe(0);
    expect(test.failures.count('a', 'k5')).toBe(2000);
    expect(test.failures.count('b', 'k0')).toBe(0);
  });

  it('of one credential in a loop stop counting against its address', () => {
    const test = setUp();
    failInTurn(test, 'a', 'stale', 14);
    // The loop went on for more than five minutes, in which the address was left alone.
    expect(test.failures.count('a', 'stale')).toBeGreaterThan(0);
    expect(test.failures.count('a', 'typing error')).toBe(0);
  });

  it('of very many credentials at one address are counted for the address alone', () => {
    const test = setUp();
    for (let i = 0; i < 1000; i++) test.clock.advance(test.failures.count('a', `k${i}`));
    expect(test.failures.count('a', 'k1000')).toBe(failureDelayMaxS * 1000);
    expect(test.failures.size).toBe(1);
  });

  it('fill a bounded store, in which nothing makes room before its time', () => {
    const test = setUp();
    failInTurn(test, 'first', 'k', 6);
    for (let i = 0; test.failures.size < failureAddressesMax; i++) test.failures.count(`flood ${i}`, 'k');
    expect(test.failures.count('new', 'k')).toBe(1000);
    expect(test.failures.count('first', 'k')).toBe(4000);
    expect(test.failures.size).toBe(failureAddressesMax);
    test.clock.advance(failureWindowMs + 4000);
    expect(test.failures.count('new', 'k')).toBe(0);
    expect(test.failures.size).toBe(1);
  });

  it('never cost more than 300 s, are never free more than five times in five minutes, and never touch other addresses', () => {
    const step = fc.record({
      waitMs: fc.oneof(fc.nat(3000), fc.nat(400_000)),
      address: fc.constantFrom('a', 'b'),
      credential: fc.constantFrom('k1', 'k2', 'k3'),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const both = setUp();
        const alone = setUp();
        const free: number[] = [];
        for (const { waitMs, address, credential } of steps) {
          both.clock.advance(waitMs);
          alone.clock.advance(waitMs);
          const wait = both.failures.count(address, credential);
          expect(wait).toBeGreaterThanOrEqual(0);
          expect(wait).toBeLessThanOrEqual(failureDelayMaxS * 1000);
          if (address !== 'a') continue;
          expect(alone.failures.count(address, credential)).toBe(wait);
          const now = both.clock.monotonic();
          if (wait === 0) free.push(now);
          expect(free.filter((at) => at > now - failureWindowMs).length).toBeLessThanOrEqual(failuresFree);
        }
      }),
      { numRuns: 300 },
    );
  });
});
