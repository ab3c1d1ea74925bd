import type { Queryable } from '../pg/tx.ts';
import type { EntryFault } from './entry.ts';

export interface EntryRow {
  readonly projectId: string;
  readonly key: Buffer;
  readonly entry: Buffer;
  readonly storedAt: Date;
  readonly expiresAt: Date;
}

/** Stores an entry, in the place of one that is there. */
export async function putEntry(db: Queryable, row: EntryRow): Promise<void> {
  await db.query(
    `INSERT INTO cache_entries (project_id, key, entry, stored_at, expires_at) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (project_id, key) DO UPDATE
       SET entry = excluded.entry, stored_at = excluded.stored_at, expires_at = excluded.expires_at`,
    [row.projectId, row.key, row.entry, row.storedAt, row.expiresAt],
  );
}

export async function findEntry(db: Queryable, projectId: string, key: Buffer): Promise<Buffer | null> {
  const { rows } = await db.query<{ entry: Buffer }>(
    'SELECT entry FROM cache_entries WHERE project_id = $1 AND key = $2',
    [projectId, key],
  );
  return rows[0]?.entry ?? null;
}

/** The projects that have entries: a step on the index for each, however many entries there are. */
export async function projectsWithEntries(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `WITH RECURSIVE found (id) AS (
       (SELECT project_id FROM cache_entries ORDER BY project_id LIMIT 1)
       UNION ALL
       SELECT (SELECT project_id FROM cache_entries WHERE project_id > found.id ORDER BY project_id LIMIT 1)
       FROM found WHERE found.id IS NOT NULL)
     SELECT id FROM found WHERE id IS NOT NULL`,
  );
  return rows.map(({ id }) => id);
}

/** How much a project may have. */
export interface Room {
  readonly entries: number;
  readonly bytes: number;
}

/** When the newest entry was stored that a project has no room for; null when it has room for all. */
export async function newestBeyond(db: Queryable, projectId: string, room: Room): Promise<Date | null> {
  const { rows } = await db.query<{ stored_at: Date | null }>(
    `SELECT max(stored_at) AS stored_at FROM
       (SELECT stored_at, row_number() OVER newest AS place, sum(entry_bytes) OVER newest AS bytes FROM
          (SELECT stored_at, entry_bytes FROM cache_entries
           WHERE project_id = $1 ORDER BY stored_at DESC LIMIT $2::bigint + 1) AS kept
        WINDOW newest AS (ORDER BY stored_at DESC ROWS UNBOUNDED PRECEDING)) AS placed
     WHERE place > $2 OR bytes > $3`,
    [projectId, room.entries, room.bytes],
  );
  return rows[0]?.stored_at ?? null;
}

/** Deletes so many entries of a project that were stored at `until` or before. @returns how many there were */
export async function deleteEntries(db: Queryable, projectId: string, until: Date, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM cache_entries WHERE project_id = $1 AND key IN
       (SELECT key FROM cache_entries WHERE project_id = $1 AND stored_at <= $2
        ORDER BY stored_at LIMIT $3 FOR UPDATE SKIP LOCKED)`,
    [projectId, until, limit],
  );
  return rowCount ?? 0;
}

/**
 * Puts an entry aside, if it is still the one that was read; the project's oldest beyond `most` make room.
 * @returns false when another was quicker
 */
export async function quarantineEntry(
  db: Queryable,
  { projectId, key, entry }: Pick<EntryRow, 'projectId' | 'key' | 'entry'>,
  fault: EntryFault,
  now: Date,
  most: number,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `WITH found AS (DELETE FROM cache_entries WHERE project_id = $1 AND key = $2 AND entry = $3 RETURNING *)
     INSERT INTO cache_quarantine (project_id, key, entry, stored_at, reason, found_at)
     SELECT project_id, key, entry, stored_at, $4, $5 FROM found`,
    [projectId, key, entry, fault, now],
  );
  await db.query(
    `DELETE FROM cache_quarantine WHERE project_id = $1 AND id IN
       (SELECT id FROM cache_quarantine WHERE project_id = $1 ORDER BY id DESC OFFSET $2)`,
    [projectId, most],
  );
  return rowCount === 1;
}

/** Deletes so many entries whose time is over at `now`. @returns how many there were */
export async function deleteExpiredEntries(db: Queryable, now: Date, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM cache_entries WHERE (project_id, key) IN
       (SELECT project_id, key FROM cache_entries WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
        FOR UPDATE SKIP LOCKED)`,
    [now, limit],
  );
  return rowCount ?? 0;
}

/** Deletes what was put aside before `before`. */
export async function deleteOldQuarantine(db: Queryable, before: Date): Promise<void> {
  await db.query('DELETE FROM cache_quarantine WHERE found_at < $1', [before]);
}
