import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { type Element, type ElementType, arrayParameter } from './array-parameter.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

async function back(type: ElementType, elements: readonly Element[]): Promise<unknown[]> {
  const { rows } = await db.pool.query<{ value: unknown }>(`SELECT unnest($1::${type}[]) AS value`, [
    arrayParameter(type, elements),
  ]);
  return rows.map(({ value }) => value);
}

// PostgreSQL keeps no NUL, and half a surrogate pair is no text.
const text = fc.string({ unit: 'grapheme' }).map((value) => value.replaceAll('\0', '').toWellFormed());

const kinds: readonly [ElementType, fc.Arbitrary<Element>][] = [
  ['text', text],
  ['bigint', fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })],
  ['double precision', fc.double({ noNaN: true })],
];

test.each(kinds)('the server reads %s as it was, whatever it is', async (type, kind) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(kind), { maxLength: 20 }), async (elements) => {
      expect(await back(type, elements)).toEqual(elements);
    }),
    { numRuns: 50 },
  );
});

test('json keeps its text', async () => {
  const elements = ['{"a": [1, "ä \\" \\\\ {}"]}', null, '[]'];
  const { rows } = await db.pool.query<{ value: string | null }>('SELECT unnest($1::json[])::text AS value', [
    arrayParameter('json', elements),
  ]);
  expect(rows.map(({ value }) => value)).toEqual(elements);
});
