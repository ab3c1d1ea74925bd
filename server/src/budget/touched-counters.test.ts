import { expect, test } from 'vitest';
import { touchedCountersMax } from '../base/limits.ts';
import { TouchedCounters } from './touched-counters.ts';

test('each counter is taken once, and then forgotten', () => {
  const touched = new TouchedCounters();
  for (const window of ['2026-11-22', '2026-11-23', '2026-11-22']) touched.note('bud_1', window);
  touched.note('bud_2', '2026-11-22');
  expect(touched.take()).toEqual({
    keys: [
      { budgetId: 'bud_1', windowKey: '2026-11-22' },
      { budgetId: 'bud_1', windowKey: '2026-11-23' },
      { budgetId: 'bud_2', windowKey: '2026-11-22' },
    ],
    overflowed: false,
  });
  expect(touched.take()).toEqual({ keys: [], overflowed: false });
});

test('more counters than can be kept are said to be more, until they are taken', () => {
  const touched = new TouchedCounters();
  for (let n = 0; n < touchedCountersMax; n++) touched.note(`bud_${n}`, 'lifetime');
  touched.note('bud_0', 'lifetime');
  const full = touched.take();
  expect(full.keys).toHaveLength(touchedCountersMax);
  expect(full.overflowed).toBe(false);

  for (let n = 0; n <= touchedCountersMax; n++) touched.note(`bud_${n}`, 'lifetime');
  expect(touched.take()).toMatchObject({ overflowed: true });
  touched.note('bud_0', 'lifetime');
  expect(touched.take()).toEqual({ keys: [{ budgetId: 'bud_0', windowKey: 'lifetime' }], overflowed: false });
});
