import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MalformedPrice, exactNumber } from './exact-number.ts';

test.each([
  [2.5e-6, 15, 2_500_000_000n],
  [0.000003, 15, 3_000_000_000n],
  [1.25e-7, 15, 125_000_000n],
  // What arithmetic on floats leaves behind.
  [0.1 * 3e-5, 15, 3_000_000_000n],
  [1.1, 9, 1_100_000_000n],
  [0, 15, 0n],
  [0.01, 9, 10_000_000n],
  // What is finer than what is counted rounds up: never less than was asked.
  [1.00000000001e-6, 15, 1_000_000_001n],
  [1e-20, 15, 1n],
])('%s times ten to the %s is %s', (value, digits, exact) => {
  expect(exactNumber('x', value, { digits, max: 2 })).toBe(exact);
});

test('every amount that has at most nine decimals a million comes out as it was written', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 14n }), (nano) => {
      expect(exactNumber('x', Number(`${nano}e-15`), { digits: 15, max: 1 })).toBe(nano);
    }),
  );
});

test.each([[-1], ['0.1'], [null], [NaN], [Infinity], [{}], [1e40], [0.02]])('%j is no amount', (value) => {
  const read = () => exactNumber('key', value, { digits: 15, max: 0.01 });
  expect(read).toThrow(MalformedPrice);
  expect(read).toThrow('key must be a number from 0 to 0.01');
});
