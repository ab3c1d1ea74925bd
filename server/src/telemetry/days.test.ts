import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase, testBounds } from '../../../test/support/database.ts';
import { dayMs, dayOf, everythingCounted, noon } from '../../../test/support/ledger-days.ts';
import { keepTelemetryDays, makeTelemetryDay, writeRow, writtenThen } from '../../../test/support/telemetry-days.ts';
import { type IdPrefix, leastId, newId } from '../base/ids.ts';
import { ledgerDaysAhead } from '../base/limits.ts';
import { dropDays } from '../budget/retention.ts';
import { isUnavailable } from '../pg/errors.ts';
import { createPool } from '../pg/pool.ts';
import { previewTelemetryRetention, telemetryDays } from './days.ts';
import { addDays, type DatedTable, listDays } from './days-store.ts';

const tables: readonly (readonly [DatedTable, IdPrefix])[] = [
  ['run_events', 'evt'],
  ['benchmarks', 'bmk'],
];
const kept = { run_events: 90, benchmarks: 90 };

let db: TestDatabase;
beforeEach(async () => {
  db = await createTestDatabase();
  await everythingCounted(db);
  await keepTelemetryDays(db.pool, kept);
});
afterEach(() => db.drop());

describe.each(tables)('the days of %s', (table, prefix) => {
  const days = async () => (await listDays(db.pool, table)).map(({ day }) => day);
  const idsOf = async () => (await db.pool.query<{ id: string }>(`SELECT id FROM ${table} ORDER BY id`)).rows;

  async function writePast(daysAgo: number): Promise<string> {
    await makeTelemetryDay(db, table, dayOf(noon(-daysAgo)));
    return writeRow(db.pool, table, noon(-daysAgo));
  }

  test('are those of ids, from yesterday to two weeks ahead', async () => {
    expect(await days()).toEqual(Array.from({ length: ledgerDaysAhead + 2 }, (_, nth) => dayOf(noon(nth - 1))));
    const midnight = Math.floor(noon(1) / dayMs) * dayMs;
    for (const ms of [midnight - 1, midnight, midnight + dayMs - 1, midnight + dayMs])
      await writeRow(db.pool, table, ms);
    const rows = await queryAsOwner(db, `SELECT tableoid::regclass::text AS name FROM ${table} ORDER BY id`);
    expect(rows).toEqual([0, 1, 1, 2].map((nth) => ({ name: tableOf(table, dayOf(noon(nth))) })));
  });

  test('are told from ids by the database as they are told here', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: Date.parse('9999-12-31') }), { minLength: 50 }),
        async (times) => {
          const { rows } = await db.pool.query(
            `SELECT telemetry_day_of(id)::text AS day, telemetry_day_start($2, telemetry_day_of(id)) AS start
             FROM unnest($1::text[]) WITH ORDINALITY AS i (id, nth) ORDER BY nth`,
            [times.map((ms) => newId(prefix, ms)), table],
          );
          const midnights = times.map((ms) => Math.floor(ms / dayMs) * dayMs);
          expect(rows).toEqual(midnights.map((ms) => ({ day: dayOf(ms), start: leastId(prefix, ms) })));
        },
      ),
      { numRuns: 10 },
    );
  });

  test('are made for rows that came without one, which move there; clocks of the future wait for theirs', async () => {
    for (const ms of [noon(-30), noon(-29), noon(40), Date.parse('2900-01-01')]) await writeRow(db.pool, table, ms);
    const before = await idsOf();
    for (const made of [1, 1, 0]) expect(await addDays(db.pool, table, ledgerDaysAhead)).toBe(made);
    expect(await idsOf()).toEqual(before);
    const lost = await queryAsOwner(db, `SELECT count(*)::int AS rows FROM ${table}_default`);
    expect(lost).toEqual([{ rows: 2 }]);
  });

  test('can be made while rows come: none is refused, and none is left outside', async () => {
    const stop = new AbortController();
    const ids: string[] = [];
    const writing = async (of: number) => {
      for (let ago = of; !stop.signal.aborted; ago += 4)
        ids.push(await writeRow(db.pool, table, noon(-2 - (ago % 25))));
    };
    const others = Promise.all([0, 1, 2, 3].map(writing));
    for (let made = 0, tries = 0; made < 25 && tries < 500; tries++)
      made += await addDays(db.pool, table, ledgerDaysAhead).catch((error: unknown) => {
        if (isUnavailable(error)) return 0;
        throw error;
      });
    stop.abort();
    await others;
    await addDays(db.pool, table, ledgerDaysAhead);
    expect(await idsOf()).toEqual(ids.toSorted().map((id) => ({ id })));
    expect(await queryAsOwner(db, `SELECT FROM ${table}_default`)).toEqual([]);
  });

  test('that are over go, told before, each with a trace and an entry in the audit log; the others stay', async () => {
    for (const ago of [93, 91, 90, 8]) await writePast(ago);
    await writtenThen(db, table);
    const preview = (await previewTelemetryRetention(db.pool, kept)).find((each) => each.table === table);
    expect(preview?.over).toMatchObject([93, 91].map((ago) => ({ day: dayOf(noon(-ago)), rows: 1n })));
    expect(preview?.over.every(({ bytes }) => bytes > 0n)).toBe(true);
    expect(preview?.kept[0]?.day).toBe(dayOf(noon(-90)));
    await keepTelemetryDays(db.pool, { run_events: 0, benchmarks: 0 });
    expect(await idsOf()).toHaveLength(4);
    await keepTelemetryDays(db.pool, kept);
    expect((await days())[0]).toBe(dayOf(noon(-90)));
    expect(await idsOf()).toHaveLength(2);
    const dropped = [93, 91].map((ago) => dayOf(noon(-ago)));
    expect(
      await queryAsOwner(
        db,
        `SELECT table_name, day::text, row_count, dropped_by FROM telemetry_dropped_days ORDER BY day`,
      ),
    ).toEqual(dropped.map((day) => ({ table_name: table, day, row_count: '1', dropped_by: 'portcullis' })));
    expect(
      await queryAsOwner(
        db,
        `SELECT target, payload FROM audit_entries WHERE action = 'telemetry.day_dropped' ORDER BY target`,
      ),
    ).toEqual(dropped.map((day) => ({ target: day, payload: { table, rows: '1' } })));
  });

  test('stay that were written lately', async () => {
    await writePast(91);
    await keepTelemetryDays(db.pool, kept);
    expect(await idsOf()).toHaveLength(1);
    await writtenThen(db, table);
    await keepTelemetryDays(db.pool, kept);
    expect(await idsOf()).toEqual([]);
  });

  test('are dropped once, by whichever of four processes comes first, and rows are written meanwhile', async () => {
    for (const ago of [91, 92, 93]) await writePast(ago);
    await writtenThen(db, table);
    const pools = Array.from({ length: 4 }, () => createPool({ ...testBounds, connectionString: db.appUrl }));
    const writing = async () => {
      for (let row = 0; row < 50; row++) await writeRow(db.pool, table, Date.now());
    };
    await Promise.all([writing(), ...pools.map((pool) => keepTelemetryDays(pool, kept))]);
    await Promise.all(pools.map((pool) => pool.end()));
    expect(await idsOf()).toHaveLength(50);
    const entries = await queryAsOwner(db, `SELECT FROM audit_entries WHERE action = 'telemetry.day_dropped'`);
    expect(entries).toHaveLength(3);
  });
});

test('a day whose rows came without one is found among 200,000 of them at once', async () => {
  await queryAsOwner(
    db,
    `INSERT INTO run_events_default (id, project_id, agent_id, run_id, type, level, message, occurred_at)
     SELECT $1 || lpad(n::text, 16, '0'), 'p', 'a', 'r', 's', 'info', '', now() FROM generate_series(1, 200000) n`,
    [leastId('evt', noon(-30))],
  );
  const [found] = await queryAsOwner(
    { ...db, ownerUrl: `${db.ownerUrl}&options=-c%20statement_timeout%3D1s` },
    `SELECT days::text[], has_rows FROM telemetry_missing_days('run_events', 14)`,
  );
  expect(found).toEqual({ days: [dayOf(noon(-30))], has_rows: true });
});

test('a day that is being counted stays, and holds nobody up, when the process ends', async () => {
  await makeTelemetryDay(db, 'benchmarks', dayOf(noon(-91)));
  await queryAsOwner(
    db,
    `ALTER FUNCTION telemetry_measure(text, regclass) RENAME TO measure;
     CREATE FUNCTION telemetry_measure(of text, day_table regclass, OUT row_count bigint, OUT written timestamptz, OUT last_tx bigint)
     LANGUAGE sql AS 'SELECT pg_sleep(600); SELECT * FROM public.measure(of, day_table)'`,
  );
  const ending = new AbortController();
  const patient = createPool({ ...testBounds, connectionString: db.appUrl, statementMs: 3_600_000 });
  const dropping = dropDays({ pool: db.pool, patient }, telemetryDays.benchmarks, 90, ending.signal);
  const counting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`;
  await expect.poll(async () => (await queryAsOwner(db, counting)).length, { timeout: 30_000 }).toBe(1);
  ending.abort();
  await dropping;
  await patient.end();
  expect((await listDays(db.pool, 'benchmarks'))[0]?.day).toBe(dayOf(noon(-91)));
});

test('a day of events stays until all of it is in the sums that outlive it', async () => {
  await makeTelemetryDay(db, 'run_events', dayOf(noon(-91)));
  await writeRow(db.pool, 'run_events', noon(-91));
  await writtenThen(db, 'run_events');
  await queryAsOwner(db, 'UPDATE rollup_watermarks SET tx_id = 0');
  const eventsLeft = async () => (await db.pool.query('SELECT FROM run_events')).rowCount;
  await keepTelemetryDays(db.pool, kept);
  expect(await eventsLeft()).toBe(1);
  await everythingCounted(db);
  await keepTelemetryDays(db.pool, kept);
  expect(await eventsLeft()).toBe(0);
});

function tableOf(table: DatedTable, day: string): string {
  return `${table}_${day.replaceAll('-', '')}`;
}
