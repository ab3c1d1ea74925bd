import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Step, World, step } from './testing/world.ts';

test('in thousands of orders limits hold, sums agree at every step, and no money is lost', () => {
  const play = (steps: readonly Step[]) => {
    const world = new World();
    for (const one of steps) {
      world.play(one);
      world.check();
    }
    world.finish();
    world.checkEnd();
  };
  const property = fc.property(fc.array(step, { minLength: 20, maxLength: 200 }), play);
  expect(() => fc.assert(property, { numRuns: 3_000 })).not.toThrow();
}, 120_000);

test('calls do get slices in such a play: it is no play about nothing', () => {
  let leased = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 60, maxLength: 80 }), (steps) => {
      const world = new World();
      for (const one of steps) world.play(one);
      leased += world.everyone.reduce((sum, { holds }) => sum + holds.length, 0);
    }),
    { numRuns: 200 },
  );
  expect(leased).toBeGreaterThan(50);
});
