import { setTimeout as sleep } from 'node:timers/promises';
import type { Client, Pool } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, dayMs, noon, writeRows } from '../../../test/support/ledger-days.ts';
import { projectId, runId, seedProject } from '../../../test/support/ledger.ts';
import { rollupsAndRows } from '../../../test/support/rollup-oracle.ts';
import { systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { createClient, createPool } from '../pg/pool.ts';
import { rollUp, Rollups } from './rollups.ts';
import { rollupSources } from './rollup-store.ts';
import { summarize } from './summary.ts';

let db: TestDatabase;
let pool: Pool;
let observer: Client;
beforeEach(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  pool = createPool({ ...testBounds, max: 2, connectionString: db.appUrl, plansByKey: true });
  observer = createClient({ ...testBounds, connectionString: db.appUrl });
  await observer.connect();
});
afterEach(async () => {
  await Promise.all([pool.end(), observer.end()]);
  await db.drop();
});

const everything = { projectId, workflow: null, promptVersion: null, model: null, agentId: null };
const all = { rowsMax: 1000, seriesMax: 1000, restMs: 0 };
const unwatched = { onRows: () => undefined, onFolded: () => undefined };

/** Rolls up until nothing is left: other tests' transactions on the same server may hold it up. */
async function catchUp(options = all): Promise<void> {
  for (;;) {
    for (const source of rollupSources) await rollUp(pool, source, options);
    const { rollups, rows, ahead } = await rollupsAndRows(observer, projectId);
    expect(rollups).toEqual(rows);
    if (ahead === 0) return;
    await sleep(20);
  }
}

async function costOf(from: number, to: number, group: 'hour' | 'model' | null = null) {
  const summary = await summarize(db.pool, everything, { from, to }, group, 100);
  return { ...summary, cost: summary.totals.sums.cost_nanousd };
}

test('beside many writers two workers count each row once, at every moment', async () => {
  const ids: string[] = [];
  const written = new AbortController();
  const writer = async (nth: number) => {
    const client = await db.pool.connect();
    for (let batch = 0; batch < 25; batch += 1) {
      await client.query('BEGIN');
      for (let row = 0; row < 1 + (batch % 4); row += 1) {
        const at = Date.now() - (nth % 3) * 3_600_000;
        const known = attemptAt(at, {
          costUsd: BigInt(nth + batch),
          agentId: `agt_${nth % 2}`,
          totalMs: nth * 100 + row,
        });
        const late = batch % 3 === 0 ? ids.at(-1 - nth) : undefined;
        await writeRows(client, [
          known,
          ...(late ? [{ ...known, id: late, corrects: late, outcome: 'failed' as const }] : []),
        ]);
        if (batch % 5 !== 4) ids.push(known.id);
        await client.query(
          `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at)
           VALUES ($1, $2, 'agt', $3, 'note', 'info', '', now())`,
          [newId('evt'), projectId, runId],
        );
      }
      await sleep(nth * 3);
      await client.query(batch % 5 === 4 ? 'ROLLBACK' : 'COMMIT');
    }
    client.release();
  };
  const worker = async () => {
    while (!written.signal.aborted)
      for (const source of rollupSources) await rollUp(pool, source, { ...all, rowsMax: 20 });
  };
  const watch = async () => {
    for (; !written.signal.aborted; await sleep(30)) {
      const { rollups, rows } = await rollupsAndRows(observer, projectId);
      expect(rollups).toEqual(rows);
    }
  };
  const others = Promise.all([worker(), worker(), watch()]);
  await Promise.all([0, 1, 2, 3, 4, 5].map(writer)).finally(() => written.abort());
  await others;
  await catchUp();
});

test('rows of before transactions were numbered are rolled up first, however many slices that takes', async () => {
  await writeRows(
    db.pool,
    Array.from({ length: 23 }, () => attemptAt(Date.now(), { costUsd: 1n })),
  );
  await queryAsOwner(db, 'UPDATE attempts SET tx_id = 0');
  const step = await rollUp(pool, 'attempts', { ...all, rowsMax: 5 });
  expect(step).toMatchObject({ rows: 5, full: true });
  expect((await rollupsAndRows(observer, projectId)).ahead).toBe(18);
  await catchUp({ ...all, rowsMax: 5 });
});

test('a transaction that stays open holds them up and makes none of them wrong; the lag says so', async () => {
  const rollups = new Rollups(pool, systemClock, unwatched);
  const open = await db.pool.connect();
  await open.query('BEGIN');
  await writeRows(open, [attemptAt(Date.now(), { costUsd: 1n })]);
  await writeRows(db.pool, [attemptAt(Date.now(), { costUsd: 2n })]);
  const heldAt = Date.now();
  await sleep(1100);
  await rollups.catchUp();
  expect((await rollupsAndRows(observer, projectId)).ahead).toBe(1);
  expect(rollups.lagS).toBeGreaterThan(1);
  expect((await costOf(heldAt - 60_000, heldAt)).countedUntil).toBeLessThanOrEqual(heldAt);
  await open.query('COMMIT');
  open.release();
  await catchUp();
  await expect
    .poll(async () => {
      await rollUp(pool, 'attempts', all);
      await rollUp(pool, 'run_events', all);
      return (await costOf(heldAt - 60_000, heldAt)).countedUntil;
    })
    .toBeGreaterThan(heldAt + 1100);
  await sleep(1000);
  await rollups.catchUp();
  expect(rollups.lagS).toBeLessThan(10);
});

test('who comes shortly after another process, or while it works, does nothing', async () => {
  expect(await rollUp(pool, 'attempts', all)).not.toBeNull();
  expect(await rollUp(pool, 'attempts', { ...all, restMs: 60_000 })).toBeNull();
  await observer.query('BEGIN');
  await observer.query(`SELECT FROM rollup_watermarks WHERE source = 'attempts' FOR UPDATE`);
  expect(await rollUp(pool, 'attempts', all)).toBeNull();
  await observer.query('COMMIT');
  // A clock that was set back stops nobody.
  await db.pool.query(`UPDATE rollup_watermarks SET looked_at = now() + interval '1 day', moved_by = tx_number()`);
  expect(await rollUp(pool, 'attempts', { ...all, restMs: 60_000 })).not.toBeNull();
});

test('who comes shortly after another process does nothing, also while a transaction stays open', async () => {
  const open = await db.pool.connect();
  await open.query('BEGIN');
  await writeRows(open, [attemptAt(Date.now(), { costUsd: 1n })]);
  expect(await rollUp(pool, 'attempts', all)).not.toBeNull();
  await sleep(400);
  expect(await rollUp(pool, 'attempts', { ...all, restMs: 300 })).not.toBeNull();
  expect(await rollUp(pool, 'attempts', { ...all, restMs: 60_000 })).toBeNull();
  await sleep(400);
  expect(await rollUp(pool, 'attempts', { ...all, restMs: 300 })).not.toBeNull();
  expect(await rollUp(pool, 'attempts', { ...all, restMs: 300 })).toBeNull();
  await open.query('ROLLBACK');
  open.release();
});

test('what no provider was asked for has no model of its own', async () => {
  await writeRows(db.pool, [
    attemptAt(Date.now(), { outcome: 'refused', provider: 'claude', modelServed: 'made up' }),
    attemptAt(Date.now(), { outcome: 'budget', provider: 'claude', modelServed: 'made up too' }),
    attemptAt(Date.now(), { outcome: 'killed', provider: 'claude', modelServed: 'haiku', connectMs: 2 }),
  ]);
  await catchUp();
  const { rows } = await db.pool.query('SELECT model FROM rollup_series ORDER BY model');
  expect(rows).toEqual([{ model: '' }, { model: 'haiku' }]);
});

describe('what is too old', () => {
  test('goes, minutes before hours, and windows there are widened to what is left and say so', async () => {
    const times = [noon(-200) + 90_000, noon(-100) + 90_000, noon(-1) + 90_000];
    await writeRows(
      db.pool,
      times.map((at) => attemptAt(at, { costUsd: 7n })),
    );
    await catchUp();
    const rollups = new Rollups(pool, systemClock, unwatched);
    await rollups.purge();
    const rowsOf = async (table: string) =>
      (await db.pool.query<{ n: bigint }>(`SELECT count(*) AS n FROM ${table}`)).rows[0]?.n;
    expect(await Promise.all(['1m', '1h', '1d'].map((suffix) => rowsOf(`attempt_rollups_${suffix}`)))).toEqual([
      1n,
      2n,
      3n,
    ]);
    expect(await Promise.all(['1m', '1h', '1d'].map((suffix) => rowsOf(`attempt_latency_${suffix}`)))).toEqual([
      1n,
      2n,
      3n,
    ]);
    const [old, older, young] = await Promise.all(times.map((at) => costOf(at - 10_000, at + 10_000)));
    expect(old).toMatchObject({ cost: 7n, window: { from: noon(-200) - dayMs / 2, to: noon(-200) + dayMs / 2 } });
    expect(older).toMatchObject({ cost: 7n, window: { from: noon(-100), to: noon(-100) + 3_600_000 } });
    expect(young).toMatchObject({ cost: 7n, window: { from: noon(-1) + 60_000, to: noon(-1) + 120_000 } });
    await expect(costOf(noon(-200), noon(-199), 'hour')).rejects.toMatchObject({ code: 'invalid_argument' });
    // Late rows of a time that is gone are counted where it is not.
    await writeRows(db.pool, [attemptAt(times[0]!, { costUsd: 1n })]);
    await catchUpAll();
    expect((await costOf(times[0]!, times[0]! + 1)).cost).toBe(8n);
    expect(await rowsOf('attempt_rollups_1m')).toBe(1n);
    expect(await rowsOf('attempt_latency_1m')).toBe(1n);
  });

  test('is never written by minute: late rows, and corrections of them, are exact by hour and day', async () => {
    await new Rollups(pool, systemClock, unwatched).purge();
    const late = [0, 1, 2, 3].map((n) =>
      attemptAt(noon(-20 - (n % 2)) + n * 1000, { totalMs: 10 ** n, costUsd: 5n, agentId: `agt_${n}` }),
    );
    await writeRows(db.pool, late);
    await catchUpAll();
    const [first, , ...others] = late;
    await writeRows(db.pool, [
      ...late.map((row) => ({ ...row, corrects: row.id, totalMs: 7, costUsd: -1n })),
      { ...first!, corrects: first!.id, outcome: 'failed', costUsd: 0n },
      ...others.map((row) => ({ ...row, id: newId('att', row.startedAt) })),
    ]);
    const { rollups, rows } = await catchUpAll();
    const of = (told: Record<string, unknown>, minutes: boolean) =>
      Object.fromEntries(Object.entries(told).filter(([key]) => key.startsWith('1m ') === minutes));
    expect(of(rollups, false)).toEqual(of(rows, false));
    expect(of(rollups, true)).toEqual({});
    expect(of(rows, true)).not.toEqual({});
    const { rows: minutes } = await db.pool.query(
      'SELECT FROM attempt_rollups_1m UNION ALL SELECT FROM attempt_latency_1m',
    );
    expect(minutes).toEqual([]);
  });

  /** Minutes and hours that are gone are not compared. */
  async function catchUpAll(): ReturnType<typeof rollupsAndRows> {
    for (;;) {
      await rollUp(pool, 'attempts', all);
      const compared = await rollupsAndRows(observer, projectId);
      if (compared.ahead === 0) return compared;
      await sleep(20);
    }
  }
});
