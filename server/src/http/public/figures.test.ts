import { expect, it } from 'vitest';
import { durationText, percentsText, percentText } from './figures.ts';

it.each([
  [0, 0, 0.35, '0 %', '0 to 35 %'],
  [0.57, 0.45, 0.69, '57 %', '45 to 69 %'],
  [1, 0.65, 1, '100 %', '65 to 100 %'],
])('writes a rate of %d as whole percents, of which floats make fractions', (rate, low, high, text, interval) => {
  expect([percentText(rate), percentsText(low, high)]).toEqual([text, interval]);
});

it.each([
  [0, '0 ms'],
  [850.4, '850 ms'],
  [999.5, '1.0 s'],
  [12_345, '12.3 s'],
  [59_949, '59.9 s'],
  [59_950, '1 min 0 s'],
  [250_000, '4 min 10 s'],
  [3_599_400, '59 min 59 s'],
  [3_599_500, '1 h 0 min'],
  [7_500_000, '2 h 5 min'],
  [100 * 3_600_000, '100 h 0 min'],
])('writes %d ms as %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});
