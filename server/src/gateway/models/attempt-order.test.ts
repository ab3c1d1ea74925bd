import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attemptMsMin, backoffBaseMs, backoffMsMax } from '../../base/limits.ts';
import { AttemptOrder } from './attempt-order.ts';
import { testRoute, testTarget } from './testing/routes.ts';

const deadlines = { connectMs: 1, firstByteMs: 1, idleMs: 1, totalMs: 60_000 };
const [a, b, c] = [testTarget({ deadlines }), testTarget({ deadlines }), testTarget({ deadlines })];
const names = new Map([
  [a, 'a'],
  [b, 'b'],
  [c, 'c'],
]);

/** Which targets are tried when all fail at once, and after which waits. */
function course(order: AttemptOrder): [name: string | undefined, waitMs: number][] {
  const steps: [string | undefined, number][] = [];
  for (let step = order.next(0); step !== null; step = order.next(0)) {
    steps.push([names.get(step.target), step.waitMs]);
    order.tried(step.target);
  }
  return steps;
}

describe('the order of attempts', () => {
  const route = testRoute({ targets: [a, b, c], attemptsMax: 5 });

  test('is the chosen target, the others as they are listed, and then all again after a pause', () => {
    expect(course(new AttemptOrder(route, b, () => 0.5))).toEqual([
      ['b', 0],
      ['a', 0],
      ['c', 0],
      ['b', backoffBaseMs / 2],
      ['a', backoffBaseMs / 2],
    ]);
  });

  test('is the chosen target alone where the route says so', () => {
    expect(course(new AttemptOrder({ ...route, onFailure: 'refuse', attemptsMax: 3 }, b, () => 1))).toEqual([
      ['b', 0],
      ['b', backoffBaseMs],
      ['b', backoffBaseMs * 2],
    ]);
  });

  test('prefers a target that did not ask for a rest, and keeps to the rest of the one that did', () => {
    const order = new AttemptOrder({ ...route, targets: [a, b] }, a, () => 0);
    for (const target of [a, b]) order.tried(target);
    order.rest(a, 20_000);
    expect(order.next(1_000)).toEqual({ target: b, waitMs: 0, again: true });
    order.drop(b);
    expect(order.next(1_000)).toEqual({ target: a, waitMs: 19_000, again: true });
    order.rest(a, 60_000);
    expect(order.next(1_000)).toBe(null);
  });

  test('ends with the time of the call', () => {
    const order = new AttemptOrder(route, a, () => 0);
    order.tried(a);
    expect(order.next(60_000 - attemptMsMin - 1)?.target).toBe(b);
    expect(order.next(60_000 - attemptMsMin)).toBe(null);
  });

  test('never makes more attempts than are allowed, waits longer than it may, or ends past the deadline', () => {
    const choice = fc.record({ random: fc.double({ min: 0, max: 0.999, noNaN: true }), tookMs: fc.nat(20_000) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10 }), fc.array(choice, { maxLength: 30 }), (attemptsMax, choices) => {
        let random = 0;
        const order = new AttemptOrder({ ...route, attemptsMax }, c, () => random);
        let elapsedMs = 0;
        let made = 0;
        const tries = new Map<unknown, number>();
        for (const each of choices) {
          ({ random } = each);
          const step = order.next(elapsedMs);
          if (step === null) break;
          const before = tries.get(step.target) ?? 0;
          expect(step.again).toBe(before > 0);
          expect(step.waitMs).toBeLessThanOrEqual(before === 0 ? 0 : backoffMsMax);
          elapsedMs += step.waitMs;
          expect(elapsedMs).toBeLessThan(deadlines.totalMs);
          tries.set(step.target, before + 1);
          order.tried(step.target);
          made++;
          elapsedMs += each.tookMs;
        }
        expect(made).toBeLessThanOrEqual(attemptsMax);
        const counts = [...tries.values()];
        expect(Math.max(0, ...counts) - Math.min(...counts, Math.max(0, ...counts))).toBeLessThanOrEqual(1);
      }),
    );
  });
});
