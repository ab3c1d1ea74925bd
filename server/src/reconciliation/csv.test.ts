import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BillBuilder } from './bill-builder.ts';
import { CsvBillReader } from './csv-bill.ts';
import { CsvReader } from './csv-reader.ts';

function records(pieces: readonly string[]) {
  const reader = new CsvReader('bill.csv');
  const found = pieces.flatMap((piece) => [...reader.push(piece)]);
  const last = reader.end();
  return last ? [...found, last] : found;
}

const quoted = (cell: string) => `"${cell.replaceAll('"', '""')}"`;

describe('CSV', () => {
  test('gives back every cell, however it is cut into pieces and whatever ends its lines', () => {
    const cell = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', 'é', '日', '=') });
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1 }),
        fc.constantFrom('\r\n', '\n', '\r'),
        fc.nat(9),
        (rows, end, size) => {
          const text = rows.map((row) => row.map(quoted).join(',')).join(end) + end;
          const pieces = Array.from({ length: Math.ceil(text.length / (size + 1)) }, (_, n) =>
            text.slice(n * (size + 1), (n + 1) * (size + 1)),
          );
          expect(records(pieces).map(({ cells }) => cells)).toEqual(rows);
        },
      ),
    );
  });

  test('knows the line that a record begins on', () => {
    expect(records(['a,b\r\n\r\n"1\n2",3\r\nx,"y"'])).toEqual([
      { line: 1, cells: ['a', 'b'] },
      { line: 3, cells: ['1\n2', '3'] },
      { line: 5, cells: ['x', 'y'] },
    ]);
  });

  test.each([
    ['a,"b', 'bill.csv, line 1 has a quote that nothing closes.'],
    ['a\n"b"c', 'bill.csv, line 2 has text after a closing quote.'],
    ['x'.repeat(3_000), 'bill.csv, line 1 has a cell of over 2000 characters.'],
    [','.repeat(200), 'bill.csv, line 1 has over 100 columns.'],
  ])('that is broken is refused by its line', (text, message) => {
    expect(() => records([text])).toThrow(message);
  });
});

function bill(text: string, provider: string | null = null) {
  const builder = new BillBuilder();
  const reader = new CsvBillReader({ at: 'bill.csv', provider, wanted: (day) => day < '2026-11-22' }, builder);
  reader.push(text);
  reader.end();
  return builder.bill();
}

describe('a bill in CSV', () => {
  test('has columns in any order, amounts or tokens or both, and tells no day in full', () => {
    const text = `\uFEFFModel,date,provider,amount,currency,output_tokens,input_tokens
gpt-4o,2026-11-18,gpt,1.25,USD,,
"claude, new",2026-11-18,claude,,,20,10
gpt-4o,2026-11-19,gpt,0.000000001,usd,2,1
gpt-4o,2026-11-30,gpt,9,USD,,
`;
    expect(bill(text)).toEqual({
      wholeDays: [],
      figures: [
        {
          provider: 'gpt',
          day: '2026-11-18',
          model: 'gpt-4o',
          costUsd: 1_250_000_000n,
          tokensInput: null,
          tokensOutput: null,
        },
        {
          provider: 'claude',
          day: '2026-11-18',
          model: 'claude, new',
          costUsd: null,
          tokensInput: 10n,
          tokensOutput: 20n,
        },
        { provider: 'gpt', day: '2026-11-19', model: 'gpt-4o', costUsd: 1n, tokensInput: 1n, tokensOutput: 2n },
      ],
    });
  });

  test('takes its provider from the command line where no column says it', () => {
    expect(bill('model,date,amount\nm,2026-11-18,1', 'claude').figures).toMatchObject([{ provider: 'claude' }]);
  });

  const head = 'provider,model,date,amount,currency,input_tokens,output_tokens\n';
  test.each([
    ['', 'bill.csv, line 1 is missing: the first line names columns (provider, model, date,'],
    ['provider,model,date,price\n', 'bill.csv, line 1 has the column "price": write provider,'],
    ['model,date,amount,model\n', 'bill.csv, line 1 names a column twice.'],
    ['model,date,amount\n', 'bill.csv, line 1 has no column "provider".'],
    [`${head}p,m,2026-11-18,1,USD,1\n`, 'bill.csv, line 2 has 6 cells, and the first line 7.'],
    [`${head}p,m,18.11.2026,1,USD,,\n`, 'bill.csv, line 2 has the date "18.11.2026": write it like 2026-11-22.'],
    [`${head}p,m,2026-02-30,1,USD,,\n`, 'bill.csv, line 2 has the date "2026-02-30"'],
    [`${head}p,m,2026-11-18,1,EUR,,\n`, 'bill.csv, line 2 is in EUR: only USD can be matched.'],
    [`${head}p,m,2026-11-18,-1,USD,,\n`, 'bill.csv, line 2: "-1" is negative'],
    [`${head}p,m,2026-11-18,NaN,USD,,\n`, 'bill.csv, line 2: "NaN" is not an amount.'],
    [`${head}p,m,2026-11-18,"1,000.00",USD,,\n`, 'bill.csv, line 2: "1,000.00" is not an amount.'],
    [`${head}p,m,2026-11-18,=1+1,USD,,\n`, 'bill.csv, line 2: "=1+1" is not an amount.'],
    [`${head}p,m,2026-11-18,,,1.5,0\n`, 'bill.csv, line 2: "1.5" is not a count of tokens.'],
    [`${head}p,m,2026-11-18,,,,\n`, 'bill.csv, line 2 has neither an amount nor tokens.'],
    [`${head}p,,2026-11-18,1,,,\n`, "a model's name has 1 to 200 characters"],
    [
      `${head}p,m,2026-11-18,1,,,\n\np,m,2026-11-18,2,,,\n`,
      'bill.csv, line 4 tells the same provider, model and date as line 2: keep one.',
    ],
  ])('that cannot be meant is refused by its line: %j', (text, message) => {
    expect(() => bill(text)).toThrow(message);
  });
});
