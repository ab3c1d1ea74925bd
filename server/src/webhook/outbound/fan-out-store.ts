import { deliveriesPerFanOutMax, eventsPerFanOutMax } from '../../base/webhook-limits.ts';
import type { Tx } from '../../pg/tx.ts';

// Any number that nothing else takes for a lock: it has this one fan out alone, so that deliveries of a key are made in their order.
const fanOutLock = 7_302_022;

/** Whether this transaction fans out until it ends; false where another one does. */
export async function mayFanOut(tx: Tx): Promise<boolean> {
  const { rows } = await tx.query<{ ours: boolean }>({
    name: 'may fan out',
    text: 'SELECT pg_try_advisory_xact_lock($1) AS ours',
    values: [fanOutLock],
  });
  return rows[0]?.ours === true;
}

/** Events that are not fanned out, in the order of their numbers. */
export async function waitingEvents(tx: Tx): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>({
    name: 'waiting events',
    text: 'SELECT id FROM outbox_events WHERE fanned_out_at IS NULL ORDER BY seq LIMIT $1',
    values: [eventsPerFanOutMax],
  });
  return rows.map(({ id }) => id);
}

/** A delivery to be made: an event, and an endpoint that wants it. */
export interface Wanted {
  readonly eventId: string;
  readonly type: string;
  readonly key: string | null;
  readonly seq: bigint;
  readonly endpointId: string;
  readonly projectId: string;
}

/** Deliveries that these events lack, in the order of the events; with `deliveriesPerFanOutMax` of them there may be more. */
export async function wantedDeliveries(tx: Tx, eventIds: readonly string[]): Promise<Wanted[]> {
  const wants = `state = 'active' AND (event_types = '{}' OR e.type = ANY (event_types))`;
  const { rows } = await tx.query<Wanted>({
    name: 'wanted deliveries',
    text: `SELECT e.id AS "eventId", e.type, e.key, e.seq, w.id AS "endpointId", w.project_id AS "projectId"
     FROM outbox_events e
     CROSS JOIN LATERAL (
       SELECT id, project_id FROM webhook_endpoints WHERE project_id = e.project_id AND ${wants}
       UNION ALL
       SELECT id, project_id FROM webhook_endpoints WHERE e.project_id IS NULL AND ${wants}) AS w
     WHERE e.id = ANY ($1)
       AND NOT EXISTS (SELECT FROM webhook_deliveries WHERE event_id = e.id AND endpoint_id = w.id)
     ORDER BY e.seq, w.id LIMIT $2`,
    values: [eventIds, deliveriesPerFanOutMax],
  });
  return rows;
}

/** Locks endpoints (see due-store.ts). @returns those that are active still, and whether they want order */
export async function lockActive(tx: Tx, ids: readonly string[]): Promise<ReadonlyMap<string, boolean>> {
  const { rows } = await tx.query<{ id: string; ordered: boolean }>({
    name: 'lock active',
    text: `SELECT id, ordered FROM webhook_endpoints WHERE id = ANY ($1) AND state = 'active' ORDER BY id FOR NO KEY UPDATE`,
    values: [ids],
  });
  return new Map(rows.map(({ id, ordered }) => [id, ordered]));
}

export interface NewDelivery extends Omit<Wanted, 'key'> {
  readonly id: string;
  /** Null where it waits for none. */
  readonly orderingKey: string | null;
  /** Whether one before it is made by the same statement. */
  readonly follows: boolean;
}

export async function insertDeliveries(tx: Tx, made: readonly NewDelivery[]): Promise<void> {
  await tx.query({
    name: 'insert deliveries',
    text: `INSERT INTO webhook_deliveries (id, project_id, endpoint_id, event_id, event_type, seq, ordering_key, state, next_at)
     SELECT n.id, n.project_id, n.endpoint_id, n.event_id, n.type, n.seq, n.ordering_key, 'pending',
       CASE WHEN n.follows OR n.ordering_key IS NOT NULL AND EXISTS (
         SELECT FROM webhook_deliveries
         WHERE endpoint_id = n.endpoint_id AND ordering_key = n.ordering_key AND state = 'pending')
       THEN 'infinity' ELSE now() END
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::boolean[])
       AS n (id, project_id, endpoint_id, event_id, type, seq, ordering_key, follows)`,
    values: [
      made.map(({ id }) => id),
      made.map(({ projectId }) => projectId),
      made.map(({ endpointId }) => endpointId),
      made.map(({ eventId }) => eventId),
      made.map(({ type }) => type),
      made.map(({ seq }) => seq),
      made.map(({ orderingKey }) => orderingKey),
      made.map(({ follows }) => follows),
    ],
  });
}

export async function markFannedOut(tx: Tx, eventIds: readonly string[]): Promise<void> {
  await tx.query({
    name: 'mark fanned out',
    text: 'UPDATE outbox_events SET fanned_out_at = now() WHERE id = ANY ($1)',
    values: [eventIds],
  });
}
