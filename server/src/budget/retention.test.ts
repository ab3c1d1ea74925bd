import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase, testBounds } from '../../../test/support/database.ts';
import { counters, makeBudget, openGate, reserve, seedProject, used } from '../../../test/support/ledger.ts';
import {
  attemptAt,
  dayMs,
  dayOf,
  everything,
  everythingCounted,
  keepLedgerDays,
  makeDay,
  noon,
  tablesOf,
  writeRows,
} from '../../../test/support/ledger-days.ts';
import { leastId, newId } from '../base/ids.ts';
import { holdAbandonedKeptMs, holdPostedKeptMs, ledgerDaysAhead } from '../base/limits.ts';
import { createPool } from '../pg/pool.ts';
import { previewRetention, purgeHolds } from './retention.ts';
import { addLedgerDays, listLedgerDays } from './retention-store.ts';
import { sumUsage } from './usage-store.ts';

let db: TestDatabase;

beforeEach(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  await everythingCounted(db);
  // As at the start of a process.
  await keepLedgerDays(db.pool, 90);
});
afterEach(() => db.drop());

const today = () => dayOf(Date.now());
const days = async () => (await listLedgerDays(db.pool)).map(({ day }) => day);
const costOf = async () =>
  (await sumUsage(db.pool, everything, 'day', 500)).reduce((sum, { costUsd }) => sum + costUsd, 0n);
const tableOf = (day: string) => `attempts_${day.replaceAll('-', '')}`;

/** A row that was written on its day, as rows of the past are: `recorded_at` fills itself. */
async function writePast(daysAgo: number, costUsd: bigint, writtenDaysAgo = daysAgo): Promise<string> {
  const row = attemptAt(noon(-daysAgo), { costUsd });
  await makeDay(db, dayOf(row.startedAt)).catch(() => undefined);
  await writeRows(db.pool, [row]);
  await queryAsOwner(db, 'UPDATE attempts SET recorded_at = $2 WHERE id = $1', [
    row.id,
    new Date(noon(-writtenDaysAgo)),
  ]);
  return row.id;
}

describe('the days of the ledger', () => {
  test('are those of ids, from yesterday to two weeks ahead', async () => {
    expect(await days()).toEqual(Array.from({ length: ledgerDaysAhead + 2 }, (_, nth) => dayOf(noon(nth - 1))));
    const midnight = Math.floor(noon(1) / dayMs) * dayMs;
    const rows = [midnight - 1, midnight, midnight + dayMs - 1, midnight + dayMs].map((ms) => attemptAt(ms));
    await writeRows(db.pool, rows);
    const tables = await tablesOf(db);
    expect(rows.map(({ id }) => tables[id])).toEqual([0, 1, 1, 2].map((nth) => tableOf(dayOf(noon(nth)))));
  });

  test('are told from ids by the database as they are told here', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: Date.parse('9999-12-31') }), { minLength: 50 }),
        async (times) => {
          const { rows } = await db.pool.query<{ day: string; start: string }>(
            `SELECT ledger_day_of(id)::text AS day, ledger_day_start(ledger_day_of(id)) AS start
           FROM unnest($1::text[]) WITH ORDINALITY AS i (id, nth) ORDER BY nth`,
            [times.map((ms) => newId('att', ms))],
          );
          const midnights = times.map((ms) => Math.floor(ms / dayMs) * dayMs);
          expect(rows).toEqual(midnights.map((ms) => ({ day: dayOf(ms), start: leastId('att', ms) })));
        },
      ),
      { numRuns: 10 },
    );
  });

  test('hold one row an attempt, and its corrections beside it', async () => {
    const first = attemptAt(noon(3), { costUsd: 100n });
    const correction = { ...first, costUsd: -60n, corrects: first.id };
    await writeRows(db.pool, [first]);
    await writeRows(db.pool, [first, correction]);
    await writeRows(db.pool, [correction]);
    expect(await costOf()).toBe(-20n);
    expect(Object.values(await tablesOf(db))).toEqual([tableOf(dayOf(noon(3)))]);
  });

  test('are made for rows that came without one, which move there; clocks of the future wait for theirs', async () => {
    const [lost, early, far] = [
      attemptAt(noon(-30), { costUsd: 1n }),
      attemptAt(1, { costUsd: 2n }),
      attemptAt(noon(400), { costUsd: 4n }),
    ];
    const foreign = attemptAt(noon(0), { id: 'att_1', costUsd: 8n });
    await writeRows(db.pool, [far, early, foreign, lost, { ...lost, corrects: lost.id, costUsd: 16n }]);
    expect(Object.values(await tablesOf(db))).toEqual(Array(4).fill('attempts_default'));
    for (const made of [1, 1, 0]) expect(await addLedgerDays(db.pool, 14)).toBe(made);
    expect(await tablesOf(db)).toEqual({
      [lost.id]: tableOf(dayOf(noon(-30))),
      [early.id]: 'attempts_19700101',
      [far.id]: 'attempts_default',
      att_1: 'attempts_default',
    });
    expect(await costOf()).toBe(31n);
    expect(await days()).toContain('1970-01-01');
  });

  test('are made one by one where rows came without them, newest first, and none is forgotten', async () => {
    const rows = Array.from({ length: 60 }, (_, nth) => attemptAt(noon(-10 - nth), { costUsd: 1n }));
    await writeRows(db.pool, rows);
    expect(await addLedgerDays(db.pool, 14)).toBe(1);
    expect((await days())[0]).toBe(dayOf(noon(-10)));
    await keepLedgerDays(db.pool, 0);
    expect(new Set(Object.values(await tablesOf(db))).size).toBe(60);
    expect(await costOf()).toBe(60n);
  });

  test('are made ahead whatever lies in the default partition: more rows than can be moved in time', async () => {
    const ahead = dayOf(noon(14));
    await queryAsOwner(db, `DROP TABLE ${tableOf(ahead)}`);
    await writeRows(db.pool, [attemptAt(noon(-30)), { ...attemptAt(noon(-31)), id: 'att_of_nobody' }]);
    await queryAsOwner(
      db,
      `CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(60); RETURN OLD; END$$;
       CREATE TRIGGER dawdle BEFORE DELETE ON attempts_default FOR EACH ROW EXECUTE FUNCTION dawdle()`,
    );
    const pool = createPool({ ...testBounds, statementMs: 1_000, connectionString: db.appUrl });
    await expect(keepLedgerDays(pool, 90)).rejects.toMatchObject({ code: '57014' });
    expect(await days()).toContain(ahead);
    await pool.end();
  });

  test('may be written to only through the ledger, whatever privileges new tables get', async () => {
    await queryAsOwner(db, `DROP TABLE ${tableOf(dayOf(noon(14)))}`);
    await queryAsOwner(
      db,
      `ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO portcullis;
       ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO PUBLIC`,
    );
    expect(await addLedgerDays(db.pool, 14)).toBe(1);
    const granted = await queryAsOwner(
      db,
      `SELECT p FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p
       WHERE has_table_privilege('portcullis', '${tableOf(dayOf(noon(14)))}', p)`,
    );
    expect(granted).toEqual([]);
  });

  test('can be made while rows come: none is refused, and none is left outside', async () => {
    await queryAsOwner(db, `DROP TABLE ${tableOf(today())}`);
    await writeRows(db.pool, [attemptAt(Date.now(), { costUsd: 1n })]);
    let made = false;
    const writers = Array.from({ length: 4 }, async () => {
      let written = 0n;
      // Ten more after the day was made.
      for (let after = 0; after < 10; after += made ? 1 : 0) {
        await writeRows(db.pool, [attemptAt(Date.now(), { costUsd: 1n })]);
        written += 1n;
      }
      return written;
    });
    // As the job does: what gave up waiting is called again.
    while (!made) made = (await addLedgerDays(db.pool, 14).catch(() => 0)) === 1;
    const written = (await Promise.all(writers)).reduce((sum, count) => sum + count, 1n);
    expect(await costOf()).toBe(written);
    expect(new Set(Object.values(await tablesOf(db)))).toEqual(new Set([tableOf(today())]));
  });
});

describe('a day that is over', () => {
  test('is dropped with an audit entry that says what it held; the others and the budgets stay as they are', async () => {
    const budget = await makeBudget(db.pool);
    const gate = await openGate(db.pool);
    await gate.ledger.settle(...(await settled(gate, 30n)));
    for (const [ago, cost] of [
      [95, 1n],
      [92, 2n],
      [91, 4n],
      [90, 8n],
      [60, 16n],
    ] as const)
      await writePast(ago, cost);
    await writePast(92, 32n);
    await keepLedgerDays(db.pool, 90);
    expect((await days()).slice(0, 2)).toEqual([dayOf(noon(-90)), dayOf(noon(-60))]);
    expect(await costOf()).toBe(54n);
    const audit = await queryAsOwner(
      db,
      `SELECT target, payload, actor_kind FROM audit_entries WHERE action = 'ledger.day_dropped' ORDER BY target`,
    );
    expect(audit).toEqual(
      (
        [
          [95, '1', '1'],
          [92, '2', '34'],
          [91, '1', '4'],
        ] as const
      ).map(([ago, rows, cost]) => ({
        target: dayOf(noon(-ago)),
        payload: { rows, cost_nanousd: cost },
        actor_kind: 'system',
      })),
    );
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 30n, held: 0n }]);
    await gate.ledger.settle(...(await settled(gate, 70n)));
    await expect(reserve(gate, { usd: 1n })).rejects.toMatchObject({ code: 'budget_exceeded' });
    await gate.ledger.stop(1_000);
  });

  test('stays where all days are kept', async () => {
    await writePast(4_000, 1n);
    await keepLedgerDays(db.pool, 0);
    expect(await costOf()).toBe(1n);
  });

  test('is told before, and nothing is changed by that', async () => {
    await writePast(30, 5n);
    await writePast(10, 3n);
    const { over, kept } = await previewRetention(db.pool, 20);
    expect(over).toMatchObject([{ day: dayOf(noon(-30)), rows: 1n, costUsd: 5n, stays: null }]);
    expect(over[0]?.bytes).toBeGreaterThan(0n);
    expect(kept[0]).toMatchObject({ day: dayOf(noon(-10)) });
    expect((await previewRetention(db.pool, 0)).over).toEqual([]);
    expect(await costOf()).toBe(8n);
  });

  test('is dropped once, by whichever of four processes comes first, and calls go on meanwhile', async () => {
    for (const ago of [91, 92, 93]) await writePast(ago, 1n);
    const gate = await openGate(db.pool);
    const pools = Array.from({ length: 4 }, () => createPool({ ...testBounds, connectionString: db.appUrl }));
    const calling = async () => {
      for (let call = 0; call < 50; call++) await gate.ledger.settle(...(await settled(gate, 1n)));
    };
    await Promise.all([calling(), ...pools.map((pool) => keepLedgerDays(pool, 90))]);
    await Promise.all([gate.ledger.stop(1_000), ...pools.map((pool) => pool.end())]);
    expect(await costOf()).toBe(50n);
    const audit = await queryAsOwner(
      db,
      `SELECT target FROM audit_entries WHERE action = 'ledger.day_dropped' ORDER BY 1`,
    );
    expect(audit.map(({ target }) => target)).toEqual([93, 92, 91].map((ago) => dayOf(noon(-ago))));
    expect(await days()).toHaveLength(ledgerDaysAhead + 2);
  });

  test('stays until all of it is in the sums that outlive it', async () => {
    await queryAsOwner(db, 'UPDATE rollup_watermarks SET tx_id = 0');
    await writePast(91, 7n);
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(7n);
    await everythingCounted(db);
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(0n);
  });

  test.each([
    ['not yet summed', 91, 'UPDATE rollup_watermarks SET tx_id = 0'],
    ['not yet summed', 91, 'DELETE FROM rollup_watermarks'],
    ['written lately', 1, 'SELECT'],
  ])('that stays because it is %s is told so', async (stays, writtenDaysAgo, change) => {
    await writePast(91, 7n, writtenDaysAgo);
    await queryAsOwner(db, change);
    expect((await previewRetention(db.pool, 90)).over).toMatchObject([{ rows: 1n, stays }]);
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(7n);
  });

  test('holds none of the others back when it cannot be dropped', async () => {
    for (const ago of [93, 92, 91]) await writePast(ago, 1n);
    // An owner's view, without which the table cannot be.
    await queryAsOwner(db, `CREATE VIEW mine AS SELECT * FROM ${tableOf(dayOf(noon(-93)))}`);
    await expect(keepLedgerDays(db.pool, 90)).rejects.toThrow(/could not be dropped: .*other objects depend on it/);
    expect((await days()).slice(0, 2)).toEqual([dayOf(noon(-93)), dayOf(noon(-1))]);
  });

  test('is counted once, and neither other days nor who makes days waits for that', async () => {
    for (const ago of [92, 91, 93]) await writePast(ago, 1n);
    const counting = await db.pool.connect();
    await counting.query('BEGIN');
    await counting.query(`SELECT pg_advisory_xact_lock(72184301, $1::date - date '2000-01-01')`, [dayOf(noon(-91))]);
    await addLedgerDays(db.pool, 14);
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(1n);
    await counting.query('COMMIT');
    counting.release();
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(0n);
  });

  test('stays while its rows are lately written: those of a clock that was absurd', async () => {
    await writePast(2_000, 7n, 1);
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(7n);
    // A posted hold can be corrected for a week, and its correction lies beside its row.
    await queryAsOwner(db, `UPDATE attempts SET recorded_at = now() - $1 * interval '1 ms' - interval '1 hour'`, [
      holdPostedKeptMs,
    ]);
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(7n);
    await queryAsOwner(db, `UPDATE attempts SET recorded_at = now() - interval '9 days'`);
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(0n);
  });

  test('goes also while two dashboards read a year of totals again and again, and calls go on meanwhile', async () => {
    for (let ago = 1; ago <= 95; ago++) await writePast(ago, 1n);
    const gate = await openGate(db.pool);
    const year = { ...everything, from: noon(-365) };
    const over = new AbortController();
    let [reads, calls] = [0, 0n];
    const reading = async () => {
      for (; !over.signal.aborted; reads++) await sumUsage(db.pool, year, 'day', 500);
    };
    const calling = async () => {
      for (; !over.signal.aborted; calls++) await gate.ledger.settle(...(await settled(gate, 1n)));
    };
    const others = Promise.all([reading(), reading(), calling()]);
    await keepLedgerDays(db.pool, 90).finally(() => over.abort());
    await others;
    expect((await days())[0]).toBe(dayOf(noon(-90)));
    expect(await costOf()).toBe(90n + calls);
    expect([reads > 0, calls > 0n]).toEqual([true, true]);
    await gate.ledger.stop(1_000);
  });

  // The drop then waits for the ledger, which inserts mind.
  test.each([
    ['all of it', ''],
    ['another day', noon(0)],
  ] as const)('stays while somebody reads the ledger (%s), and calls go on meanwhile', async (_, from) => {
    await writePast(91, 1n);
    const reader = await db.pool.connect();
    await reader.query('BEGIN');
    await reader.query('SELECT count(*) FROM attempts WHERE id >= $1', [from === '' ? '' : leastId('att', from)]);
    const gate = await openGate(db.pool);
    const dropping = db.pool.query('SELECT ledger_drop_day($1)', [dayOf(noon(-91))]);
    const outcome = dropping.catch((error: unknown) => error);
    for (let call = 0; call < 20; call++) await gate.ledger.settle(...(await settled(gate, 1n)));
    expect(await outcome).toMatchObject({ code: '55P03' });
    // The reader still reads, and everything that was written meanwhile is there.
    expect(await costOf()).toBe(21n);
    await reader.query('COMMIT');
    reader.release();
    await keepLedgerDays(db.pool, 90);
    expect(await costOf()).toBe(20n);
    await gate.ledger.stop(1_000);
  });
});

test('holds that ended are purged when nothing can ask for them any more; calls in flight never', async () => {
  const gate = await openGate(db.pool);
  const open = await reserve(gate, { usd: 1n });
  const insert = (id: string, state: string, endedAt: number) =>
    db.pool.query(
      `INSERT INTO holds (id, instance_id, state, budget_ids, window_keys, amounts, crash_row, deadline_at, ended_at)
       VALUES ($1, 'ins', $2, '{}', '{}', '{}', '{}', now(), $3)`,
      [id, state, new Date(endedAt)],
    );
  const minute = 60_000;
  await insert('posted old', 'posted', Date.now() - holdPostedKeptMs - minute);
  await insert('posted', 'posted', Date.now() - holdPostedKeptMs + minute);
  await insert('abandoned old', 'abandoned', Date.now() - holdAbandonedKeptMs - minute);
  await insert('abandoned', 'abandoned', Date.now() - holdAbandonedKeptMs + minute);
  // More than one batch.
  await db.pool.query(
    `INSERT INTO holds SELECT $1 || n, 'ins', 'abandoned', '{}', '{}', '{}', '{}', now(), now(), now() - interval '2 days'
     FROM generate_series(1, 2500) n`,
    [newId('att')],
  );
  await purgeHolds(db.pool);
  const left = await queryAsOwner<{ id: string }>(db, 'SELECT id FROM holds ORDER BY id');
  expect(left.map(({ id }) => id)).toEqual(['abandoned', open.id, 'posted']);
  await gate.ledger.stop(1_000);
});

async function settled(gate: Awaited<ReturnType<typeof openGate>>, usd: bigint) {
  const hold = await reserve(gate, { usd });
  return [hold, used(hold, usd)] as const;
}
