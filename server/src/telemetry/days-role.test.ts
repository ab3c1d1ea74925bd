import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import { dayOf, noon } from '../../../test/support/ledger-days.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

describe("the application's role", () => {
  test.each([
    'DELETE FROM run_events',
    'UPDATE benchmarks SET cost_nanousd = 0',
    'SELECT * FROM run_events_default',
    'DROP TABLE benchmarks_default',
    'DELETE FROM telemetry_dropped_days',
    'INSERT INTO telemetry_dropped_days SELECT * FROM telemetry_dropped_days',
    `SELECT telemetry_add_day('run_events', current_date - 30)`,
    `SELECT telemetry_missing_days('attempts', 14)`,
    `SELECT telemetry_add_missing_days('attempts', 14)`,
    `SELECT telemetry_measure('run_events', 'attempts')`,
    `SELECT telemetry_begin_drop('run_events', current_date - 30)`,
  ])('may not: %s', async (statement) => {
    await expect(db.pool.query(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test.each(['attempts', 'audit_entries', 'run_events; DROP TABLE runs', ''])(
    'cannot have days of %j made or dropped',
    async (table) => {
      for (const [call, argument] of [
        ['telemetry_add_days', '3'],
        ['telemetry_drop_day', '2020-01-01'],
      ])
        await expect(db.pool.query(`SELECT * FROM ${call}($1, $2)`, [table, argument])).rejects.toMatchObject({
          code: '22023',
          message: expect.stringContaining('does not lie in days'),
        });
    },
  );

  test.each([-1, 0, 1, 7])('can drop no day that ended less than a week ago: %i days ago', async (ago) => {
    const drop = db.pool.query('SELECT * FROM telemetry_drop_day($1, $2)', ['run_events', dayOf(noon(-ago))]);
    await expect(drop).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining('younger than a week'),
    });
  });

  test('can drop nothing else by the name of a day', async () => {
    await queryAsOwner(db, 'CREATE TABLE run_events_20200101 (id text)');
    expect((await db.pool.query(`SELECT * FROM telemetry_drop_day('run_events', '2020-01-01')`)).rows).toEqual([]);
    expect(await queryAsOwner(db, 'SELECT FROM run_events_20200101')).toEqual([]);
  });
});
