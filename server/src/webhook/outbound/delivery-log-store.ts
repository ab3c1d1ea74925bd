import { type StoredEvent, messageBody } from '../../outbox/message.ts';
import type { Queryable } from '../../pg/tx.ts';
import type { DeadReason, Delivery, DeliveryState, LoggedAttempt } from './delivery-log-model.ts';
import type { AttemptOutcome } from './model.ts';

interface Row {
  readonly id: string;
  readonly endpoint_id: string;
  readonly event_id: string;
  readonly event_type: string;
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly next_at: Date | number;
  readonly dead_reason: DeadReason | null;
  readonly created_at: Date;
  readonly ended_at: Date | null;
}

const columns = 'id, endpoint_id, event_id, event_type, state, attempts, next_at, dead_reason, created_at, ended_at';

function fromRow(row: Row): Delivery {
  // What waits for an earlier one of its key is due at infinity, which the driver gives as a number.
  const nextAt = row.state === 'pending' && row.next_at instanceof Date ? row.next_at.getTime() : null;
  return {
    id: row.id,
    endpointId: row.endpoint_id,
    eventId: row.event_id,
    eventType: row.event_type,
    state: row.state,
    attempts: row.attempts,
    nextAt,
    deadReason: row.dead_reason,
    createdAt: row.created_at.getTime(),
    endedAt: row.ended_at?.getTime() ?? null,
  };
}

/** Which deliveries are listed; null is any. */
export interface DeliveryFilter {
  readonly projectId: string;
  readonly endpointId: string | null;
  /** Of all endpoints only `dead`, of which there is an index. */
  readonly state: DeliveryState | null;
}

/** Deliveries, newest first, from below `beforeId` (null: from the newest). */
export async function selectDeliveries(
  db: Queryable,
  { projectId, endpointId, state }: DeliveryFilter,
  beforeId: string | null,
  limit: number,
): Promise<Delivery[]> {
  const ofEndpoint = endpointId === null ? '' : 'AND endpoint_id = $4';
  const ofState = state === null ? '' : `AND state = '${state}'`;
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM webhook_deliveries
     WHERE project_id = $1 AND ($2::text IS NULL OR id < $2) ${ofEndpoint} ${ofState} ORDER BY id DESC LIMIT $3`,
    [projectId, beforeId, limit, ...(endpointId === null ? [] : [endpointId])],
  );
  return rows.map(fromRow);
}

export async function findDelivery(db: Queryable, projectId: string, id: string): Promise<Delivery | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM webhook_deliveries WHERE id = $1 AND project_id = $2`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The body of an event; null when it is gone. */
export async function findBody(db: Queryable, eventId: string): Promise<string | null> {
  const { rows } = await db.query<Omit<StoredEvent, 'occurredAt'> & { readonly occurredAt: Date }>(
    `SELECT type, schema_version AS version, project_id AS "projectId", occurred_at AS "occurredAt", data
     FROM outbox_events WHERE id = $1`,
    [eventId],
  );
  const [event] = rows;
  return event === undefined ? null : messageBody({ ...event, occurredAt: event.occurredAt.getTime() });
}

/** Attempts of a delivery, newest first, from below number `before` (null: from the newest). */
export async function selectAttempts(
  db: Queryable,
  deliveryId: string,
  before: number | null,
  limit: number,
): Promise<LoggedAttempt[]> {
  const { rows } = await db.query<{
    number: number;
    started_at: Date;
    duration_ms: number;
    outcome: AttemptOutcome;
    status: number | null;
    error: string | null;
    answer: string;
  }>(
    `SELECT number, started_at, duration_ms, outcome, status, error, answer FROM webhook_attempts
     WHERE delivery_id = $1 AND ($2::int IS NULL OR number < $2) ORDER BY number DESC LIMIT $3`,
    [deliveryId, before, limit],
  );
  return rows.map(({ started_at: startedAt, duration_ms: durationMs, ...row }) => ({
    ...row,
    id: String(row.number),
    startedAt: startedAt.getTime(),
    durationMs,
  }));
}

/** A span of deliveries of an endpoint that ended, by their ids. */
export interface EndedSpan {
  readonly projectId: string;
  readonly endpointId: string;
  readonly afterId: string | null;
  readonly fromId: string;
  readonly toId: string;
  readonly states: readonly DeliveryState[];
}

/** The oldest of them, by the index of each state. */
export async function selectEnded(
  db: Queryable,
  { projectId, endpointId, afterId, fromId, toId, states }: EndedSpan,
  limit: number,
): Promise<string[]> {
  const ofState = (state: DeliveryState) =>
    `(SELECT id FROM webhook_deliveries
      WHERE project_id = $1 AND endpoint_id = $2 AND state = '${state}' AND id >= $3 AND id < $4 AND id > $5
      ORDER BY id LIMIT $6)`;
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM (${states.map(ofState).join(' UNION ALL ')}) AS ended ORDER BY id LIMIT $6`,
    [projectId, endpointId, fromId, toId, afterId ?? '', limit],
  );
  return rows.map(({ id }) => id);
}
