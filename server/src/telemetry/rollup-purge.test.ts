import type { Pool } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, dayMs, noon, writeRows } from '../../../test/support/ledger-days.ts';
import { projectId, runId, seedProject } from '../../../test/support/ledger.ts';
import { costOf, readCosts } from '../../../test/support/statement-costs.ts';
import { systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { rollupHoursKeptDays, rollupMinutesKeptDays } from '../base/telemetry-limits.ts';
import { createPool } from '../pg/pool.ts';
import { deleteBefore, type PurgePlace } from './rollup-purge-store.ts';
import { Rollups } from './rollups.ts';

/** What is too old goes, beside what is counted. */

let db: TestDatabase;
let pool: Pool;
let rows: string[];
let rollups: Rollups;
beforeEach(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  pool = createPool({ ...testBounds, max: 1, connectionString: db.appUrl, plansByKey: true });
  rows = [];
  rollups = new Rollups(pool, systemClock, {
    onRows: (source, count) => void rows.push(`${count} ${source}`),
    onFolded: () => undefined,
  });
});
afterEach(async () => {
  await pool.end();
  await db.drop();
});

const midnight = (daysFromToday: number) => new Date(noon(daysFromToday) - dayMs / 2);

async function keptSince(): Promise<Date[]> {
  const { rows: kept } = await db.pool.query<{ since: Date }>('SELECT since FROM rollup_kept ORDER BY since DESC');
  return kept.map(({ since }) => since);
}

/** A sum of each minute before a time. */
async function fillMinutes(of: string, before: Date, minutes: number): Promise<void> {
  await queryAsOwner(
    db,
    `INSERT INTO event_rollups_1m SELECT $1, $2::timestamptz - n * interval '1 minute', 'info', 1 FROM generate_series(1, $3) AS n`,
    [of, before, minutes],
  );
}

async function minutesLeft(): Promise<number> {
  return (await db.pool.query('SELECT FROM event_rollups_1m')).rowCount ?? 0;
}

test('a clock that is ahead for a while costs a day at a time', async () => {
  await rollups.purge();
  expect(await keptSince()).toEqual([midnight(-rollupMinutesKeptDays), midnight(-rollupHoursKeptDays)]);
  const old = [midnight(-rollupMinutesKeptDays - 20), midnight(-rollupHoursKeptDays - 20)];
  await db.pool.query(`UPDATE rollup_kept SET since = since - interval '20 days'`);
  expect(await keptSince()).toEqual(old);
  await rollups.purge();
  expect(await keptSince()).toEqual(old.map((since) => new Date(since.getTime() + dayMs)));
  await db.pool.query(`UPDATE rollup_kept SET since = since + interval '60 days'`);
  const ahead = await keptSince();
  await rollups.purge();
  expect(await keptSince()).toEqual(ahead);
});

test('all that is too old of all projects is deleted, a batch at a time, and nothing else', async () => {
  const since = midnight(-rollupMinutesKeptDays);
  await db.pool.query(
    `INSERT INTO projects (id, name, control_version) SELECT 'prj_' || n, 'p' || n, 1 FROM generate_series(1, 9) AS n`,
  );
  for (const n of [1, 2, 5, 9]) await fillMinutes(`prj_${n}`, new Date(since.getTime() + 3 * 60_000), 10 * n);
  let batches = 0;
  for (let place: PurgePlace | null = { projectId: '', bucket: null }; place !== null; batches++) {
    place = await deleteBefore(pool, 'event_rollups_1m', since, place, 7);
  }
  expect(await minutesLeft()).toBe(4 * 3);
  expect(batches).toBeLessThanOrEqual(Math.ceil((10 + 20 + 50 + 90) / 7) + 1);
});

test('beside a snapshot that keeps what was deleted each batch costs what the first did', async () => {
  await fillMinutes(projectId, midnight(-20), 20_000);
  await queryAsOwner(db, 'VACUUM ANALYZE event_rollups_1m');
  const old = await db.pool.connect();
  await old.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await old.query('SELECT FROM event_rollups_1m LIMIT 1');
  const reader = await readCosts(db);
  const costs = createPool({ ...testBounds, max: 1, connectionString: reader.url });
  const pages: number[] = [];
  for (let place: PurgePlace | null = { projectId: '', bucket: null }; place !== null;) {
    reader.take();
    place = await deleteBefore(costs, 'event_rollups_1m', midnight(0), place, 1000);
    pages.push(costOf(reader.take()).pages);
  }
  await old.query('ROLLBACK');
  old.release();
  await costs.end();
  await reader.close();
  expect(await minutesLeft()).toBe(0);
  expect(pages.length).toBeGreaterThanOrEqual(20);
  for (const each of pages) expect(each).toBeLessThanOrEqual(1.1 * (pages[0] ?? 0));
});

test('a purge that fails keeps nobody from counting', async () => {
  await writeRows(db.pool, [attemptAt(Date.now(), { costUsd: 1n })]);
  await queryAsOwner(db, 'REVOKE DELETE ON attempt_rollups_1m FROM PUBLIC');
  const [{ role } = { role: '' }] = (await db.pool.query<{ role: string }>('SELECT current_user AS role')).rows;
  await queryAsOwner(db, `REVOKE DELETE ON attempt_rollups_1m FROM ${role}`);
  await expect(rollups.catchUp()).rejects.toThrow(/permission denied/);
  const counted = async () => {
    await rollups.catchUp();
    return rows;
  };
  await expect.poll(counted, { timeout: 30_000, interval: 1000 }).toEqual(['1 attempts']);
});

test('a source of which there is much leaves the other one and the purge their turns', async () => {
  await fillMinutes(projectId, midnight(-20), 10);
  const at = Date.now();
  await writeRows(
    db.pool,
    Array.from({ length: 6_500 }, () => attemptAt(at, { costUsd: 1n })),
  );
  await db.pool.query(
    `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at)
     VALUES ($1, $2, 'agt', $3, 'note', 'info', '', now())`,
    [newId('evt'), projectId, runId],
  );
  // Transactions of other tests on the same server may hold it up.
  const allEnded = async () => (await db.pool.query('SELECT tx_floor() > max(tx_id) AS ended FROM run_events')).rows;
  await expect.poll(allEnded, { timeout: 30_000, interval: 50 }).toEqual([{ ended: true }]);
  await rollups.catchUp();
  expect(rows).toEqual(['2000 attempts', '1 run_events', '2000 attempts', '2000 attempts', '500 attempts']);
  expect(await minutesLeft()).toBe(1);
});
