import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nanoOf, parseDecimal } from './decimal.ts';

test('a decimal is read exactly, whatever its notation', () => {
  const cases: readonly (readonly [string, bigint])[] = [
    ['0', 0n],
    ['12', 12n * 10n ** 18n],
    ['0.06', 6n * 10n ** 16n],
    ['1.5e-7', 15n * 10n ** 10n],
    ['1E2', 100n * 10n ** 18n],
    ['0.8958740000000000', 895_874n * 10n ** 12n],
    ['0.000000000000000001', 1n],
    // Beyond 18 decimals: to the nearest.
    ['0.0000000000000000015', 2n],
    ['1e-30', 0n],
    // Nothing is nothing, however it is written.
    ['0e999', 0n],
    ['0E-400', 0n],
    ['0.000e+12345', 0n],
    ['-0', 0n],
    ['-0.00', 0n],
    ['-0e-7', 0n],
  ];
  for (const [text, atto] of cases) expect([text, parseDecimal(text)]).toEqual([text, atto]);
});

test('what is no plain number of a bill is none', () => {
  for (const text of [
    '',
    ' 1',
    '-1',
    '+1',
    '.5',
    '1.',
    '1e999',
    '-1e-30',
    '-0.01',
    '-',
    '--0',
    '0e',
    'NaN',
    'Infinity',
    '1,000',
    '0x10',
    '$5',
    '9'.repeat(16),
    '1e',
    '٣',
  ])
    expect([text, parseDecimal(text)]).toEqual([text, null]);
});

test('every amount in nano-USD comes back from its decimal, and lines are rounded once, as a sum', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 10n ** 15n }), (nano) => {
      const text = `${nano / 10n ** 9n}.${(nano % 10n ** 9n).toString().padStart(9, '0')}`;
      expect(nanoOf(parseDecimal(text) ?? -1n)).toBe(nano);
    }),
  );
  const third = parseDecimal('0.0000000004') ?? 0n;
  expect(nanoOf(third)).toBe(0n);
  expect(nanoOf(third * 3n)).toBe(1n);
});
