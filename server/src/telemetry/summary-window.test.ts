import fc from 'fast-check';
import { expect, test } from 'vitest';
import { resolutions } from './rollup-sql.ts';
import { bucketMs, piecesOf, wholeWindow } from './summary-window.ts';

const now = Date.UTC(2026, 10, 23, 12);
const ago = (days: number) => now - days * bucketMs.day;
const time = fc.oneof(
  fc.integer({ min: ago(400), max: now }),
  fc.integer({ min: ago(9), max: now }),
  fc.integer({ min: -bucketMs.day, max: bucketMs.day }),
);
const window = fc
  .tuple(time, fc.oneof(fc.integer({ min: 1, max: bucketMs.hour }), fc.integer({ min: 1, max: 300 * bucketMs.day })))
  .map(([from, length]) => ({ from, to: from + length }));
const midnight = (ms: number) => Math.floor(ms / bucketMs.day) * bucketMs.day;
const kept = fc.constantFrom(
  { minute: -Infinity, hour: -Infinity },
  { minute: midnight(ago(8)), hour: midnight(ago(180)) },
  { minute: midnight(ago(0)), hour: midnight(ago(8)) },
);

test('the pieces of a window are whole buckets that are kept, beside each other, and cover it', () => {
  fc.assert(
    fc.property(window, kept, fc.constantFrom(...resolutions), (asked, since, coarsest) => {
      const whole = wholeWindow(asked, since);
      expect(whole.from).toBeLessThanOrEqual(asked.from);
      expect(whole.to).toBeGreaterThanOrEqual(asked.to);
      expect(whole.from).toBeGreaterThan(asked.from - bucketMs.day);
      expect(whole.to).toBeLessThan(asked.to + bucketMs.day);
      const pieces = piecesOf(whole, coarsest);
      expect(pieces.map(({ from }) => from)).toEqual([whole.from, ...pieces.slice(0, -1).map(({ to }) => to)]);
      expect(pieces.at(-1)?.to).toBe(whole.to);
      expect(pieces.length).toBeLessThanOrEqual(5);
      for (const { resolution, from, to } of pieces) {
        expect(to).toBeGreaterThan(from);
        expect(Math.abs(from % bucketMs[resolution]) + Math.abs(to % bucketMs[resolution])).toBe(0);
        expect(resolutions.indexOf(resolution)).toBeLessThanOrEqual(resolutions.indexOf(coarsest));
        const first = coarsest === 'day' && resolution !== 'day' ? since[resolution] : -Infinity;
        expect(from).toBeGreaterThanOrEqual(first);
      }
    }),
    { numRuns: 2000 },
  );
});

test('a window of which all minutes are kept is not widened beyond whole ones', () => {
  const asked = { from: now - 90_001, to: now - 1 };
  expect(wholeWindow(asked, { minute: -Infinity, hour: -Infinity })).toEqual({ from: now - 120_000, to: now });
});
