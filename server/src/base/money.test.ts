import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PortcullisError } from './errors.ts';
import { formatUsd, maxAmount, nanoPerUsd, parseUsd } from './money.ts';

describe('parseUsd', () => {
  it.each([
    ['12', 12n * nanoPerUsd],
    ['0', 0n],
    ['0.25', 250_000_000n],
    ['$3.50', 3_500_000_000n],
    [' 1 ', nanoPerUsd],
    ['0.000000001', 1n],
    // As floats these two are not equal to the sum of their parts.
    ['0.1', 100_000_000n],
    ['0.3', 300_000_000n],
    ['9007199254.740993', 9_007_199_254_740_993_000n],
  ])('reads %s exactly', (text, amount) => {
    expect(parseUsd(text)).toBe(amount);
  });

  it.each(['', '-1', '+1', '1e3', '.5', '1.', '0.0000000001', '1,000', '0x10', '12345678901', 'NaN'])(
    'refuses "%s" with a sentence that quotes it',
    (text) => {
      expect(() => parseUsd(text)).toThrow(PortcullisError);
      expect(() => parseUsd(text)).toThrow(`"${text}"`);
    },
  );

  it('refuses what a bigint column cannot hold', () => {
    expect(parseUsd('9223372036.854775807')).toBe(maxAmount);
    expect(() => parseUsd('9223372036.854775808')).toThrow('more than this system can count');
  });
});

describe('formatUsd', () => {
  it.each([
    [0n, '$0.00'],
    [1n, '$0.000000001'],
    [18_000n, '$0.000018'],
    [250_000_000n, '$0.25'],
    [12n * nanoPerUsd, '$12.00'],
    [-1_500_000_000n, '-$1.50'],
  ])('writes %s as %s', (amount, text) => {
    expect(formatUsd(amount)).toBe(text);
  });

  it('is the inverse of parseUsd for every amount', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: maxAmount }), (amount) => {
        expect(parseUsd(formatUsd(amount))).toBe(amount);
      }),
    );
  });
});
