import type { Queryable, Tx } from '../../pg/tx.ts';
import type { EventState, NewEvent, WebhookEvent } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly source: string;
  readonly provider_event_id: string;
  readonly type: string;
  readonly run_id: string | null;
  readonly callback_id: string | null;
  readonly content_type: string;
  readonly body_bytes: number;
  readonly sealed: boolean;
  readonly state: EventState;
  readonly attempts: number;
  readonly replays: number;
  readonly note: string;
  readonly received_at: Date;
  readonly finished_at: Date | null;
}

const columns = `id, project_id, source, provider_event_id, type, run_id, callback_id, content_type, body_bytes, sealed, state,
  attempts, replays, note, received_at, finished_at`;

function fromRow(row: Row): WebhookEvent {
  return {
    id: row.id,
    projectId: row.project_id,
    source: row.source,
    providerEventId: row.provider_event_id,
    type: row.type,
    runId: row.run_id,
    callbackId: row.callback_id,
    contentType: row.content_type,
    bodyBytes: row.body_bytes,
    sealed: row.sealed,
    state: row.state,
    attempts: row.attempts,
    replays: row.replays,
    note: row.note,
    receivedAt: row.received_at.getTime(),
    finishedAt: row.finished_at?.getTime() ?? null,
  };
}

/** Takes the keys of an event. Waits for others who are taking one of them. @returns how many were free */
export async function takeKeys(
  tx: Tx,
  { source, id }: Pick<NewEvent, 'source' | 'id'>,
  keys: readonly Buffer[],
): Promise<number> {
  const { rowCount } = await tx.query(
    `INSERT INTO webhook_event_keys (source, key, event_id)
     SELECT $1, key, $2 FROM unnest($3::bytea[]) WITH ORDINALITY AS k (key, nth) ORDER BY nth
     ON CONFLICT DO NOTHING`,
    [source, id, keys],
  );
  return rowCount ?? 0;
}

/** The first event that has one of the keys, and where it stands; no state where it is kept no more. Null: none of them is known. */
export async function findKnown(
  db: Queryable,
  source: string,
  keys: readonly Buffer[],
): Promise<{ readonly id: string; readonly state: EventState | null } | null> {
  const { rows } = await db.query<{ id: string; state: EventState | null }>(
    `SELECT k.event_id AS id, (SELECT e.state FROM webhook_events e WHERE e.id = k.event_id) AS state
     FROM webhook_event_keys k WHERE k.source = $1 AND k.key = ANY ($2::bytea[])
     ORDER BY k.event_id LIMIT 1`,
    [source, keys],
  );
  return rows[0] ?? null;
}

/** Writes an event with what is to be done of it. */
export async function insertEvent(tx: Tx, event: NewEvent): Promise<void> {
  await tx.query(
    `WITH e AS (
       INSERT INTO webhook_events (id, project_id, source, provider_event_id, type, run_id, callback_id, signature_status,
         content_type, headers, body, body_bytes, sealed, state, received_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, 'valid', $8, $9, $10, $11, $12, 'pending', $13)
     )
     INSERT INTO webhook_event_jobs (event_id, asks) VALUES ($1, $7::text IS NOT NULL)`,
    [
      event.id,
      event.projectId,
      event.source,
      event.providerEventId,
      event.type,
      event.runId,
      event.callbackId,
      event.contentType,
      JSON.stringify(event.headers),
      event.body,
      event.bodyBytes,
      event.sealed,
      new Date(event.receivedAt),
    ],
  );
}

export async function findEvent(db: Queryable, id: string): Promise<WebhookEvent | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM webhook_events WHERE id = $1`, [id]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** An event's headers, and its body as it is stored. */
export interface StoredContent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export async function findContent(db: Queryable, id: string): Promise<StoredContent | null> {
  const { rows } = await db.query<StoredContent>('SELECT headers, body FROM webhook_events WHERE id = $1', [id]);
  return rows[0] ?? null;
}

/** Which events a list has; null is any. */
export interface EventFilter {
  readonly projectId: string;
  readonly source: string | null;
  readonly state: EventState | null;
  /** Of this run, by the index of runs: the other filters are looked at row by row. */
  readonly runId: string | null;
}

/** Newest first, below `beforeId`. Each combination of filters has an index of its own, in the order of the list. */
export async function selectEvents(
  db: Queryable,
  { projectId, source, state, runId }: EventFilter,
  beforeId: string | null,
  limit: number,
): Promise<WebhookEvent[]> {
  const values: unknown[] = [projectId, limit];
  const bound = (column: string, value: unknown) => (value === null ? [] : [`${column} = $${values.push(value)}`]);
  const filters = [...bound('source', source), ...bound('state', state), ...bound('run_id', runId)];
  const before = beforeId === null ? [] : [`id < $${values.push(beforeId)}`];
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM webhook_events WHERE ${['project_id = $1', ...filters, ...before].join(' AND ')}
     ORDER BY id DESC LIMIT $2`,
    values,
  );
  return rows.map(fromRow);
}

/** Says what came of an event. */
export async function finishEvent(
  tx: Tx,
  id: string,
  { state, note, runId, attempts }: Pick<WebhookEvent, 'state' | 'note' | 'runId' | 'attempts'>,
): Promise<void> {
  await tx.query(
    `UPDATE webhook_events SET state = $2, note = $3, run_id = $4, attempts = $5, finished_at = now() WHERE id = $1`,
    [id, state, note, runId, attempts],
  );
}

/** Says why a try failed; the event waits for the next. */
export async function noteFailure(tx: Tx, id: string, note: string, attempts: number): Promise<void> {
  await tx.query('UPDATE webhook_events SET note = $2, attempts = $3 WHERE id = $1', [id, note, attempts]);
}

/** Lets an event that is over be done again. @returns null where it is not there, or waits */
export async function reopenEvent(tx: Tx, projectId: string, id: string): Promise<WebhookEvent | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE webhook_events SET state = 'pending', finished_at = NULL, attempts = 0, replays = replays + 1, note = ''
     WHERE id = $1 AND project_id = $2 AND state <> 'pending' RETURNING ${columns}`,
    [id, projectId],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}
