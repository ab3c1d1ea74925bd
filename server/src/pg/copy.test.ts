import type { Pool } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  createEmptyDatabase,
  createTestDatabase,
  queryAsOwner,
  testBounds,
  type TestDatabase,
} from '../../../test/support/database.ts';
import { attemptAt, noon, tablesOf, writeRows } from '../../../test/support/ledger-days.ts';
import { openGate } from '../../../test/support/ledger.ts';
import { writeRow } from '../../../test/support/telemetry-days.ts';
import { digests, endGates, fillDatabase, raw, rolledUp, rollUpAll } from '../../../test/support/whole-database.ts';
import { copyDatabase, type CopyProgress } from './copy.ts';
import { readTables, rewrittenColumns } from './copy-tables.ts';
import { createPool } from './pool.ts';

let source: TestDatabase;
let target: TestDatabase;
let sourceOwner: Pool;
let targetOwner: Pool;

beforeAll(async () => {
  source = await createTestDatabase();
  sourceOwner = createPool({ ...testBounds, connectionString: source.ownerUrl });
  await fillDatabase(source);
});
afterAll(async () => {
  await sourceOwner.end();
  await source.drop();
});
beforeEach(async () => {
  target = await createTestDatabase();
  targetOwner = createPool({ ...testBounds, connectionString: target.ownerUrl });
});
afterEach(async () => {
  await targetOwner.end();
  await target.drop();
});

const copy = (onProgress: (progress: CopyProgress) => void = () => undefined) =>
  copyDatabase(source.appUrl, target.ownerUrl, onProgress);

describe('a database', () => {
  test('is copied row by row, each into its day, and its numbering goes on', async () => {
    const told: CopyProgress[] = [];
    await copy((progress) => told.push(progress));
    expect(await digests(targetOwner)).toEqual(await digests(sourceOwner));
    expect(await tablesOf(target)).toEqual(await tablesOf(source));
    expect(told.find(({ table }) => table === 'attempts')).toMatchObject({ rows: 5, bytes: expect.any(Number) });
    const lastOf = async (db: TestDatabase) => queryAsOwner(db, 'SELECT max(row_no)::int AS last FROM attempts');
    const [before] = await lastOf(target);
    await writeRows(target.pool, [attemptAt(noon(0))]);
    expect(Number((await lastOf(target))[0]?.['last'])).toBe(Number(before?.['last']) + 1);
  });

  test('is rolled up to what its rows come to: nothing twice, nothing missed', async () => {
    await copy();
    expect(await rolledUp(targetOwner)).toEqual(await rolledUp(sourceOwner));
    expect(await rolledUp(targetOwner)).not.toEqual(await raw(targetOwner));
    const pool = createPool({ ...testBounds, max: 1, connectionString: target.appUrl });
    await rollUpAll(pool);
    expect(await rolledUp(pool)).toEqual(await raw(pool));
    await writeRows(pool, [attemptAt(noon(0), { costUsd: 100n })]);
    await writeRow(pool, 'run_events', noon(0));
    await rollUpAll(pool);
    expect(await rolledUp(pool)).toEqual(await raw(pool));
    expect(await rolledUp(pool)).toMatchObject({ attempts: '5', cost: '159', events: '4' });
    await pool.end();
  });

  test('is not copied while a gate runs on it', async () => {
    const gate = await openGate(source.pool);
    await expect(copy()).rejects.toThrow(/A gate runs on the database to copy from \(ins_/);
    await gate.ledger.stop(1_000);
    await endGates(source);
  });

  test('keeps gates from starting while it is copied', async () => {
    let starting: Promise<unknown> = Promise.resolve();
    await copy(({ table }) => {
      if (table !== 'projects') return;
      starting = source.pool.query(`SET lock_timeout = '10s'; INSERT INTO instances (id) VALUES ('ins_late')`);
    });
    await starting;
    expect(await queryAsOwner(target, `SELECT FROM instances WHERE id = 'ins_late'`)).toEqual([]);
    await endGates(source);
  });

  test('is not copied over another one', async () => {
    await target.pool.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_mine', 'mine', 1)`);
    await expect(copy()).rejects.toThrow(/has data \(in projects\)/);
  });

  test('is not copied from or to another schema', async () => {
    await queryAsOwner(
      target,
      'DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)',
    );
    await expect(copy()).rejects.toThrow(/has schema \d+, this one \d+: migrate the older one/);
    const nothing = await createEmptyDatabase();
    await expect(copyDatabase(nothing.ownerUrl, target.ownerUrl, () => undefined)).rejects.toThrow(/holds no gate/);
    await nothing.drop();
  });

  test('that is cut off in the middle leaves nothing', async () => {
    const cut = copy(({ table }) => {
      if (table === 'attempts') throw new Error('cut off');
    });
    await expect(cut).rejects.toThrow('cut off');
    await expect(targetOwner.query('SELECT FROM projects')).resolves.toMatchObject({ rows: [] });
    await copy();
    expect(await digests(targetOwner)).toEqual(await digests(sourceOwner));
  });

  test('that arrives otherwise than it was sent is not kept', async () => {
    await onEachRowOf('benchmarks', `NEW.notes := 'other'; RETURN NEW;`);
    await expect(copy()).rejects.toThrow(/What arrived in benchmarks is not what was sent/);
    expect((await targetOwner.query('SELECT FROM projects')).rows).toEqual([]);
  });

  test.each([
    ['is cut off', 'PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NEW;', ''],
    ['refuses a row', `RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; RETURN NEW;`, 'the disk is full'],
  ])('whose copy ends since the new one %s is told so, and gates start again', async (_, body, reason) => {
    // More than the buffers between the two hold: the source still sends when the target is gone.
    const large = await createTestDatabase();
    await queryAsOwner(
      large,
      `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at)
       SELECT 'evt_' || lpad(n::text, 26, '0'), 'p', 'a', 'r', 's', 'info', repeat('x', 1000), now() FROM generate_series(1, 20000) n`,
    );
    await onEachRowOf('run_events', body);
    const cut = copyDatabase(large.appUrl, target.ownerUrl, () => undefined);
    await expect(cut).rejects.toThrow(`The copy of run_events broke off (${reason}`);
    await large.pool.query(`INSERT INTO instances (id) VALUES ('ins_next')`);
    await large.drop();
  });

  test('is copied however long it takes, whatever bounds its role and the new one have', async () => {
    for (const db of [source, target])
      for (const bound of ['statement_timeout', 'idle_in_transaction_session_timeout'])
        await queryAsOwner(db, `ALTER DATABASE ${nameOf(db)} SET ${bound} = '250ms'`);
    await onEachRowOf('projects', 'PERFORM pg_sleep(0.6); RETURN NEW;');
    await copy();
    for (const db of [source, target]) await queryAsOwner(db, `ALTER DATABASE ${nameOf(db)} RESET ALL`);
    expect(await digests(targetOwner)).toEqual(await digests(sourceOwner));
  });

  test('that was copied is told so, whatever becomes of the old one in that moment', async () => {
    await queryAsOwner(
      target,
      `CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
         PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '${nameOf(source)}' AND application_name = 'portcullis migrate';
         RETURN NULL; END$$;
       CREATE CONSTRAINT TRIGGER late AFTER INSERT ON projects DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()`,
    );
    await copy();
    expect(await digests(targetOwner)).toEqual(await digests(sourceOwner));
    const { rows } = await targetOwner.query(`SELECT reltuples FROM pg_class WHERE relname = 'projects'`);
    expect(rows).toEqual([{ reltuples: 1 }]);
  });

  test('is not copied while a gate that fell silent has connections to it, or when one wakes up meanwhile', async () => {
    const gate = await source.pool.connect();
    await gate.query(`SET application_name = 'portcullis background'`);
    await expect(copy()).rejects.toThrow(/A gate runs .* \(process \d+ of the database: portcullis background\)/);
    await gate.query(`SET application_name = 'asleep'`);
    const waking = copy(({ table }) => {
      if (table === 'projects') void gate.query(`SET application_name = 'portcullis'`);
    });
    await expect(waking).rejects.toThrow(/A gate runs .* portcullis\)/);
    expect((await targetOwner.query('SELECT FROM projects')).rows).toEqual([]);
    gate.release(true);
  });

  test('is not copied into itself, by whatever URL', async () => {
    await expect(copyDatabase(target.appUrl, target.ownerUrl, () => undefined)).rejects.toThrow(
      /copy from is the one to copy into/,
    );
  });

  test('is copied beside tables that are none of ours', async () => {
    await queryAsOwner(target, 'CREATE TABLE spatial_ref_sys (srid int); INSERT INTO spatial_ref_sys VALUES (1)');
    await copy();
    expect(await queryAsOwner(target, 'SELECT srid FROM spatial_ref_sys')).toEqual([{ srid: 1 }]);
  });
});

/** What the target does to each row of a table on its way in. */
async function onEachRowOf(table: string, body: string): Promise<void> {
  await queryAsOwner(
    target,
    `CREATE FUNCTION on_its_way() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN ${body} END$$;
     CREATE TRIGGER on_its_way BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION on_its_way()`,
  );
}

function nameOf(db: TestDatabase): string {
  return new URL(db.ownerUrl).pathname.slice(1);
}

test('every column that tells a transaction of its own cluster is rewritten', async () => {
  const { rows } = await targetOwner.query<{ name: string }>(
    `SELECT a.attrelid::regclass || '.' || a.attname AS name FROM pg_attribute a
     JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
       AND (a.atttypid IN ('xid8'::regtype, 'xid'::regtype, 'pg_snapshot'::regtype) OR a.attname ~ 'tx_id|xid|snapshot'
         OR pg_get_expr(d.adbin, d.adrelid) ~ 'xact|tx_number')`,
  );
  const known = Object.keys(rewrittenColumns);
  expect(known).toEqual(expect.arrayContaining(rows.map(({ name }) => name)));
  const columns = (await readTables(targetOwner)).flatMap((table) =>
    table.columns.map((column) => `${table.name}.${column}`),
  );
  expect(columns).toEqual(expect.arrayContaining(known));
});
