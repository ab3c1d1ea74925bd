import { newId } from '../../base/ids.ts';
import { boundedData } from '../../outbox/bounded-data.ts';
import { outboxChannel } from '../../outbox/emit.ts';
import type { Tx } from '../../pg/tx.ts';
import { lockEndpoints, refreshDue } from './due-store.ts';

/** An event for one endpoint alone, whatever types it wants: a test of it. */
export interface DirectEvent {
  readonly projectId: string;
  readonly endpointId: string;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Has an event delivered to one endpoint, as others are. @returns the ids of the event and of its delivery */
export async function emitTo(
  tx: Tx,
  { projectId, endpointId, type, data }: DirectEvent,
): Promise<{ eventId: string; deliveryId: string }> {
  const ids = { eventId: newId('msg'), deliveryId: newId('whd') };
  await lockEndpoints(tx, [endpointId]);
  await tx.query(
    `WITH event AS (
       INSERT INTO outbox_events (id, project_id, type, schema_version, data, fanned_out_at)
       VALUES ($1, $2, $3, 1, $4, now()) RETURNING id, seq)
     INSERT INTO webhook_deliveries (id, project_id, endpoint_id, event_id, event_type, seq, state, next_at)
     SELECT $5, $2, $6, event.id, $3, event.seq, 'pending', now() FROM event`,
    [ids.eventId, projectId, type, boundedData(data), ids.deliveryId, endpointId],
  );
  await refreshDue(tx, [endpointId]);
  await tx.query(`SELECT pg_notify('${outboxChannel}', '')`);
  return ids;
}
