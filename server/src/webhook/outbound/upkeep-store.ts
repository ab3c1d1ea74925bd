import { leastId } from '../../base/ids.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';

const endpointsAtOnce = 20;

/**
 * Locks endpoints to which nothing is sent any more and which have deliveries waiting: disabled or deleted ones, and those
 * that were not verified for `unverifiedMs`.
 */
export async function lockStopped(tx: Tx, unverifiedMs: number): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `SELECT id FROM webhook_endpoints
     WHERE state <> 'active' AND next_due_at IS NOT NULL
       AND (state <> 'unverified' OR updated_at < now() - $1 * interval '1 ms')
     ORDER BY id LIMIT ${endpointsAtOnce} FOR NO KEY UPDATE SKIP LOCKED`,
    [unverifiedMs],
  );
  return rows.map(({ id }) => id);
}

/** Makes deliveries dead that wait at these endpoints, and are not under way; those first that wait for others. @returns how many */
export async function giveUp(tx: Tx, endpointIds: readonly string[], limit: number): Promise<number> {
  const { rowCount } = await tx.query(
    `UPDATE webhook_deliveries d
     SET state = 'dead', dead_reason = 'endpoint_disabled', ended_at = now(), claim = NULL
     FROM (
       SELECT id FROM webhook_deliveries
       WHERE endpoint_id = ANY ($1) AND state = 'pending' AND (claim IS NULL OR next_at <= now())
       ORDER BY next_at DESC LIMIT $2) AS chosen
     WHERE d.id = chosen.id`,
    [endpointIds, limit],
  );
  return rowCount ?? 0;
}

/** Deletes events that occurred before, and all that became of them, unless something of them waits still. @returns how many */
export async function purgeEvents(db: Queryable, beforeMs: number, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM outbox_events WHERE id IN (
       SELECT id FROM outbox_events e
       WHERE id < $1 AND fanned_out_at IS NOT NULL
         AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE event_id = e.id AND state = 'pending')
       ORDER BY id LIMIT $2)`,
    [leastId('msg', beforeMs), limit],
  );
  return rowCount ?? 0;
}

/** Deletes secrets that ceased to sign. @returns how many */
export async function purgeSecrets(db: Queryable, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM webhook_secrets WHERE id IN (
       SELECT id FROM webhook_secrets WHERE expires_at <= now() ORDER BY expires_at LIMIT $1)`,
    [limit],
  );
  return rowCount ?? 0;
}
