import fc from 'fast-check';
import { expect, test } from 'vitest';
import { idTime, leastId, newId } from './ids.ts';

const times = fc.integer({ min: 0, max: 2 ** 48 - 2 });

test('an identifier tells when it was made, and lies between the least ones of that millisecond and the next', () => {
  fc.assert(
    fc.property(times, (ms) => {
      const id = newId('att', ms);
      expect(idTime(id)).toBe(ms);
      expect(leastId('att', ms) <= id).toBe(true);
      expect(id < leastId('att', ms + 1)).toBe(true);
    }),
  );
});

test('times that no identifier can have are taken for the nearest one', () => {
  expect(leastId('att', -5)).toBe('att_0000000000');
  expect(leastId('att', 0.9)).toBe('att_0000000000');
  expect(leastId('att', 2 ** 60)).toBe(leastId('att', 2 ** 48 - 1));
});

test.each(['', 'att_1', 'run_test', `${newId('att')}0`, newId('att').toUpperCase(), `att_8${'0'.repeat(25)}`])(
  'tells nothing of what was not made here: %s',
  (id) => {
    expect(idTime(id)).toBeNull();
  },
);
