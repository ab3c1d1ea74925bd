import type { Queryable, Tx } from '../pg/tx.ts';
import { addAttemptsSql, addEventsSql, insertSeriesSql } from './rollup-sql.ts';

/** What is rolled up, by the name of its table. */
export const rollupSources = ['attempts', 'run_events'] as const;
export type RollupSource = (typeof rollupSources)[number];

/** A place in the order of transactions: all below it is counted, and nothing else (decision 0022). */
export interface Place {
  readonly txId: bigint;
  /** Within the transaction; 0 is none of it. */
  readonly rowNo: bigint;
}

/** Where the transactions stand, at one moment. */
export interface Horizon {
  /** All transactions with a lower number are committed or gone. */
  readonly floor: bigint;
  /** What is committed has a lower number. */
  readonly ceiling: bigint;
  /** By the database's clock: what was committed by then has a lower number than `ceiling`. */
  readonly readAt: Date;
}

const horizon = `tx_floor() AS floor, tx_ceiling() AS ceiling, statement_timestamp() AS "readAt"`;

/**
 * Locks a watermark until the transaction ends.
 * @returns null where another process has it, or had it less than `restMs` ago; `isOurs`: false where the row came from another
 * cluster, whose numbers of transactions mean nothing here
 */
export async function takeWatermark(
  tx: Tx,
  source: RollupSource,
  restMs: number,
): Promise<(Place & { readonly isOurs: boolean }) | null> {
  const { rows } = await tx.query<Place & { isOurs: boolean }>({
    name: 'take watermark',
    // What a transaction of this cluster wrote has its number, 32 bits of it, in `xmin`; what a dump brought has another.
    text: `SELECT tx_id AS "txId", row_no AS "rowNo",
       moved_by IS NULL OR moved_by % 4294967296 = xmin::text::bigint AS "isOurs"
     FROM rollup_watermarks
     WHERE source = $1 AND NOT (looked_at > now() - $2 * interval '1 millisecond' AND looked_at <= now())
     FOR UPDATE SKIP LOCKED`,
    values: [source, restMs],
  });
  return rows[0] ?? null;
}

/** Moves a watermark. `read_at` follows when all that was committed by the moment it is for has been counted. */
export async function moveWatermark(
  tx: Tx,
  source: RollupSource,
  to: Place,
  { ceiling, readAt }: Horizon,
): Promise<void> {
  await tx.query({
    name: 'move watermark',
    text: `UPDATE rollup_watermarks SET tx_id = $2::bigint, row_no = $3, moved_by = tx_number(), looked_at = now(),
       read_at = CASE WHEN $2 >= $4::bigint THEN $5::timestamptz WHEN $2 >= goal_tx_id THEN goal_at ELSE read_at END,
       goal_tx_id = CASE WHEN $2 >= goal_tx_id THEN $4 ELSE goal_tx_id END,
       goal_at = CASE WHEN $2 >= goal_tx_id THEN $5 ELSE goal_at END
     WHERE source = $1`,
    values: [source, to.txId, to.rowNo, ceiling, readAt],
  });
}

/** How long ago, in seconds, what is not counted yet may have been recorded, of the source that is furthest behind. */
export async function rollupLagS(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ lag: number }>(
    'SELECT extract(epoch FROM clock_timestamp() - min(read_at))::float8 AS lag FROM rollup_watermarks',
  );
  return rows[0]?.lag ?? 0;
}

/** Rows of the ledger that follow each other. */
export interface AttemptSlice extends Horizon {
  readonly taken: number;
  /** Its last row; null where it has none, as the next two. */
  readonly last: Place | null;
  readonly firstId: string | null;
  readonly lastId: string | null;
  /** Its attempts that may have rows before it: those that were corrected at any time. */
  readonly corrected: readonly string[];
}

/** The next rows of the ledger, `rowsMax` at most. */
export async function nextAttempts(tx: Tx, { txId, rowNo }: Place, rowsMax: number): Promise<AttemptSlice> {
  const { rows } = await tx.query<Omit<AttemptSlice, 'last'> & { lastTxId: bigint | null; lastRowNo: bigint | null }>({
    name: 'next attempts',
    text: `WITH slice AS MATERIALIZED (
       SELECT tx_id, row_no, id, corrects FROM attempts
       WHERE (tx_id, row_no) > ($1::bigint, $2::bigint) AND tx_id < tx_floor()
       ORDER BY tx_id, row_no LIMIT $3
     ), bounds AS MATERIALIZED (
       SELECT count(*)::int AS taken, min(id) AS "firstId", max(id) AS "lastId", max(tx_id) AS "lastTxId" FROM slice
     )
     SELECT b.*, (SELECT max(row_no) FROM slice WHERE tx_id = b."lastTxId") AS "lastRowNo", ${horizon},
       ARRAY(
         SELECT DISTINCT id FROM slice WHERE corrects IS NOT NULL OR id IN (
           SELECT id FROM attempts WHERE corrects IS NOT NULL
             AND id >= (SELECT "firstId" FROM bounds) AND id <= (SELECT "lastId" FROM bounds))
       ) AS corrected
     FROM bounds b`,
    values: [txId, rowNo, rowsMax],
  });
  const [row] = rows;
  if (!row) throw new Error('an aggregate gave no row');
  const { lastTxId, lastRowNo, ...slice } = row;
  return { ...slice, last: lastTxId === null || lastRowNo === null ? null : { txId: lastTxId, rowNo: lastRowNo } };
}

/** A project of which new models, or new workflows and versions, are not told apart from now on. */
export interface Folded {
  readonly projectId: string;
  readonly names: 'models' | 'workflows';
}

/**
 * Adds a slice that begins after `from` to the sums of attempts and of runs. A project has `seriesMax` series at most with the
 * name of a model, and as many without.
 */
export async function addAttempts(
  tx: Tx,
  from: Place,
  { last, firstId, lastId, corrected }: AttemptSlice,
  seriesMax: number,
): Promise<readonly Folded[]> {
  if (last === null) return [];
  const bounds = [from.txId, from.rowNo, last.txId, last.rowNo, firstId, lastId];
  const { rows } = await tx.query<Folded>({
    name: 'insert series',
    text: insertSeriesSql,
    values: [...bounds, seriesMax],
  });
  await tx.query({ name: 'add attempts', text: addAttemptsSql, values: [...bounds, corrected] });
  return rows;
}

/** Events of whole transactions, which are numbered before `end`. */
export interface EventSlice extends Horizon {
  readonly taken: number;
  readonly end: bigint;
}

/** The next events from a transaction on: `rowsMax`, and what else the last of their transactions wrote. */
export async function nextEvents(tx: Tx, from: bigint, rowsMax: number): Promise<EventSlice> {
  const { rows } = await tx.query<EventSlice>({
    name: 'next events',
    text: `SELECT taken, CASE WHEN taken < $2 THEN tx_floor() ELSE last + 1 END AS end, ${horizon}
     FROM (
       SELECT count(*)::int AS taken, max(tx_id) AS last
       FROM (SELECT tx_id FROM run_events WHERE tx_id >= $1 AND tx_id < tx_floor() ORDER BY tx_id LIMIT $2) AS slice
     ) AS bounds`,
    values: [from, rowsMax],
  });
  const [row] = rows;
  if (!row) throw new Error('an aggregate gave no row');
  return row;
}

/** Adds the events of the transactions from `from` on and before `end` to the sums of projects and of runs. */
export async function addEvents(tx: Tx, from: bigint, end: bigint): Promise<void> {
  await tx.query({ name: 'add events', text: addEventsSql, values: [from, end] });
}
