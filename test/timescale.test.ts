import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { idTime, leastId, newId } from '../server/src/base/ids.ts';
import { appPrivileges } from '../server/src/pg/grants.ts';
import { createPool } from '../server/src/pg/pool.ts';
import { previewTelemetryRetention } from '../server/src/telemetry/days.ts';
import { type DatedTable, listDays } from '../server/src/telemetry/days-store.ts';
import { runCommand } from './support/cli.ts';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from './support/database.ts';
import { secretsKey } from './support/gate.ts';
import { attemptAt, dayOf, everythingCounted, noon, writeRows } from './support/ledger-days.ts';
import { agentId, projectId, runId } from './support/ledger.ts';
import { keepTelemetryDays, writeRow } from './support/telemetry-days.ts';
import { TimescaleServer } from './support/timescale.ts';
import { digests, endGates, fillDatabase, raw, rolledUp, rollUpAll } from './support/whole-database.ts';

/** The layout for TimescaleDB (decision 0025), on a build of PostgreSQL to WebAssembly that carries the extension. */

const tables = ['run_events', 'benchmarks'] as const satisfies readonly DatedTable[];
const kept = { run_events: 90, benchmarks: 90 };

async function openTimescale(): Promise<TestDatabase> {
  return (await TimescaleServer.start()).database;
}

function migrateCommand(db: TestDatabase, flags: readonly string[], more: Readonly<Record<string, string>> = {}) {
  const urls = { DATABASE_URL: db.appUrl, MIGRATE_DATABASE_URL: db.ownerUrl, SECRETS_KEY: secretsKey };
  return runCommand(['migrate', ...flags], { environment: { ...urls, ...more } });
}

describe('a database of TimescaleDB', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await openTimescale();
  });
  afterAll(() => db.drop());

  const chunks = (table: DatedTable) =>
    queryAsOwner<{ chunk: string; day: string; loose: boolean }>(
      db,
      'SELECT chunk::text, day::text, loose FROM telemetry_chunks($1)',
      [table],
    );

  test('is laid out so from nothing, once; later migrations follow without being told', async () => {
    expect(await migrateCommand(db, ['--timescale'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/applied\.\n$/),
    });
    for (const flags of [[], ['--timescale']])
      expect(await migrateCommand(db, flags)).toMatchObject({ code: 0, stdout: 'The schema is up to date.\n' });
    expect((await db.pool.query('SELECT layout FROM schema_layout')).rows).toEqual([{ layout: 'timescale' }]);
    const hypertables = await queryAsOwner(
      db,
      'SELECT hypertable_name::text AS name, compression_enabled FROM timescaledb_information.hypertables ORDER BY 1',
    );
    expect(hypertables).toEqual(tables.toSorted().map((name) => ({ name, compression_enabled: true })));
    const jobs = await queryAsOwner(
      db,
      `SELECT config FROM timescaledb_information.jobs WHERE proc_name = 'telemetry_compress' ORDER BY job_id`,
    );
    expect(jobs.map(({ config }) => config)).toEqual([
      { table: 'run_events', after_days: 7 },
      { table: 'benchmarks', after_days: 14 },
    ]);
  });

  test("gives the application's role what it has in the other layout, and no more", async () => {
    const rows = await queryAsOwner<{ name: string; granted: string }>(
      db,
      `SELECT c.relname AS name,
         (SELECT string_agg(p, ', ') FROM unnest(ARRAY['SELECT','INSERT','UPDATE','DELETE','TRUNCATE','REFERENCES','TRIGGER','MAINTAIN']) p
          WHERE has_table_privilege('portcullis', c.oid, p)) AS granted
       FROM pg_class c
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition`,
    );
    expect(Object.fromEntries(rows.map((row) => [row.name, row.granted]))).toEqual(appPrivileges);
    for (const statement of [
      'DELETE FROM run_events',
      'DROP TABLE benchmarks',
      `SELECT drop_chunks('run_events', older_than => now())`,
      'CALL telemetry_compress(0, NULL)',
    ])
      await expect(db.pool.query(statement)).rejects.toMatchObject({ code: '42501' });
  });

  test('has the same indexes by the same names as a plain one', async () => {
    const plain = await createTestDatabase();
    const indexes = (of: TestDatabase) =>
      queryAsOwner(
        of,
        `SELECT c.relname AS name, regexp_replace(pg_get_indexdef(c.oid), ' ON (ONLY )?', ' ON ') AS definition
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid IN ('run_events'::regclass, 'benchmarks'::regclass) ORDER BY 1`,
      );
    expect(await indexes(db)).toEqual(await indexes(plain));
    await plain.drop();
  });

  test('knows the time of an id as it is told here, and leaves no id out of a range', async () => {
    const times = fc.integer({ min: 0, max: 2 ** 48 - 1 }).map((ms) => newId('evt', ms));
    const texts = fc.oneof(
      times,
      times.map((id) => id.slice(0, 9)),
      fc.string().map((text) => `evt_${text.replaceAll('\0', '')}`),
      fc.string().map((text) => text.replaceAll('\0', '')),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(texts, { minLength: 20, maxLength: 60 }), async (ids) => {
        const { rows } = await db.pool.query<{ id: string; ms: number }>(
          `SELECT id, extract(epoch FROM run_event_time(id))::float8 * 1000 AS ms
           FROM unnest($1::text[]) AS i (id) ORDER BY id COLLATE "C"`,
          [ids],
        );
        const told = rows.map(({ ms }) => ms);
        expect(told).toEqual(told.toSorted((one, other) => one - other));
        const made = rows.filter(({ id }) => id.startsWith('evt_') && idTime(id) !== null);
        expect(made.map(({ ms }) => Math.round(ms))).toEqual(made.map(({ id }) => idTime(id)));
      }),
      { numRuns: 30 },
    );
  });

  test('keeps one row an attempt and its corrections beside it, in partitions as everywhere', async () => {
    const first = attemptAt(noon(0), { costUsd: 100n });
    await writeRows(db.pool, [first]);
    await writeRows(db.pool, [first, { ...first, costUsd: -60n, corrects: first.id }]);
    const { rows } = await db.pool.query('SELECT cost_nanousd FROM attempts WHERE id = $1 ORDER BY row_no', [first.id]);
    expect(rows).toEqual([{ cost_nanousd: 100n }, { cost_nanousd: -60n }]);
  });

  test('makes chunks as rows come, and nobody has to make days', async () => {
    await keepTelemetryDays(db.pool, kept);
    for (const table of tables) {
      expect(await listDays(db.pool, table)).toEqual([]);
      for (const ago of [100, 92, 20, 8, 7, 0]) await writeRow(db.pool, table, noon(-ago));
      expect((await listDays(db.pool, table)).map(({ day }) => day)).toEqual(
        [100, 92, 20, 8, 7, 0].map((ago) => dayOf(noon(-ago))),
      );
    }
  });

  test('P1-03: on TimescaleDB events and benchmarks are compressed when they are old, with what came late, and read the same', async () => {
    const all = (table: DatedTable) => db.pool.query(`SELECT * FROM ${table} ORDER BY id`).then(({ rows }) => rows);
    const before = await Promise.all(tables.map(all));
    const { rows: jobs } = await asOwner(db, (pool) =>
      pool.query<{ job_id: number }>(
        `SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'telemetry_compress'`,
      ),
    );
    const compress = () =>
      asOwner(db, async (pool) => {
        for (const { job_id: job } of jobs) await pool.query(`CALL run_job(${job})`);
      });
    await compress();
    expect((await chunks('run_events')).map(({ loose }) => loose)).toEqual([false, false, false, false, true, true]);
    expect((await chunks('benchmarks')).map(({ loose }) => loose)).toEqual([false, false, false, true, true, true]);
    expect(await Promise.all(tables.map(all))).toEqual(before);

    // Told twice, and told late, into a day that is compressed.
    const [told] = before[0] ?? [];
    const tellAgain = (id: string) =>
      db.pool.query(
        `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at)
         VALUES ($1, $2, $3, $4, 'step', 'info', 'again', now()) ON CONFLICT DO NOTHING`,
        [id, projectId, agentId, runId],
      );
    expect(await tellAgain(String(told?.id))).toMatchObject({ rowCount: 0 });
    const late = leastId('evt', noon(-100)) + 'late'.padEnd(16, '0').replace('l', 'm');
    expect(await tellAgain(late)).toMatchObject({ rowCount: 1 });
    expect(await tellAgain(late)).toMatchObject({ rowCount: 0 });
    expect((await chunks('run_events'))[0]).toMatchObject({ loose: true });
    await compress();
    expect((await chunks('run_events'))[0]).toMatchObject({ loose: false });
    expect(await all('run_events')).toHaveLength((before[0]?.length ?? 0) + 1);
  });

  test('tells which days would go, and drops them with a trace and an audit entry when they are counted', async () => {
    const daysOf = async (table: DatedTable) => (await listDays(db.pool, table)).map(({ day }) => day);
    const over = [100, 92].map((ago) => dayOf(noon(-ago)));
    for (const table of tables) await queryAsOwner(db, `UPDATE ${table} SET recorded_at = now() - interval '50 days'`);
    const previews = await previewTelemetryRetention(db.pool, kept);
    expect(previews.map((preview) => preview.over.map(({ day }) => day))).toEqual([over, over]);
    expect(previews[0]?.over.map(({ rows }) => rows)).toEqual([2n, 1n]);
    expect(previews[0]?.over.every(({ bytes }) => bytes > 0n)).toBe(true);

    await keepTelemetryDays(db.pool, kept);
    expect((await daysOf('run_events')).slice(0, 2)).toEqual(over);
    await everythingCounted(db);
    await keepTelemetryDays(db.pool, kept);
    for (const table of tables) expect((await daysOf(table))[0]).toBe(dayOf(noon(-20)));
    const traces = await queryAsOwner(
      db,
      'SELECT table_name, day::text, row_count::int, dropped_by FROM telemetry_dropped_days ORDER BY 1 DESC, 2',
    );
    expect(traces).toEqual(
      tables.flatMap((table) =>
        over.map((day, nth) => ({
          table_name: table,
          day,
          row_count: table === 'run_events' && nth === 0 ? 2 : 1,
          dropped_by: 'portcullis',
        })),
      ),
    );
    const entries = await queryAsOwner(
      db,
      `SELECT target FROM audit_entries WHERE action = 'telemetry.day_dropped' ORDER BY payload ->> 'table' DESC, target`,
    );
    expect(entries.map(({ target }) => target)).toEqual([...over, ...over]);
  });

  test('that a dump brought is numbered anew by the next migration, however many rows of it are compressed', async () => {
    // One session for all: what is set here holds for the migration too. The default is 100,000 rows.
    await queryAsOwner(db, 'SET timescaledb.max_tuples_decompressed_per_dml_transaction = 1');
    for (let row = 0; row < 3; row++) await writeRow(db.pool, 'run_events', noon(-20));
    await queryAsOwner(db, 'UPDATE run_events SET tx_id = 8000000000000000000 WHERE id > $1', [
      leastId('evt', noon(-30)),
    ]);
    await queryAsOwner(db, `SELECT compress_chunk(chunk) FROM telemetry_chunks('run_events') WHERE loose`);
    const refused = queryAsOwner(db, 'UPDATE run_events SET level = level');
    await expect(refused).rejects.toThrow('tuple decompression limit exceeded');
    expect(await migrateCommand(db, [])).toMatchObject({ code: 0, stdout: 'The schema is up to date.\n' });
    expect(await queryAsOwner(db, 'SELECT DISTINCT tx_id::int FROM run_events')).toEqual([{ tx_id: 0 }]);
    await queryAsOwner(db, 'RESET timescaledb.max_tuples_decompressed_per_dml_transaction');
  });

  test.each([0, 7])('drops no day that ended less than a week ago: %i days ago', async (ago) => {
    const drop = db.pool.query('SELECT * FROM telemetry_drop_day($1, $2)', ['run_events', dayOf(noon(-ago))]);
    await expect(drop).rejects.toMatchObject({ code: '22023' });
  });
});

describe('what is summed', () => {
  test('comes to what the rows come to, as on plain PostgreSQL', async () => {
    const db = await openTimescale();
    await migrateCommand(db, ['--timescale']);
    await fillDatabase(db);
    const pool = createPool({ ...testBounds, max: 1, connectionString: db.appUrl });
    await rollUpAll(pool);
    expect(await rolledUp(pool)).toEqual(await raw(pool));
    expect(await rolledUp(pool)).toMatchObject({ attempts: '4', cost: '59', events: '3' });
    await pool.end();
    await db.drop();
  });

  test('is the same after a plain database was copied into one of TimescaleDB, and after the rest was added', async () => {
    const [plain, db] = [await createTestDatabase(), await openTimescale()];
    await fillDatabase(plain);
    await endGates(plain);
    const copied = await migrateCommand(db, ['--timescale', '--copy-from'], { COPY_FROM_DATABASE_URL: plain.appUrl });
    expect(copied.stderr).toBe('Configuration validation: ok\n');
    expect(copied).toMatchObject({ code: 0, stdout: expect.stringContaining('All of it was copied and checked.') });
    const owner = createPool({ ...testBounds, connectionString: plain.ownerUrl });
    expect(await asOwner(db, digests)).toEqual(await digests(owner));
    for (const each of [plain, db]) {
      const pool = createPool({ ...testBounds, max: 1, connectionString: each.appUrl });
      await rollUpAll(pool);
      expect(await rolledUp(pool)).toEqual({ attempts: '4', cost: '59', events: '3' });
      await pool.end();
    }
    await Promise.all([owner.end(), db.drop()]);
    await plain.drop();
  });
});

async function asOwner<T>(db: TestDatabase, work: (pool: ReturnType<typeof createPool>) => Promise<T>): Promise<T> {
  const pool = createPool({ ...testBounds, max: 1, connectionString: db.ownerUrl });
  try {
    return await work(pool);
  } finally {
    await pool.end();
  }
}
