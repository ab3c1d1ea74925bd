import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, dayOf, everythingCounted, makeDay, noon, writeRows } from '../../../test/support/ledger-days.ts';
import { listLedgerDays } from './retention-store.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

describe("the application's role", () => {
  test.each([
    'UPDATE attempts SET cost_nanousd = 0',
    'DELETE FROM attempts',
    'TRUNCATE attempts',
    'SELECT * FROM attempts_default',
    'INSERT INTO attempts_default OVERRIDING SYSTEM VALUE SELECT * FROM attempts',
    'DELETE FROM attempts_default',
    'DROP TABLE attempts_default',
    'ALTER TABLE attempts DETACH PARTITION attempts_default',
    'CREATE TABLE mine PARTITION OF attempts FOR VALUES FROM ($$att_x$$) TO ($$att_y$$)',
    'DELETE FROM ledger_dropped_days',
    'UPDATE ledger_dropped_days SET cost_nanousd = 0',
    'INSERT INTO ledger_dropped_days SELECT * FROM ledger_dropped_days',
    'SELECT ledger_add_day(current_date - 30)',
    'CREATE OR REPLACE FUNCTION ledger_drop_day(day date) RETURNS void LANGUAGE sql AS $$$$',
  ])('may not: %s', async (statement) => {
    await expect(db.pool.query(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test('has no right on any day by itself', async () => {
    const rows = await queryAsOwner(
      db,
      `SELECT i.inhrelid::regclass FROM pg_inherits i, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p
       WHERE i.inhparent = 'attempts'::regclass AND has_table_privilege('portcullis', i.inhrelid, p)`,
    );
    expect(rows).toEqual([]);
  });

  test.each([-1, 0, 1, 7])('can drop no day that ended less than a week ago: %i days ago', async (ago) => {
    const day = dayOf(noon(-ago));
    const drop = db.pool.query('SELECT * FROM ledger_drop_day($1)', [day]);
    await expect(drop).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining('younger than a week'),
    });
    expect((await listLedgerDays(db.pool)).some((made) => made.day === day)).toBe(ago < 2);
  });

  test('can drop no day without a trace that it cannot wipe out', async () => {
    const day = dayOf(noon(-60));
    await makeDay(db, day);
    await everythingCounted(db);
    const row = attemptAt(noon(-60), { costUsd: 7n });
    await writeRows(db.pool, [row]);
    await queryAsOwner(db, `UPDATE attempts SET recorded_at = now() - interval '60 days'`);
    await db.pool.query('SELECT ledger_drop_day($1)', [day]);
    expect(
      (await db.pool.query(`SELECT day::text, attempt_rows, cost_nanousd, dropped_by FROM ledger_dropped_days`)).rows,
    ).toEqual([{ day, attempt_rows: 1n, cost_nanousd: 7n, dropped_by: 'portcullis' }]);
  });

  test('can drop nothing else by that name, and nothing at a time that it makes up', async () => {
    await queryAsOwner(db, `CREATE TABLE attempts_20200101 (id text)`);
    expect((await db.pool.query(`SELECT * FROM ledger_drop_day('2020-01-01')`)).rows).toEqual([]);
    await expect(db.pool.query(`SELECT * FROM ledger_drop_day(NULL)`)).rejects.toMatchObject({ code: '22023' });
    const client = await db.pool.connect();
    await client.query(`SET TimeZone TO 'Pacific/Kiritimati'; SET search_path TO pg_temp, public`);
    const drop = client.query('SELECT * FROM public.ledger_drop_day($1)', [dayOf(noon(-7))]);
    await expect(drop).rejects.toMatchObject({ code: '22023' });
    client.release(true);
  });
});
