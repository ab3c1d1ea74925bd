import { newId } from '../../server/src/base/ids.ts';
import { columnList, columnsOf } from '../../server/src/budget/ledger-sql.ts';
import { ledgerRow } from '../../server/src/budget/ledger-row.ts';
import type { Attempt } from '../../server/src/budget/model.ts';
import { type DayTable, dropDays, ledgerDays, makeDays } from '../../server/src/budget/retention.ts';
import type { UsageFilter } from '../../server/src/budget/usage-store-filter.ts';
import type { Queryable } from '../../server/src/pg/tx.ts';
import type { Pool } from 'pg';
import { type TestDatabase, queryAsOwner } from './database.ts';
import { attempt, projectId } from './ledger.ts';

export const dayMs = 86_400_000;

/** Every attempt of the test's project. */
export const everything: UsageFilter = {
  projectId,
  agentId: null,
  keyId: null,
  runId: null,
  workflow: null,
  provider: null,
  model: null,
  outcome: null,
  from: null,
  to: null,
};

/** Noon of a day so many days from today (UTC). */
export function noon(daysFromToday: number): number {
  return (Math.floor(Date.now() / dayMs) + daysFromToday + 0.5) * dayMs;
}

export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** An attempt that was made then, unless said otherwise. */
export function attemptAt(ms: number, known: Partial<Attempt> = {}): Attempt {
  return attempt({ id: newId('att', ms), startedAt: ms, ...known });
}

/** Writes rows into the ledger as the lane does, in their order. */
export async function writeRows(db: Queryable, attempts: readonly Attempt[], heldUsd = 0n): Promise<void> {
  await db.query(
    `INSERT INTO attempts (${columnList}) SELECT ${columnsOf()} FROM json_populate_recordset(NULL::attempts, $1::json) r
     ON CONFLICT (id) WHERE corrects IS NULL DO NOTHING`,
    [JSON.stringify(attempts.map((each) => ledgerRow(each, heldUsd, [])))],
  );
}

/** Makes a day of the past, which no job would make. */
export async function makeDay(db: TestDatabase, day: string): Promise<void> {
  await queryAsOwner(db, 'SELECT ledger_add_day($1::date)', [day]);
}

const never = new AbortController().signal;

/** Makes and drops days of a table, as the job of a gate does. */
export async function keepDays(pool: Pool, table: DayTable, keptDays: number): Promise<void> {
  await makeDays(pool, table, never);
  await dropDays({ pool, patient: pool }, table, keptDays, never);
}

export function keepLedgerDays(pool: Pool, keptDays: number): Promise<void> {
  return keepDays(pool, ledgerDays, keptDays);
}

/** As if the rollups were always ahead: a day that is not in them is not dropped. */
export async function everythingCounted(db: TestDatabase): Promise<void> {
  await queryAsOwner(db, 'UPDATE rollup_watermarks SET tx_id = 9000000000000000000');
}

/** In which table each row of the project lies, by the attempt's id. */
export async function tablesOf(db: TestDatabase): Promise<Record<string, string>> {
  const rows = await queryAsOwner<{ id: string; table: string }>(
    db,
    'SELECT id, tableoid::regclass::text AS table FROM attempts',
  );
  return Object.fromEntries(rows.map(({ id, table }) => [id, table]));
}
