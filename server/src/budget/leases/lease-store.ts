import type { Queryable, Tx } from '../../pg/tx.ts';
import { columnList, columnsOf } from '../ledger-sql.ts';
import type { LedgerRow } from '../ledger-row.ts';
import type { CounterKey } from '../store.ts';
import type { LeasableCounter } from './rules.ts';

/** Takes the number of a flush. @returns false where that flush was committed before */
export async function takeFlushNo(tx: Tx, instanceId: string, no: bigint): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO lease_flushes (instance_id, flush_no) VALUES ($1, $2)
     ON CONFLICT (instance_id) DO UPDATE SET flush_no = $2 WHERE lease_flushes.flush_no < $2`,
    [instanceId, no],
  );
  return rowCount === 1;
}

/** What is left of slices, locked; those that were taken away are absent. */
export async function lockLeases(
  tx: Tx,
  instanceId: string,
  epochs: readonly bigint[],
): Promise<ReadonlyMap<bigint, bigint>> {
  const { rows } = await tx.query<{ epoch: bigint; granted: bigint }>(
    `SELECT epoch, granted FROM leases WHERE instance_id = $1 AND epoch = ANY ($2) ORDER BY epoch FOR UPDATE`,
    [instanceId, epochs],
  );
  return new Map(rows.map(({ epoch, granted }) => [epoch, granted]));
}

/** What of slices that were posted was not taken back yet. */
export async function sumPostings(
  tx: Tx,
  instanceId: string,
  epochs: readonly bigint[],
): Promise<ReadonlyMap<bigint, bigint>> {
  const { rows } = await tx.query<{ epoch: bigint; amount: bigint }>(
    `SELECT epoch, sum(amount)::bigint AS amount FROM lease_postings
     WHERE instance_id = $1 AND epoch = ANY ($2) GROUP BY epoch`,
    [instanceId, epochs],
  );
  return new Map(rows.map(({ epoch, amount }) => [epoch, amount]));
}

/** A counter under lock. A budget that was deleted leases nothing. */
export interface LockedCounter extends LeasableCounter, CounterKey {
  readonly projectId: string;
}

/** Locks counters in the one order in which everybody locks them. */
export async function lockCounters(tx: Tx, keys: readonly CounterKey[]): Promise<LockedCounter[]> {
  const { rows } = await tx.query<LockedCounter>(
    `SELECT c.budget_id AS "budgetId", c.window_key AS "windowKey", b.project_id AS "projectId", c.posted, c.held, c.leased,
            CASE WHEN b.deleted_at IS NULL THEN b.limit_amount END AS "limit"
     FROM unnest($1::text[], $2::text[]) AS k (budget_id, window_key)
     JOIN budget_counters c USING (budget_id, window_key)
     JOIN budgets b ON b.id = c.budget_id
     ORDER BY c.budget_id, c.window_key
     FOR UPDATE OF c`,
    [keys.map(({ budgetId }) => budgetId), keys.map(({ windowKey }) => windowKey)],
  );
  return rows;
}

/** What is added to counters. */
export interface CounterChange extends CounterKey {
  readonly posted: bigint;
  readonly held: bigint;
  readonly leased: bigint;
}

/** Several changes of one counter are added up. */
export async function changeCounters(tx: Tx, changes: readonly CounterChange[]): Promise<void> {
  await tx.query(
    `UPDATE budget_counters c SET posted = c.posted + d.posted, held = c.held + d.held, leased = c.leased + d.leased
     FROM (
       SELECT budget_id, window_key, sum(posted)::bigint AS posted, sum(held)::bigint AS held, sum(leased)::bigint AS leased
       FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
         AS i (budget_id, window_key, posted, held, leased)
       GROUP BY 1, 2
     ) d
     WHERE c.budget_id = d.budget_id AND c.window_key = d.window_key`,
    [
      changes.map(({ budgetId }) => budgetId),
      changes.map(({ windowKey }) => windowKey),
      changes.map(({ posted }) => posted),
      changes.map(({ held }) => held),
      changes.map(({ leased }) => leased),
    ],
  );
}

/** A slice as it stands from now on. */
export interface LeaseRow extends CounterKey {
  readonly epoch: bigint;
  readonly granted: bigint;
}

export async function writeLeases(
  tx: Tx,
  instanceId: string,
  leases: readonly LeaseRow[],
  lifetimeMs: number,
): Promise<void> {
  await tx.query(
    `INSERT INTO leases (instance_id, epoch, budget_id, window_key, granted, expires_at)
     SELECT $1, i.*, now() + $6 * interval '1 millisecond'
     FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[]) AS i (epoch, budget_id, window_key, granted)
     ON CONFLICT (instance_id, epoch) DO UPDATE SET granted = excluded.granted, expires_at = excluded.expires_at`,
    [
      instanceId,
      leases.map(({ epoch }) => epoch),
      leases.map(({ budgetId }) => budgetId),
      leases.map(({ windowKey }) => windowKey),
      leases.map(({ granted }) => granted),
      lifetimeMs,
    ],
  );
}

export async function deleteLeases(tx: Tx, instanceId: string, epochs: readonly bigint[]): Promise<void> {
  await tx.query('DELETE FROM leases WHERE instance_id = $1 AND epoch = ANY ($2)', [instanceId, epochs]);
}

/** A posting of a slice, or (negative) what is taken back of one. */
export interface LeasePosting extends CounterKey {
  readonly projectId: string;
  readonly epoch: bigint;
  readonly amount: bigint;
}

export async function insertPostings(tx: Tx, instanceId: string, postings: readonly LeasePosting[]): Promise<void> {
  await tx.query(
    `INSERT INTO lease_postings (instance_id, project_id, budget_id, window_key, epoch, amount)
     SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])`,
    [
      instanceId,
      postings.map(({ projectId }) => projectId),
      postings.map(({ budgetId }) => budgetId),
      postings.map(({ windowKey }) => windowKey),
      postings.map(({ epoch }) => epoch),
      postings.map(({ amount }) => amount),
    ],
  );
}

/** Ledger rows of calls that were held in memory. */
export async function insertLedgerRows(tx: Tx, rows: readonly LedgerRow[]): Promise<void> {
  await tx.query(
    `INSERT INTO attempts (${columnList})
     SELECT ${columnsOf()} FROM json_populate_recordset(NULL::attempts, $1::json) r
     ON CONFLICT (id) WHERE corrects IS NULL DO NOTHING`,
    [JSON.stringify(rows)],
  );
}

/**
 * Posts slices whose time is over or whose process stopped, whole, since nobody knows what of them was spent; several
 * processes may do so at once.
 * @returns how many
 */
export async function postDeadLeases(db: Queryable, lifetimeMs: number, batchMax: number): Promise<number> {
  const { rows } = await db.query<{ posted: number }>(
    `WITH dead AS MATERIALIZED (
       SELECT l.instance_id, l.epoch
       FROM leases l LEFT JOIN instances i ON i.id = l.instance_id
       -- While the database was away nobody could renew; its own start counts as the last time that somebody did.
       WHERE greatest(l.expires_at, pg_postmaster_start_time() + $2 * interval '1 millisecond') <= now()
         OR i.id IS NULL OR i.stopped_at IS NOT NULL
       LIMIT $1
       FOR UPDATE OF l SKIP LOCKED
     ), ended AS (
       DELETE FROM leases l USING dead d WHERE l.instance_id = d.instance_id AND l.epoch = d.epoch
       RETURNING l.*
     ), deltas AS (
       SELECT budget_id, window_key, sum(granted)::bigint AS granted FROM ended GROUP BY 1, 2
     ), locked AS MATERIALIZED (
       SELECT c.budget_id, c.window_key, d.granted
       FROM deltas d JOIN budget_counters c USING (budget_id, window_key)
       ORDER BY c.budget_id, c.window_key
       FOR UPDATE OF c
     ), counted AS (
       UPDATE budget_counters c SET held = c.held - l.granted, posted = c.posted + l.granted, leased = c.leased - l.granted
       FROM locked l WHERE c.budget_id = l.budget_id AND c.window_key = l.window_key
     ), recorded AS (
       INSERT INTO lease_postings (instance_id, project_id, budget_id, window_key, epoch, amount)
       SELECT e.instance_id, b.project_id, e.budget_id, e.window_key, e.epoch, e.granted
       FROM ended e JOIN budgets b ON b.id = e.budget_id
       WHERE e.granted > 0
     )
     SELECT count(*)::int AS posted FROM ended`,
    [batchMax, lifetimeMs],
  );
  return rows[0]?.posted ?? 0;
}
