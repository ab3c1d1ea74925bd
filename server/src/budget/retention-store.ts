import type { Queryable, Tx } from '../pg/tx.ts';

/** What one day of the ledger holds. Days are those of ids, in UTC, as `2026-11-22`. */
export interface LedgerDay {
  readonly day: string;
  readonly rows: bigint;
  readonly costUsd: bigint;
}

/** What a day takes on disk, its indexes included. */
export interface LedgerDaySize {
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
 * @returns null when the day is not there, or its rows were written lately
 */
export async function dropLedgerDay(tx: Tx, day: string): Promise<LedgerDay | null> {
  const { rows } = await tx.query<LedgerDay>(
    'SELECT $1::text AS day, attempt_rows AS "rows", cost AS "costUsd" FROM ledger_drop_day($1::date)',
    [day],
  );
  return rows[0] ?? null;
}

/** The days that are there, oldest first, those made ahead included. */
export async function listLedgerDays(db: Queryable): Promise<LedgerDaySize[]> {
  const { rows } = await db.query<LedgerDaySize>(
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

/** What days hold, each read by itself. */
export async function sumLedgerDays(db: Queryable, days: readonly string[]): Promise<LedgerDay[]> {
  const { rows } = await db.query<LedgerDay>(
    `SELECT d.day, a.count AS "rows", a.cost AS "costUsd"
     FROM unnest($1::text[]) AS d (day) CROSS JOIN LATERAL (
       SELECT count(*), coalesce(sum(cost_nanousd), 0)::bigint AS cost FROM attempts
       WHERE id >= ledger_day_start(d.day::date) AND id < ledger_day_start(d.day::date + 1)) AS a
     ORDER BY d.day`,
    [days],
  );
  return rows;
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
