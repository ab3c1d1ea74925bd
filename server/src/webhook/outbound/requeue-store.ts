import type { Tx } from '../../pg/tx.ts';
import { lockEndpoints, refreshDue } from './due-store.ts';

/** Deliveries of one endpoint to be made again. */
export interface Requeue {
  readonly projectId: string;
  readonly endpointId: string;
  /** Ids of deliveries; null for those that `since` and `until` span. */
  readonly ids: readonly string[] | null;
  /** Epoch milliseconds: of events that occurred from then on, and before `until`. */
  readonly since: number;
  readonly until: number;
  /** Whether those too that were delivered; else dead ones alone. */
  readonly delivered: boolean;
  readonly limit: number;
}

/**
 * Makes deliveries that ended due again, the oldest first: the same rows and message ids, on a schedule that begins anew. They
 * no longer keep an order, since what came after them may have been delivered.
 * @returns how many; with `limit` of them there may be more
 */
export async function requeue(tx: Tx, request: Requeue): Promise<number> {
  await lockEndpoints(tx, [request.endpointId]);
  const { rowCount } = await tx.query(
    `UPDATE webhook_deliveries d
     SET state = 'pending', tries = 0, next_at = now(), claim = NULL, dead_reason = NULL, ended_at = NULL, ordering_key = NULL
     FROM (
       SELECT w.id FROM webhook_deliveries w JOIN outbox_events e ON e.id = w.event_id
       WHERE w.project_id = $1 AND w.endpoint_id = $2 AND w.state = ANY ($3)
         AND ($4::text[] IS NULL OR w.id = ANY ($4)) AND e.occurred_at >= $5 AND e.occurred_at < $6
       ORDER BY w.id LIMIT $7) AS chosen
     WHERE d.id = chosen.id`,
    [
      request.projectId,
      request.endpointId,
      request.delivered ? ['dead', 'delivered'] : ['dead'],
      request.ids,
      new Date(request.since),
      new Date(request.until),
      request.limit,
    ],
  );
  await refreshDue(tx, [request.endpointId]);
  return rowCount ?? 0;
}
