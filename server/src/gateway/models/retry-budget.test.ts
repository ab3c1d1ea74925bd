import fc from 'fast-check';
import { expect, test } from 'vitest';
import { retriesFloor, retriesFloorPerS, retriesPerCall, retriesSavedMax } from '../../base/limits.ts';
import { RetryBudget } from './retry-budget.ts';
import { ManualClock } from './testing/routes.ts';

const step = fc.record({ calls: fc.nat(100), retries: fc.nat(100), ms: fc.nat(10_000) });

test('retries are in proportion to calls, but for a few', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const clock = new ManualClock();
      const budget = new RetryBudget(clock);
      let calls = 0;
      let retries = 0;
      for (const each of steps) {
        clock.ms += each.ms;
        for (let left = each.calls; left > 0; left--, calls++) budget.deposit();
        for (let left = each.retries; left > 0; left--) if (budget.take()) retries++;
        const most = retriesFloor + calls * retriesPerCall + (clock.ms / 1000) * retriesFloorPerS;
        expect(retries).toBeLessThanOrEqual(most + 1e-6);
      }
    }),
  );
});

test('what is saved is bounded, and a route that is hardly used gets its few back in time', () => {
  const clock = new ManualClock();
  const budget = new RetryBudget(clock);
  const spend = () => {
    let spent = 0;
    while (budget.take()) spent++;
    return spent;
  };
  expect(spend()).toBe(retriesFloor);
  for (let i = 0; i < 100_000; i++) budget.deposit();
  expect(spend()).toBe(retriesSavedMax);
  clock.ms += 3_600_000;
  expect(spend()).toBe(retriesFloor);
});
