import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { isUnavailable, violates } from './errors.ts';
import { createPool } from './pool.ts';
import { inTransaction } from './tx.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

test('int8 is bigint, in arrays too, numeric stays text and timestamptz is a Date', async () => {
  const { rows } = await db.pool.query(
    `SELECT 9223372036854775807::int8 AS big, '{1,NULL,-2}'::int8[] AS bigs, '{}'::int8[] AS empty,
            1.10::numeric AS exact, now() AS at, 7 AS small`,
  );
  expect(rows[0]).toMatchObject({
    big: 9223372036854775807n,
    bigs: [1n, null, -2n],
    empty: [],
    exact: '1.10',
    small: 7,
  });
  expect(rows[0].at).toBeInstanceOf(Date);
});

test('a bigint and an array of them are parameters', async () => {
  const sent = [9223372036854775807n, -1n];
  const { rows } = await db.pool.query('SELECT $1::int8 AS one, $2::int8[] AS many', [sent[0], sent]);
  expect(rows[0]).toEqual({ one: sent[0], many: sent });
});

test('each connection carries the timeouts and the name', async () => {
  const pool = createPool({ ...testBounds, connectionString: db.appUrl, statementMs: 1234, lockMs: 567 });
  const { rows } = await pool.query(
    `SELECT current_setting('statement_timeout') AS statement, current_setting('lock_timeout') AS lock,
            current_setting('idle_in_transaction_session_timeout') AS idle, current_setting('application_name') AS name`,
  );
  await pool.end();
  expect(rows[0]).toEqual({ statement: '1234ms', lock: '567ms', idle: '1234ms', name: 'test' });
});

test('only where statements read by key, plans do not depend on statistics', async () => {
  const sql = `SELECT current_setting('enable_seqscan') AS scan, current_setting('plan_cache_mode') AS mode`;
  const pool = createPool({ ...testBounds, connectionString: db.appUrl, plansByKey: true });
  expect((await pool.query(sql)).rows).toEqual([{ scan: 'off', mode: 'force_generic_plan' }]);
  await pool.end();
  expect((await db.pool.query(sql)).rows).toEqual([{ scan: 'on', mode: 'auto' }]);
});

test('a statement over its time and a lock that is held are unavailability', async () => {
  const pool = createPool({ ...testBounds, connectionString: db.appUrl, statementMs: 100, lockMs: 50 });
  expect(isUnavailable(await failureOf(pool.query('SELECT pg_sleep(5)')))).toBe(true);
  await inTransaction(db.pool, async (tx) => {
    await tx.query('SELECT version FROM control_version FOR UPDATE');
    expect(isUnavailable(await failureOf(pool.query('SELECT version FROM control_version FOR UPDATE')))).toBe(true);
  });
  await pool.end();
});

test('a connection that ends while idle is reported, one that ends in a transaction fails it, and the pool goes on', async () => {
  const reported: Error[] = [];
  const pool = createPool({ ...testBounds, connectionString: db.ownerUrl, onError: (error) => reported.push(error) });
  const owner = createPool({ ...testBounds, connectionString: db.ownerUrl });
  const terminate = (pid: number) => owner.query('SELECT pg_terminate_backend($1, 5000)', [pid]);

  const idle = await pool.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  await terminate(idle.rows[0]!.pid);
  await expect.poll(() => reported.length, { timeout: 5_000 }).toBe(1);

  const failure = await failureOf(
    inTransaction(pool, async (tx) => {
      const busy = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
      await terminate(busy.rows[0]!.pid);
      await tx.query('SELECT 1');
    }),
  );
  expect(isUnavailable(failure)).toBe(true);
  await expect(pool.query('SELECT 1')).resolves.toMatchObject({ rowCount: 1 });
  await Promise.all([pool.end(), owner.end()]);
});

test.each([
  ['nothing listens on the port', 'postgres://nobody:x@127.0.0.1:1/x'],
  ['the socket is not there', 'postgres://nobody:x@%2Fnonexistent:5432/x'],
  ['the host has no address', 'postgres://nobody:x@host.invalid:5432/x'],
])('%s: unavailable', async (_title, connectionString) => {
  const pool = createPool({ ...testBounds, connectionString });
  expect(isUnavailable(await failureOf(pool.query('SELECT 1')))).toBe(true);
  await pool.end();
});

test('a wrong password and a missing database are unavailability too', async () => {
  for (const [part, value] of [
    ['password', 'wrong'],
    ['pathname', '/absent'],
  ] as const) {
    const url = new URL(db.appUrl);
    url[part] = value;
    const pool = createPool({ ...testBounds, connectionString: url.href });
    expect(isUnavailable(await failureOf(pool.query('SELECT 1')))).toBe(true);
    await pool.end();
  }
});

test('a full pool makes callers wait no longer than the bound', async () => {
  const pool = createPool({ ...testBounds, connectionString: db.appUrl, max: 1, connectMs: 50 });
  const held = await pool.connect();
  expect(isUnavailable(await failureOf(pool.query('SELECT 1')))).toBe(true);
  held.release();
  await pool.end();
});

test('a violation names its constraint and is not unavailability', async () => {
  const insert = (name: string) =>
    db.pool.query(`INSERT INTO projects (id, name, control_version) VALUES ($1, $2, 1)`, [`prj_${name}`, 'one']);
  await insert('a');
  const failure = await failureOf(insert('b'));
  expect(violates(failure, 'projects_name_key')).toBe(true);
  expect(violates(failure, 'projects_pkey')).toBe(false);
  expect(isUnavailable(failure)).toBe(false);
  expect(isUnavailable(await failureOf(db.pool.query('SELEKT')))).toBe(false);
});

test('what wraps an unavailable database is unavailable, and other errors are not', () => {
  const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  expect(isUnavailable(new Error('outer', { cause: away }))).toBe(true);
  expect(isUnavailable(new Error('outer'))).toBe(false);
  expect(isUnavailable('text')).toBe(false);
});
