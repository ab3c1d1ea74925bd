import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createEmptyDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, dayOf, noon, tablesOf, writeRows } from '../../../test/support/ledger-days.ts';
import { migrate } from '../pg/migrate.ts';

const ledgerByDays = '000006_ledger_partitions.sql';
const sqlFolder = new URL('../../sql/', import.meta.url);

let db: TestDatabase;
let before: string;

beforeEach(async () => {
  db = await createEmptyDatabase();
  before = await mkdtemp(join(tmpdir(), 'portcullis-sql-'));
  for (const file of await readdir(sqlFolder))
    if (file < ledgerByDays) await copyFile(new URL(file, sqlFolder), join(before, file));
});
afterEach(async () => {
  await db.drop();
  await rm(before, { recursive: true });
});

const rowsOf = () => queryAsOwner(db, 'SELECT * FROM attempts ORDER BY row_no');

test('the rows of a ledger without days move into theirs as they are, and numbering goes on', async () => {
  // Privileges are given after the last file; those of this folder's tables, as a release before had them.
  await migrate(db.ownerUrl, { folder: pathToFileURL(`${before}/`) });
  await queryAsOwner(db, 'GRANT SELECT, INSERT ON attempts TO portcullis');
  const first = attemptAt(noon(-3), { costUsd: 100n });
  const correction = { ...first, costUsd: -60n, corrects: first.id };
  const others = [
    attemptAt(noon(-400)),
    attemptAt(noon(0)),
    attemptAt(noon(-3)),
    attemptAt(noon(0), { id: 'att_odd' }),
  ];
  // Our statement writes a column that a later file adds.
  await queryAsOwner(db, 'ALTER TABLE attempts ADD COLUMN attempt_no integer');
  await writeRows(db.pool, [first, ...others, correction], 7n);
  await queryAsOwner(db, 'ALTER TABLE attempts DROP COLUMN attempt_no');
  const written = await rowsOf();
  await migrate(db.ownerUrl);

  expect(await rowsOf()).toMatchObject(written);
  const tables = await tablesOf(db);
  const tableOf = (daysAgo: number) => `attempts_${dayOf(noon(-daysAgo)).replaceAll('-', '')}`;
  expect([first, ...others].map(({ id }) => tables[id])).toEqual([
    tableOf(3),
    tableOf(400),
    tableOf(0),
    tableOf(3),
    'attempts_default',
  ]);
  // Nobody was granted anything yet since: a replica of the release before writes on.
  await writeRows(db.pool, [first, attemptAt(noon(0))]);
  const [last] = await queryAsOwner(db, 'SELECT max(row_no)::int AS no, count(*)::int FROM attempts');
  expect(last).toMatchObject({ count: written.length + 1 });
  expect(Number(last?.['no'])).toBeGreaterThan(written.length);
  await expect(db.pool.query('SELECT FROM attempts_default')).rejects.toMatchObject({ code: '42501' });
});

test('an empty ledger has yesterday, today and what the first process needs', async () => {
  await migrate(db.ownerUrl, { appRole: 'portcullis' });
  const days = await queryAsOwner(
    db,
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'attempts'::regclass ORDER BY 1`,
  );
  expect(days.map(({ name }) => name)).toEqual([
    ...[-1, 0, 1, 2].map((nth) => `attempts_${dayOf(noon(nth)).replaceAll('-', '')}`),
    'attempts_default',
  ]);
});
