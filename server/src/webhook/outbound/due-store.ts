import { endpointQuickMax, endpointSlowMax } from '../../base/webhook-limits.ts';
import type { Tx } from '../../pg/tx.ts';

/**
 * Whoever changes deliveries of endpoints locks these first, in one order, and writes down at the end when each has its next
 * delivery due: then no worker has to look at the deliveries of endpoints that have none.
 */
export async function lockEndpoints(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.query({
    name: 'lock endpoints',
    text: 'SELECT FROM webhook_endpoints WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE',
    values: [ids],
  });
}

// A claimed delivery is due when its claim ends, so that the next one is the earliest of all, unless all places are taken: then
// it is the first place that a worker which died gives up. Outcomes free places earlier, and write this anew.
const nextDue = `
  CASE WHEN (SELECT count(*) FROM webhook_deliveries
             WHERE endpoint_id = e.id AND claim IS NOT NULL AND next_at > now())
            >= CASE WHEN e.slow THEN ${endpointSlowMax} ELSE ${endpointQuickMax} END
  THEN (SELECT min(next_at) FROM webhook_deliveries WHERE endpoint_id = e.id AND claim IS NOT NULL AND next_at > now())
  ELSE (SELECT next_at FROM webhook_deliveries
        WHERE endpoint_id = e.id AND state = 'pending' ORDER BY next_at LIMIT 1)
  END`;

/** Writes when the next delivery of each of these endpoints is due, by what this transaction sees; they are locked. */
export async function refreshDue(tx: Tx, ids: readonly string[]): Promise<void> {
  await tx.query({
    name: 'refresh due',
    text: `UPDATE webhook_endpoints w
     SET next_due_at = CASE WHEN due.at IS NULL OR due.at = 'infinity' THEN NULL ELSE greatest(due.at, w.held_until) END
     FROM (SELECT e.id, ${nextDue} AS at FROM webhook_endpoints e WHERE e.id = ANY ($1)) AS due
     WHERE w.id = due.id`,
    values: [ids],
  });
}

/** Makes the next delivery of each key due whose deliveries these were that ended. */
export async function releaseNextOf(tx: Tx, ended: readonly string[]): Promise<void> {
  await tx.query({
    name: 'release next',
    text: `UPDATE webhook_deliveries d SET next_at = now()
     FROM (
       SELECT DISTINCT endpoint_id, ordering_key FROM webhook_deliveries
       WHERE id = ANY ($1) AND state <> 'pending' AND ordering_key IS NOT NULL) AS k
     CROSS JOIN LATERAL (
       SELECT id, next_at FROM webhook_deliveries
       WHERE endpoint_id = k.endpoint_id AND ordering_key = k.ordering_key AND state = 'pending'
       ORDER BY seq LIMIT 1) AS head
     WHERE d.id = head.id AND head.next_at = 'infinity'`,
    values: [ended],
  });
}
