import { loginIdleMs, loginMaxMs } from '../../base/limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import type { Scope } from '../scopes.ts';
import type { LoginRecord, StoredLogin } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly person_id: string;
  readonly scopes: Scope[];
  readonly client_name: string;
  readonly address: string;
  readonly seed: Buffer;
  readonly generation: number;
  readonly created_at: Date;
  readonly last_used_at: Date;
  readonly expires_at: Date;
}

const columns =
  'id, project_id, person_id, scopes, client_name, address, seed, generation, created_at, last_used_at, expires_at';

const live = `ended_at IS NULL AND expires_at > now()
  AND last_used_at > now() - make_interval(secs => ${loginIdleMs / 1000})`;

function fromRow(row: Row): StoredLogin {
  return {
    id: row.id,
    projectId: row.project_id,
    personId: row.person_id,
    scopes: row.scopes,
    clientName: row.client_name,
    address: row.address,
    seed: row.seed,
    generation: row.generation,
    createdAt: row.created_at.getTime(),
    lastUsedAt: row.last_used_at.getTime(),
    expiresAt: row.expires_at.getTime(),
  };
}

export type LoginToInsert = Omit<StoredLogin, 'generation' | 'createdAt' | 'lastUsedAt' | 'expiresAt'>;

export async function insertLogin(tx: Tx, login: LoginToInsert): Promise<StoredLogin> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO logins (id, project_id, person_id, scopes, client_name, address, seed, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8)) RETURNING ${columns}`,
    [
      login.id,
      login.projectId,
      login.personId,
      login.scopes,
      login.clientName,
      login.address,
      login.seed,
      loginMaxMs / 1000,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** The login, if it has neither ended nor expired. */
export async function findLogin(db: Queryable, id: string): Promise<StoredLogin | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM logins WHERE id = $1 AND ${live}`, [id]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The same, locked until the transaction ends, with how long ago its generation began. */
export async function lockLogin(tx: Tx, id: string): Promise<(StoredLogin & { readonly sinceMs: number }) | null> {
  const { rows } = await tx.query<Row & { readonly since_ms: number }>(
    `SELECT ${columns}, extract(epoch FROM clock_timestamp() - last_used_at)::float8 * 1000 AS since_ms
     FROM logins WHERE id = $1 AND ${live} FOR UPDATE`,
    [id],
  );
  return rows[0] ? { ...fromRow(rows[0]), sinceMs: rows[0].since_ms } : null;
}

/** Begins the next generation. */
export async function advanceLogin(tx: Tx, id: string, generation: number): Promise<void> {
  await tx.query('UPDATE logins SET generation = $2, last_used_at = clock_timestamp() WHERE id = $1', [id, generation]);
}

/** @returns the login as it was; null when it had ended already */
export async function setLoginEnded(tx: Tx, id: string): Promise<LoginRecord | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE logins SET ended_at = now() WHERE id = $1 AND ended_at IS NULL RETURNING ${columns}`,
    [id],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The logins of a person that have not been ended, beyond the newest `kept`. */
export async function oldestLogins(tx: Tx, personId: string, kept: number): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    'SELECT id FROM logins WHERE person_id = $1 AND ended_at IS NULL ORDER BY id DESC OFFSET $2',
    [personId, kept],
  );
  return rows.map(({ id }) => id);
}

/** Says whose key it is. */
export async function setKeyLogin(tx: Tx, keyId: string, loginId: string): Promise<void> {
  await tx.query('UPDATE api_keys SET login_id = $2 WHERE id = $1', [keyId, loginId]);
}

/** Whether a key was used, which is known about a second later. */
export async function isKeyUsed(db: Queryable, keyId: string): Promise<boolean> {
  const { rows } = await db.query('SELECT FROM api_keys WHERE id = $1 AND last_used_at IS NOT NULL', [keyId]);
  return rows.length > 0;
}

/** Keys that were made with keys of a login, with those made with these, and so on. */
const madeWith = `WITH RECURSIVE made AS (
    SELECT id FROM api_keys WHERE login_id = $1
    UNION
    SELECT next.id FROM made JOIN api_keys next ON next.made_with_key_id = made.id
  )`;

/** Revokes what was made with keys of a login, but the keys of agents. */
export async function revokeKeysMadeBy(tx: Tx, version: bigint, loginId: string): Promise<void> {
  await tx.query(
    `${madeWith} UPDATE api_keys SET revoked_at = now(), control_version = $2
     WHERE id IN (SELECT id FROM made) AND kind <> 'agent' AND revoked_at IS NULL
       AND (expires_at IS NULL OR expires_at > now())`,
    [loginId, version],
  );
}

/** Keys of agents that were made with keys of a login and still hold, the newest first. */
export async function agentKeysMadeBy(db: Queryable, loginId: string, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `${madeWith} SELECT id FROM api_keys
     WHERE id IN (SELECT id FROM made) AND kind = 'agent' AND revoked_at IS NULL
       AND (expires_at IS NULL OR expires_at > now())
     ORDER BY created_at DESC, id DESC LIMIT $2`,
    [loginId, limit],
  );
  return rows.map(({ id }) => id);
}

/** Revokes the keys of a login, all but the one that is named. */
export async function revokeLoginKeys(tx: Tx, version: bigint, loginId: string, keptId: string): Promise<void> {
  await tx.query(
    `UPDATE api_keys SET revoked_at = now(), control_version = $2
     WHERE login_id = $1 AND revoked_at IS NULL AND expires_at > now() AND id <> $3`,
    [loginId, version, keptId],
  );
}

/** Live logins, newest first, from below `beforeId` (null: from the newest); of one person, or of all. */
export async function selectLogins(
  db: Queryable,
  { projectId, personId }: { readonly projectId: string; readonly personId: string | null },
  beforeId: string | null,
  limit: number,
): Promise<LoginRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM logins
     WHERE project_id = $1 AND ($2::text IS NULL OR person_id = $2) AND ($3::text IS NULL OR id < $3) AND ${live}
     ORDER BY id DESC LIMIT $4`,
    [projectId, personId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** Keys of an agent that it got for tokens of its issuer and that still hold. */
export async function countExchangedKeys(tx: Tx, agentId: string): Promise<bigint> {
  const { rows } = await tx.query<{ held: bigint }>(
    `SELECT count(*) AS held FROM api_keys
     WHERE agent_id = $1 AND created_by = agent_id AND revoked_at IS NULL AND expires_at > now()`,
    [agentId],
  );
  return rows[0]?.held ?? 0n;
}
