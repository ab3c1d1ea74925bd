import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createEmptyDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { appPrivileges } from './grants.ts';
import { migrate, readMigrations, schemaState } from './migrate.ts';
import { createPool } from './pool.ts';
import type { Pool } from 'pg';

let db: TestDatabase;
let owner: Pool;
let folder: URL;

beforeEach(async () => {
  db = await createEmptyDatabase();
  owner = createPool({ ...testBounds, connectionString: db.ownerUrl });
  folder = pathToFileURL(`${await mkdtemp(join(tmpdir(), 'portcullis-sql-'))}/`);
});
afterEach(async () => {
  await owner.end();
  await db.drop();
  await rm(folder, { recursive: true });
});

const put = (file: string, sql: string) => writeFile(new URL(file, folder), sql);
const versions = (applied: { version: number }[]) => applied.map(({ version }) => version);

test('an empty database reaches the expected version, and a second run finds nothing to do', async () => {
  const expected = (await readMigrations()).length;
  expect(await schemaState(owner)).toEqual({ current: 0, expected, upToDate: false });
  expect(await migrate(db.ownerUrl, { appRole: 'portcullis' })).toHaveLength(expected);
  expect(await migrate(db.ownerUrl, { appRole: 'portcullis' })).toEqual([]);
  expect(await schemaState(db.pool)).toEqual({ current: expected, expected, upToDate: true });
});

test('four migrators at once apply each file once', async () => {
  await put('000001_one.sql', 'CREATE TABLE one (id int); SELECT pg_sleep(0.1);');
  await put('000002_two.sql', 'CREATE TABLE two (id int);');
  await put('000003_three.sql', 'CREATE TABLE three (id int);');
  const runs = await Promise.all(Array.from({ length: 4 }, () => migrate(db.ownerUrl, { folder })));
  expect(versions(runs.flat()).sort((a, b) => a - b)).toEqual([1, 2, 3]);
});

test('four migrators at once agree on the real schema and its grants', async () => {
  const runs = await Promise.all(Array.from({ length: 4 }, () => migrate(db.ownerUrl, { appRole: 'portcullis' })));
  expect(runs.flat()).toHaveLength((await readMigrations()).length);
});

test('a file that fails leaves nothing of itself, keeps those before it, and is applied when it is mended', async () => {
  await put('000001_one.sql', 'CREATE TABLE one (id int);');
  await put('000002_two.sql', 'CREATE TABLE two (id int); SELECT 1/0;');
  await expect(migrate(db.ownerUrl, { folder })).rejects.toThrow(/000002_two was not applied.*division by zero/);
  const { rows } = await owner.query(`SELECT to_regclass('one')::text AS one, to_regclass('two')::text AS two`);
  expect(rows[0]).toEqual({ one: 'one', two: null });
  await put('000002_two.sql', 'CREATE TABLE two (id int);');
  expect(versions(await migrate(db.ownerUrl, { folder }))).toEqual([2]);
});

test('a file that changed after it was applied is refused; line endings do not count', async () => {
  await put('000001_one.sql', 'CREATE TABLE one (\nid int);');
  await migrate(db.ownerUrl, { folder });
  await put('000001_one.sql', 'CREATE TABLE one (\r\nid int);');
  expect(await migrate(db.ownerUrl, { folder })).toEqual([]);
  await put('000001_one.sql', 'CREATE TABLE one (id bigint);');
  await expect(migrate(db.ownerUrl, { folder })).rejects.toThrow(/000001_one.sql differs from what was applied/);
});

test('a database newer than the code is refused', async () => {
  await put('000001_one.sql', 'CREATE TABLE one (id int);');
  await put('000002_two.sql', 'CREATE TABLE two (id int);');
  await migrate(db.ownerUrl, { folder });
  await rm(new URL('000002_two.sql', folder));
  await expect(migrate(db.ownerUrl, { folder })).rejects.toThrow(/000002_two, newer than this release \(1\)/);
});

test('files must be numbered without gaps', async () => {
  await put('000001_one.sql', 'SELECT 1;');
  await put('000003_three.sql', 'SELECT 1;');
  await expect(migrate(db.ownerUrl, { folder })).rejects.toThrow(/000003_three.sql must be named 000002_name.sql/);
});

test('a server before 15 is refused with a sentence', async () => {
  // A schema searched before pg_catalog can say that it is an older server.
  await owner.query(`
    CREATE SCHEMA old;
    CREATE FUNCTION old.current_setting(name text) RETURNS text LANGUAGE sql
      RETURN CASE name WHEN 'server_version_num' THEN '140012' ELSE '14.12' END;
  `);
  const name = new URL(db.ownerUrl).pathname.slice(1);
  await owner.query(`ALTER DATABASE ${name} SET search_path = old, pg_catalog, public`);
  await expect(migrate(db.ownerUrl)).rejects.toThrow('This is PostgreSQL 14.12; Portcullis needs 15 or newer.');
});

test('a role that does not exist is refused with the statement that makes it', async () => {
  await expect(migrate(db.ownerUrl, { appRole: 'absent' })).rejects.toThrow(/CREATE ROLE "absent" LOGIN/);
});

test('the owner cannot be made the application role', async () => {
  await expect(migrate(db.ownerUrl, { appRole: 'portcullis_owner' })).rejects.toThrow(/owns the schema/);
});

test('every table has its privileges written down; only what is passing may be deleted', async () => {
  await migrate(db.ownerUrl, { appRole: 'portcullis' });
  const { rows } = await owner.query<{ name: string; granted: string }>(
    `SELECT c.relname AS name,
            (SELECT string_agg(p, ', ') FROM unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER','MAINTAIN']) p
             WHERE has_table_privilege('portcullis', c.oid, p)) AS granted
     FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition`,
  );
  expect(Object.fromEntries(rows.map((row) => [row.name, row.granted]))).toEqual(appPrivileges);
  const deletable = Object.keys(appPrivileges).filter((table) => /DELETE|TRUNCATE/.test(appPrivileges[table] ?? ''));
  expect(deletable).toEqual([
    'sessions',
    'device_codes',
    'signature_nonces',
    'kill_acknowledgements',
    'policy_records',
    'holds',
    'leases',
    'lease_flushes',
    'tasks',
    'notes',
    'attempt_rollups_1m',
    'attempt_rollups_1h',
    'attempt_latency_1m',
    'attempt_latency_1h',
    'event_rollups_1m',
    'event_rollups_1h',
    'public_steps',
    'public_durations',
    'idempotency_keys',
    'cache_entries',
    'cache_quarantine',
  ]);
});

test('a later migration takes back what an earlier grant gave', async () => {
  await migrate(db.ownerUrl, { appRole: 'portcullis' });
  await owner.query(
    `GRANT DELETE ON attempts TO portcullis; GRANT UPDATE ON attempts TO PUBLIC;
     GRANT EXECUTE ON FUNCTION ledger_drop_day(date) TO PUBLIC`,
  );
  await migrate(db.ownerUrl, { appRole: 'portcullis' });
  await expect(db.pool.query('DELETE FROM attempts')).rejects.toThrow(/permission denied/);
  await expect(db.pool.query('UPDATE attempts SET overrun = true')).rejects.toThrow(/permission denied/);
  const { rows } = await owner.query(
    `SELECT has_function_privilege('public', f, 'EXECUTE') AS anybody, has_function_privilege('portcullis', f, 'EXECUTE') AS app
     FROM unnest(ARRAY['ledger_add_days(int)', 'ledger_drop_day(date)']) AS f`,
  );
  expect(rows).toEqual([1, 2].map(() => ({ anybody: false, app: true })));
});

test.each([
  'UPDATE attempts SET cost_nanousd = 0',
  'DELETE FROM attempts',
  'TRUNCATE attempts',
  'UPDATE audit_entries SET actor_id = $$x$$',
  'DELETE FROM audit_entries',
  'TRUNCATE audit_entries',
  'DELETE FROM api_keys',
  'DELETE FROM budget_counters',
  'INSERT INTO control_version (version) VALUES (1)',
  'INSERT INTO schema_migrations (version, name, checksum) VALUES (99, $$x$$, $$x$$)',
  'CREATE TABLE mine (id int)',
  'CREATE TEMPORARY TABLE mine (id int)',
  'ALTER TABLE attempts DISABLE TRIGGER ALL',
  'DROP TABLE holds',
  'CREATE SCHEMA mine',
  'CREATE ROLE mine',
  'SET ROLE portcullis_owner',
])('the application role may not: %s', async (statement) => {
  await migrate(db.ownerUrl, { appRole: 'portcullis' });
  await expect(db.pool.query(statement)).rejects.toThrow(/permission denied|must be owner/);
});

test('the application role may append to the ledger and write control state', async () => {
  await migrate(db.ownerUrl, { appRole: 'portcullis' });
  await db.pool.query(
    `INSERT INTO attempts (id, request_id, project_id, dialect_in, streamed, tokens_input, tokens_output, tokens_cache_read,
       tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning, cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun)
     VALUES ('att_1', 'req_1', 'prj_1', 'chat', false, 0, 0, 0, 0, 0, 0, 0, 'measured', 'success', now(), 0, 0, false)`,
  );
  await db.pool.query(
    `INSERT INTO audit_entries (id, actor_kind, actor_id, action, target, payload_digest, salt) VALUES ('aud_1', 'system', 'x', 'x', 'x', '', '')`,
  );
  const { rows } = await db.pool.query('UPDATE control_version SET version = version + 1 RETURNING version');
  expect(rows).toEqual([{ version: 2n }]);
});
