import type { DaySize } from '../budget/retention-store.ts';
import type { Queryable, Tx } from '../pg/tx.ts';

/** The tables besides the ledger that lie in days; the schema knows the same (`telemetry_prefix`). */
export type DatedTable = 'run_events' | 'benchmarks';

/** What a day holds. */
export interface DayRows {
  readonly rows: bigint;
}

/** With why it stays whatever is kept, as the schema says it (`telemetry_day_stays`); null when it may go. */
export interface HeldDay extends DayRows {
  readonly stays: string | null;
}

/** Makes the days from yesterday to so many ahead, and those that rows had to do without. @returns how many */
export async function addDays(db: Queryable, table: DatedTable, ahead: number): Promise<number> {
  const { rowCount } = await db.query('SELECT telemetry_add_days($1, $2)', [table, ahead]);
  return rowCount ?? 0;
}

/**
 * Drops a day. From the drop until the transaction ends, whoever reads or writes the table waits.
 * @returns null when the day is not there, stays, or another process drops days now
 */
export async function dropDay(tx: Tx, table: DatedTable, day: string): Promise<DayRows | null> {
  const { rows } = await tx.query<DayRows>('SELECT row_count AS "rows" FROM telemetry_drop_day($1, $2::date)', [
    table,
    day,
  ]);
  return rows[0] ?? null;
}

/** The days that are there, oldest first, those made ahead included. */
export async function listDays(db: Queryable, table: DatedTable): Promise<DaySize[]> {
  const { rows } = await db.query<DaySize>(
    `SELECT to_char(day, 'YYYY-MM-DD') AS day, bytes FROM telemetry_days($1) ORDER BY 1`,
    [table],
  );
  return rows;
}

/** What a day holds, all of which is read, and whether it may go. */
export async function countDay(db: Queryable, table: DatedTable, day: string): Promise<HeldDay> {
  const lastTx = table === 'run_events' ? 'max(tx_id)' : 'NULL';
  const { rows } = await db.query<HeldDay>(
    `SELECT count(*) AS "rows", telemetry_day_stays($1, max(recorded_at), ${lastTx}) AS stays FROM ${table}
     WHERE id >= telemetry_day_start($1, $2::date) AND id < telemetry_day_start($1, $2::date + 1)`,
    [table, day],
  );
  const [held] = rows;
  if (!held) throw new Error('the database did not tell what a day holds');
  return held;
}
