import { newId } from '../base/ids.ts';
import type { Queryable } from '../pg/tx.ts';
import { boundedData } from './bounded-data.ts';
import { type EventData, type EventType, eventVersion } from './catalogue.ts';

/** The channel on which events and due deliveries are announced; a poll covers lost notifications. */
export const outboxChannel = 'portcullis_outbox';

/** Something that happened, to be told to the endpoints that want it. */
export interface NewEvent<T extends EventType = EventType> {
  readonly type: T;
  /** Null is for what concerns all projects: endpoints of all of them are told, so its data is nobody's own. */
  readonly projectId: string | null;
  /**
   * What it is about, for endpoints that want order. Whoever gives one holds a lock on that thing in this transaction, so that
   * its events are numbered in the order of their commits.
   */
  readonly key?: string;
  readonly data: EventData[T];
}

/**
 * Writes an event into the outbox in the transaction of what it tells of: told if and only if that happened. One statement;
 * no row where no endpoint wants it. Texts that are too long for a message are cut.
 */
export async function emitEvent<T extends EventType>(
  db: Queryable,
  { type, projectId, key, data }: NewEvent<T>,
): Promise<void> {
  const inProject = projectId === null ? '$2::text IS NULL' : 'project_id = $2';
  await db.query({
    name: projectId === null ? 'emit event for all' : 'emit event',
    text: `WITH emitted AS (
       INSERT INTO outbox_events (id, project_id, type, schema_version, key, data)
       SELECT $1, $2, $3, $4, $5, $6
       WHERE EXISTS (
         SELECT FROM webhook_endpoints
         WHERE state = 'active' AND ${inProject} AND (event_types = '{}' OR $3 = ANY (event_types)))
       RETURNING id)
     SELECT pg_notify('${outboxChannel}', '') FROM emitted`,
    values: [newId('msg'), projectId, type, eventVersion(type), key ?? null, boundedData(data)],
  });
}
