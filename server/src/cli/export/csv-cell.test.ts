import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CsvReader } from '../../reconciliation/csv-reader.ts';
import { csvLine, number, text, usd } from './csv-cell.ts';

/** The cells of one record, as a reader of CSV gets them. */
function cells(line: string): readonly string[] {
  const records = [...new CsvReader('line').push(line)];
  expect(records).toHaveLength(1);
  return records[0]!.cells;
}

test('any text comes back, and none of it begins a formula', () => {
  const unit = fc.constantFrom('=', '+', '-', '@', '\t', '\r', '\n', '"', "'", ',', 'a', '日', ' ');
  fc.assert(
    fc.property(fc.array(fc.string({ unit, minLength: 1 }), { minLength: 1 }), (texts) => {
      const read = cells(csvLine(texts.map((each) => text(each))));
      expect(read).toEqual(texts.map((each) => (/^[=+\-@\t\r\n]/.test(each) ? `'${each}` : each)));
    }),
  );
});

test('numbers stay numbers, amounts are exact, and what is absent is empty', () => {
  const amounts = [0n, 1n, -1n, 250_000_000n, 12_000_000_000n, -9_223_372_036_854_775_807n];
  expect(
    cells(csvLine([...amounts.map(usd), number(-5n), number(undefined), text(undefined), text(''), null])),
  ).toEqual(['0', '0.000000001', '-0.000000001', '0.25', '12', '-9223372036.854775807', '-5', '', '', '', '']);
});
