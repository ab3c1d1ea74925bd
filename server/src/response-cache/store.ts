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

/** Removes a project's oldest entries beyond so many, or so many bytes; any number of processes at once. */
export async function evictEntries(
  db: Queryable,
  projectId: string,
  most: { readonly entries: number; readonly bytes: number },
): Promise<void> {
  await db.query(
    `DELETE FROM cache_entries WHERE project_id = $1 AND key IN
       (SELECT key FROM cache_entries WHERE project_id = $1 AND key IN
          (SELECT key FROM (
             SELECT key, row_number() OVER newest AS place, sum(octet_length(entry)) OVER newest AS bytes
             FROM cache_entries WHERE project_id = $1 WINDOW newest AS (ORDER BY stored_at DESC, key)) AS kept
           WHERE place > $2 OR bytes > $3)
        FOR UPDATE SKIP LOCKED)`,
    [projectId, most.entries, most.bytes],
  );
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
