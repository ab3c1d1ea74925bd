import type { Queryable, Tx } from '../../pg/tx.ts';

/** What is to be done, and which try this is, from 1. */
export interface Claim {
  readonly eventId: string;
  readonly attempt: number;
}

/** What is claimed: events for which others must be asked, or those for which nobody must; how many, and for how long. */
export interface Claimable {
  readonly asks: boolean;
  readonly limit: number;
  readonly claimMs: number;
}

/**
 * Claims what is due, for a time: when it has passed, others may do it. A try that ends with its process counts.
 * @param claim a new UUID
 */
export async function claimJobs(db: Queryable, claim: string, { asks, limit, claimMs }: Claimable): Promise<Claim[]> {
  const { rows } = await db.query<Claim>(
    `UPDATE webhook_event_jobs SET claim = $1, attempts = attempts + 1, due_at = now() + $2::int * interval '1 ms'
     WHERE event_id IN (
       SELECT event_id FROM webhook_event_jobs WHERE asks = $4 AND due_at <= now() ORDER BY asks, due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
     RETURNING event_id AS "eventId", attempts AS attempt`,
    [claim, claimMs, limit, asks],
  );
  return rows;
}

export async function insertJob(tx: Tx, eventId: string, asks: boolean): Promise<void> {
  await tx.query('INSERT INTO webhook_event_jobs (event_id, asks) VALUES ($1, $2)', [eventId, asks]);
}

/** Takes away what was done, in the transaction that does it. @returns false where the claim ended, and it is another's by now */
export async function endJob(tx: Tx, eventId: string, claim: string): Promise<boolean> {
  const { rowCount } = await tx.query('DELETE FROM webhook_event_jobs WHERE event_id = $1 AND claim = $2', [
    eventId,
    claim,
  ]);
  return rowCount === 1;
}

/** Gives a claim back until later. @returns false where it had ended */
export async function putOff(tx: Tx, eventId: string, claim: string, ms: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    `UPDATE webhook_event_jobs SET claim = NULL, due_at = now() + $3::int * interval '1 ms'
     WHERE event_id = $1 AND claim = $2`,
    [eventId, claim, ms],
  );
  return rowCount === 1;
}

/** Gives claims back that were not begun. */
export async function giveBack(db: Queryable, eventIds: readonly string[], claim: string): Promise<void> {
  await db.query(
    `UPDATE webhook_event_jobs SET claim = NULL, attempts = attempts - 1, due_at = now()
     WHERE event_id = ANY ($1::text[]) AND claim = $2`,
    [eventIds, claim],
  );
}

/** How many events wait, of the first `countedMax`. */
export async function countJobs(db: Queryable, countedMax: number): Promise<number> {
  const { rows } = await db.query<{ jobs: number }>(
    'SELECT count(*)::int AS jobs FROM (SELECT FROM webhook_event_jobs LIMIT $1) AS j',
    [countedMax],
  );
  return rows[0]?.jobs ?? 0;
}
