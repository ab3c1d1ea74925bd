import { expect, test } from 'vitest';
import { sparkline } from './sparkline.ts';

test('amounts are bars by their size, nothing is a dot', () => {
  expect(sparkline([0, 1, 2, 4, 8])).toBe('·▁▂▄█');
  expect(sparkline([0, 0])).toBe('··');
  expect(sparkline([])).toBe('');
  expect(sparkline([0.001, 1000])).toBe('▁█');
});

test('more than fit are added up with their neighbours, and none is lost', () => {
  const line = sparkline(
    Array.from({ length: 90 }, (_, n) => (n === 89 ? 5 : 0)),
    60,
  );
  expect(line).toBe(`${'·'.repeat(44)}█`);
  expect(
    sparkline(
      Array.from({ length: 61 }, () => 1),
      60,
    ),
  ).toHaveLength(31);
});
