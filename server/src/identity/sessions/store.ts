import { sessionIdleMs, sessionKeptMs, sessionMaxMs, sessionUseEveryMs } from '../../base/limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import type { SessionRecord, SignInMethod } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly principal_id: string;
  readonly person_id: string | null;
  readonly method: SignInMethod;
  readonly key_id: string | null;
  readonly address: string;
  readonly user_agent: string;
  readonly created_at: Date;
  readonly last_used_at: Date;
  readonly expires_at: Date;
}

const columns =
  'id, project_id, principal_id, person_id, method, key_id, address, user_agent, created_at, last_used_at, expires_at';

const live = `ended_at IS NULL AND expires_at > now()
  AND last_used_at > now() - make_interval(secs => ${sessionIdleMs / 1000})`;

function fromRow(row: Row): SessionRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    principalId: row.principal_id,
    personId: row.person_id,
    method: row.method,
    keyId: row.key_id,
    address: row.address,
    userAgent: row.user_agent,
    createdAt: row.created_at.getTime(),
    lastUsedAt: row.last_used_at.getTime(),
    expiresAt: row.expires_at.getTime(),
  };
}

export type SessionToInsert = Omit<SessionRecord, 'createdAt' | 'lastUsedAt' | 'expiresAt'> & {
  readonly digest: Buffer;
  readonly credentialTag: Buffer | null;
};

export async function insertSession(tx: Tx, session: SessionToInsert): Promise<void> {
  await tx.query(
    `INSERT INTO sessions (id, digest, project_id, principal_id, person_id, method, key_id, credential_tag, address,
       user_agent, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11))`,
    [
      session.id,
      session.digest,
      session.projectId,
      session.principalId,
      session.personId,
      session.method,
      session.keyId,
      session.credentialTag,
      session.address,
      session.userAgent,
      sessionMaxMs / 1000,
    ],
  );
}

/** A session with what the verifier needs. */
export interface LiveSession extends SessionRecord {
  readonly credentialTag: Buffer | null;
  /** The last use that was written is a while ago. */
  readonly useIsDue: boolean;
}

/** The session, if it has neither ended nor expired. */
export async function findLiveSession(db: Queryable, digest: Buffer): Promise<LiveSession | null> {
  const { rows } = await db.query<Row & { readonly credential_tag: Buffer | null; readonly use_is_due: boolean }>(
    `SELECT ${columns}, credential_tag, last_used_at < now() - make_interval(secs => $2) AS use_is_due
     FROM sessions WHERE digest = $1 AND ${live}`,
    [digest, sessionUseEveryMs / 1000],
  );
  const [row] = rows;
  return row ? { ...fromRow(row), credentialTag: row.credential_tag, useIsDue: row.use_is_due } : null;
}

export async function recordSessionUse(db: Queryable, id: string): Promise<void> {
  await db.query('UPDATE sessions SET last_used_at = now() WHERE id = $1', [id]);
}

/** A live session of the project, by its id. */
export async function findSession(db: Queryable, projectId: string, id: string): Promise<SessionRecord | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM sessions WHERE id = $1 AND project_id = $2 AND ${live}`,
    [id, projectId],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** @returns false when it had ended already */
export async function endSession(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query('UPDATE sessions SET ended_at = now() WHERE id = $1 AND ended_at IS NULL', [id]);
  return rowCount === 1;
}

/**
 * Waits for others who begin or end several sessions of the principal, so that no two of them lock rows in different orders,
 * and what is counted stays so. Whoever locks the person's row too does that first.
 */
export async function lockSessionsOf(tx: Tx, principalId: string): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`sessions ${principalId}`]);
}

/** Ends the live sessions of a principal beyond the newest `kept`; {@link lockSessionsOf} was called before. @returns those */
export async function endOldestSessions(tx: Tx, principalId: string, kept: number): Promise<SessionRecord[]> {
  const { rows } = await tx.query<Row>(
    `UPDATE sessions SET ended_at = now()
     WHERE id IN (SELECT id FROM sessions WHERE principal_id = $1 AND ${live} ORDER BY id DESC OFFSET $2)
     RETURNING ${columns}`,
    [principalId, kept],
  );
  return rows.map(fromRow);
}

/** Whose sessions a list has: all that a person has, or those that stand on the very key that asks. */
export interface Whose {
  readonly principalId: string;
  readonly keyId: string | null;
  readonly isPerson: boolean;
}

/** Live sessions, newest first, from below `beforeId` (null: from the newest). @param whose null: everybody's */
export async function selectSessions(
  db: Queryable,
  { projectId, whose }: { readonly projectId: string; readonly whose: Whose | null },
  beforeId: string | null,
  limit: number,
): Promise<SessionRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM sessions
     WHERE project_id = $1 AND ($3::text IS NULL OR id < $3) AND ${live}
       AND ($2::text IS NULL OR (principal_id = $2 AND ($5 OR key_id IS NOT DISTINCT FROM $6)))
     ORDER BY id DESC LIMIT $4`,
    [projectId, whose?.principalId ?? null, beforeId, limit, whose?.isPerson ?? false, whose?.keyId ?? null],
  );
  return rows.map(fromRow);
}

/** Deletes sessions that have been over for a while. */
export async function purgeSessions(db: Queryable, rowsMax: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM sessions WHERE id IN
       (SELECT id FROM sessions WHERE least(ended_at, expires_at) < now() - make_interval(secs => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    [sessionKeptMs / 1000, rowsMax],
  );
  return rowCount ?? 0;
}
