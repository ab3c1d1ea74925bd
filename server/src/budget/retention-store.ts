import type { Queryable, Tx } from '../pg/tx.ts';

/** What one day of the ledger holds. */
export interface LedgerDay {
  readonly rows: bigint;
  readonly costUsd: bigint;
}

/** With why it stays whatever is kept, as the schema says it (`telemetry_day_stays`); null when it may go. */
export interface HeldLedgerDay extends LedgerDay {
  readonly stays: string | null;
}

/** What a day takes on disk, its indexes included. Days are those of ids, in UTC, as `2026-11-22`. */
export interface DaySize {
  readonly day: string;
  readonly bytes: bigint;
}

/** Makes the ledger's days from yesterday to so many ahead, and those that rows had to do without. @returns how many */
export async function addLedgerDays(db: Queryable, ahead: number): Promise<number> {
  const { rowCount } = await db.query('SELECT ledger_add_days($1)', [ahead]);
  return rowCount ?? 0;
}

/**
 * Drops a day. From the drop until the transaction ends, whoever reads or writes the ledger waits.
 * @returns null when the day is not there, stays, or another process drops days now
 */
export async function dropLedgerDay(tx: Tx, day: string): Promise<LedgerDay | null> {
  const { rows } = await tx.query<LedgerDay>(
    'SELECT attempt_rows AS "rows", cost AS "costUsd" FROM ledger_drop_day($1::date)',
    [day],
  );
  return rows[0] ?? null;
}

/** The days that are there, oldest first, those made ahead included. */
export async function listLedgerDays(db: Queryable): Promise<DaySize[]> {
  const { rows } = await db.query<DaySize>(
    `SELECT to_char(to_date(right(c.relname, 8), 'YYYYMMDD'), 'YYYY-MM-DD') AS day,
            coalesce(pg_total_relation_size(c.oid), 0) AS bytes
     FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'attempts'::regclass AND c.relname ~ '^attempts_[0-9]{8}$' ORDER BY 1`,
  );
  return rows;
}

/** The first day that is kept when `keptDays` are, by the database's clock: those before it ended so long ago. */
export async function firstKeptDay(db: Queryable, keptDays: number): Promise<string> {
  const { rows } = await db.query<{ day: string }>(
    `SELECT to_char((now() AT TIME ZONE 'UTC')::date - $1::int, 'YYYY-MM-DD') AS day`,
    [keptDays],
  );
  const [first] = rows;
  if (!first) throw new Error('the database did not tell the day');
  return first.day;
}

/** What a day holds, all of which is read, and whether it may go. */
export async function sumLedgerDay(db: Queryable, day: string): Promise<HeldLedgerDay> {
  const { rows } = await db.query<HeldLedgerDay>(
    `SELECT count(*) AS "rows", coalesce(sum(cost_nanousd), 0)::bigint AS "costUsd",
            telemetry_day_stays('attempts', max(recorded_at), max(tx_id)) AS stays
     FROM attempts WHERE id >= ledger_day_start($1::date) AND id < ledger_day_start($1::date + 1)`,
    [day],
  );
  const [held] = rows;
  if (!held) throw new Error('the database did not tell what a day holds');
  return held;
}

/**
 * Deletes holds that ended and whose time is over (decision 0014), `batchMax` at most; several may do so at once.
 * @returns how many
 */
export async function deleteEndedHolds(
  db: Queryable,
  kept: { readonly postedMs: number; readonly abandonedMs: number },
  batchMax: number,
): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM holds WHERE id = ANY (ARRAY(
       SELECT id FROM holds
       WHERE ended_at IS NOT NULL
         AND ended_at < now() - CASE state WHEN 'posted' THEN $1::float8 ELSE $2::float8 END * interval '1 millisecond'
       ORDER BY ended_at LIMIT $3 FOR UPDATE SKIP LOCKED))`,
    [kept.postedMs, kept.abandonedMs, batchMax],
  );
  return rowCount ?? 0;
}
