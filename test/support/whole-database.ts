import { createPool } from '../../server/src/pg/pool.ts';
import { readTables, rewrittenColumns } from '../../server/src/pg/copy-tables.ts';
import type { Queryable } from '../../server/src/pg/tx.ts';
import { rollUp } from '../../server/src/telemetry/rollups.ts';
import { type TestDatabase, queryAsOwner, testBounds } from './database.ts';
import { attemptAt, dayOf, makeDay, noon, writeRows } from './ledger-days.ts';
import { makeBudget, openGate, reserve, seedProject, used } from './ledger.ts';
import { makeTelemetryDay, writeRow } from './telemetry-days.ts';
import type { Pool } from 'pg';

const step = { rowsMax: 1_000, seriesMax: 1_000, restMs: 0 };

/** Rolls up all that is there: what others do on the server may hold it up for a while. */
export async function rollUpAll(pool: Pool): Promise<void> {
  for (const source of ['attempts', 'run_events'] as const)
    do await rollUp(pool, source, step);
    while (await hasMore(pool, source));
}

async function hasMore(pool: Pool, source: 'attempts' | 'run_events'): Promise<boolean> {
  const rest = source === 'attempts' ? '(r.tx_id, r.row_no) > (w.tx_id, w.row_no)' : 'r.tx_id >= w.tx_id';
  const { rowCount } = await pool.query(
    `SELECT FROM ${source} r JOIN rollup_watermarks w ON w.source = $1 AND ${rest} LIMIT 1`,
    [source],
  );
  return rowCount === 1;
}

/** Two days of calls, corrections, events and benchmarks, with budgets and an audit log; half of it is rolled up. */
export async function fillDatabase(db: TestDatabase): Promise<void> {
  await seedProject(db.pool);
  await makeBudget(db.pool, { limit: 1_000n });
  const day = dayOf(noon(-3));
  await makeDay(db, day);
  await makeTelemetryDay(db, 'run_events', day);
  const old = attemptAt(noon(-3), { costUsd: 5n });
  await writeRows(db.pool, [old, attemptAt(noon(-3), { costUsd: 6n })]);
  for (const ms of [noon(-3), noon(0)]) {
    await writeRow(db.pool, 'run_events', ms);
    await writeRow(db.pool, 'benchmarks', ms);
  }
  const gate = await openGate(db.pool);
  const hold = await reserve(gate, { usd: 20n });
  await gate.ledger.settle(hold, used(hold, 11n));
  const pool = createPool({ ...testBounds, max: 1, connectionString: db.appUrl });
  await rollUpAll(pool);
  await pool.end();
  await writeRows(db.pool, [{ ...old, corrects: old.id, costUsd: -3n }, attemptAt(noon(0), { costUsd: 40n })]);
  await writeRow(db.pool, 'run_events', noon(-2));
  await gate.ledger.stop(1_000);
  await gate.instance.stop();
}

/** What each table holds, as a digest; without what a copy rewrites. */
export async function digests(db: Queryable): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const { name, columns } of await readTables(db)) {
    const told = columns.filter((column) => rewrittenColumns[`${name}.${column}`] === undefined).join(', ');
    const { rows } = await db.query<{ digest: string }>(
      `SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, ' ' ORDER BY t::text COLLATE "C")), '') AS digest
       FROM (SELECT ${told.replace(/\bwindow\b/, '"window"')} FROM ${name}) AS t`,
    );
    all[name] = rows[0]?.digest ?? '';
  }
  return all;
}

interface Totals {
  readonly attempts: string;
  readonly cost: string;
  readonly events: string;
}

export async function rolledUp(db: Queryable): Promise<Totals | undefined> {
  const { rows } = await db.query<Totals>(
    `SELECT sum(attempts)::text AS attempts, sum(cost_nanousd)::text AS cost,
            (SELECT sum(events)::text FROM event_rollups_1d) AS events FROM attempt_rollups_1d`,
  );
  return rows[0];
}

export async function raw(db: Queryable): Promise<Totals | undefined> {
  const { rows } = await db.query<Totals>(
    `SELECT count(*) FILTER (WHERE corrects IS NULL)::text AS attempts, sum(cost_nanousd)::text AS cost,
            (SELECT count(*)::text FROM run_events) AS events FROM attempts`,
  );
  return rows[0];
}

/** Ends what is still held open for a gate on this database. */
export async function endGates(db: TestDatabase): Promise<void> {
  await queryAsOwner(db, 'UPDATE instances SET stopped_at = now()');
}
