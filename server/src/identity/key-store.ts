import type { Queryable, Tx } from '../pg/tx.ts';
import type { Binding, PrincipalKind } from './model.ts';
import type { KeyRecord } from './records.ts';

/** A key with the hash of its secret: for the index that verifies, and for nobody else. */
export interface StoredKey extends KeyRecord {
  readonly secretHash: Buffer;
}

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly agent_id: string | null;
  readonly person_id: string | null;
  readonly kind: PrincipalKind;
  readonly name: string;
  readonly scopes: string[];
  readonly models: string[] | null;
  readonly cidrs: string[] | null;
  readonly run_id: string | null;
  readonly require_signature: boolean;
  readonly bound_x5t_s256: string | null;
  readonly bound_spiffe_id: string | null;
  readonly login_id: string | null;
  readonly created_at: Date;
  readonly created_by: string;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly successor_id: string | null;
  readonly last_used_at: Date | null;
}

const columns = `id, project_id, agent_id, person_id, kind, name, scopes, models, cidrs, run_id,
  require_signature, bound_x5t_s256, bound_spiffe_id, login_id, created_at, created_by, expires_at, revoked_at, successor_id,
  last_used_at`;

function fromRow(row: Row): KeyRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    agentId: row.agent_id,
    personId: row.person_id,
    kind: row.kind,
    name: row.name,
    scopes: row.scopes,
    models: row.models,
    cidrs: row.cidrs,
    runId: row.run_id,
    requireSignature: row.require_signature,
    binding: bindingOf(row),
    loginId: row.login_id,
    createdAt: row.created_at.getTime(),
    createdBy: row.created_by,
    expiresAt: row.expires_at?.getTime() ?? null,
    revokedAt: row.revoked_at?.getTime() ?? null,
    successorId: row.successor_id,
    lastUsedAt: row.last_used_at?.getTime() ?? null,
  };
}

function bindingOf({ bound_x5t_s256: thumbprint, bound_spiffe_id: spiffeId }: Row): Binding | null {
  if (thumbprint !== null) return { by: 'x5t#S256', value: thumbprint };
  return spiffeId === null ? null : { by: 'spiffe_id', value: spiffeId };
}

export type KeyToInsert = Omit<
  StoredKey,
  'loginId' | 'createdAt' | 'expiresAt' | 'revokedAt' | 'successorId' | 'lastUsedAt'
> & {
  /** Seconds from now; null never expires. */
  readonly lifetimeS: number | null;
  /** The latest end, in epoch milliseconds, by whatever clock; null: none. */
  readonly endsAt: number | null;
  /** The key with which it was asked for: who holds a key that somebody else made also holds those made with it. */
  readonly madeWithKeyId: string | null;
};

export async function insertKey(tx: Tx, version: bigint, key: KeyToInsert): Promise<KeyRecord> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO api_keys (id, project_id, agent_id, person_id, kind, name, secret_hash, scopes, models, cidrs, run_id,
       require_signature, bound_x5t_s256, bound_spiffe_id, created_by, expires_at, control_version, made_with_key_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
       least(now() + make_interval(secs => $16), $19::timestamptz), $17, $18)
     RETURNING ${columns}`,
    [
      key.id,
      key.projectId,
      key.agentId,
      key.personId,
      key.kind,
      key.name,
      key.secretHash,
      key.scopes,
      key.models,
      key.cidrs,
      key.runId,
      key.requireSignature,
      key.binding?.by === 'x5t#S256' ? key.binding.value : null,
      key.binding?.by === 'spiffe_id' ? key.binding.value : null,
      key.createdBy,
      key.lifetimeS,
      version,
      key.madeWithKeyId,
      key.endsAt === null ? null : new Date(key.endsAt),
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

export async function findKey(db: Queryable, projectId: string, id: string): Promise<KeyRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM api_keys WHERE id = $1 AND project_id = $2`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/**
 * Whether it is an operator's key that the person made themselves, and so the keys with which it was made: what somebody else
 * made for them may be in other hands, and so may what a service's key made.
 */
export async function isOwnKey(db: Queryable, keyId: string, personId: string): Promise<boolean> {
  const { rows } = await db.query<{ own: boolean | null }>(
    `WITH RECURSIVE chain AS (
       SELECT kind, person_id, created_by, made_with_key_id FROM api_keys WHERE id = $1
       UNION ALL
       SELECT made.kind, made.person_id, made.created_by, made.made_with_key_id
       FROM chain JOIN api_keys made ON made.id = chain.made_with_key_id
     )
     SELECT bool_and(kind = 'operator' AND coalesce(person_id = $2, false) AND created_by = $2) AS own FROM chain`,
    [keyId, personId],
  );
  return rows[0]?.own === true;
}

/** What the keys of a person that still hold were made with, those of services that they answer for included. */
export async function scopesOfKeysOf(db: Queryable, personId: string): Promise<string[]> {
  const { rows } = await db.query<{ scope: string }>(
    `SELECT DISTINCT unnest(scopes) AS scope FROM api_keys
     WHERE person_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())`,
    [personId],
  );
  return rows.map((row) => row.scope);
}

/** Names the successor and lets the key end after `overlapS` seconds, if it does not end sooner. */
export async function setKeySuccessor(
  tx: Tx,
  version: bigint,
  id: string,
  successorId: string,
  overlapS: number,
): Promise<KeyRecord> {
  const { rows } = await tx.query<Row>(
    `UPDATE api_keys SET successor_id = $2, expires_at = least(expires_at, now() + make_interval(secs => $3)),
       control_version = $4
     WHERE id = $1 RETURNING ${columns}`,
    [id, successorId, overlapS, version],
  );
  const [row] = rows;
  if (!row) throw new Error('UPDATE … RETURNING gave no row');
  return fromRow(row);
}

/** @returns null when the key is revoked already */
export async function setKeyRevoked(tx: Tx, version: bigint, id: string): Promise<KeyRecord | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE api_keys SET revoked_at = now(), control_version = $2 WHERE id = $1 AND revoked_at IS NULL
     RETURNING ${columns}`,
    [id, version],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The agent whose running run it is; null: there is none in the project. */
export async function findRunOwner(db: Queryable, projectId: string, runId: string): Promise<string | null> {
  const { rows } = await db.query<{ agent_id: string }>(
    "SELECT agent_id FROM runs WHERE id = $1 AND project_id = $2 AND state = 'running'",
    [runId, projectId],
  );
  return rows[0]?.agent_id ?? null;
}

/** Keys of the project that neither expired nor were revoked. */
export async function countActiveKeys(db: Queryable, projectId: string): Promise<bigint> {
  const { rows } = await db.query<{ active: bigint }>(
    // Two counts, since each is a range of the index api_keys_active and both in one condition are not.
    `SELECT (SELECT count(*) FROM api_keys WHERE project_id = $1 AND revoked_at IS NULL AND expires_at IS NULL)
          + (SELECT count(*) FROM api_keys WHERE project_id = $1 AND revoked_at IS NULL AND expires_at > now()) AS active`,
    [projectId],
  );
  return rows[0]?.active ?? 0n;
}

/** Keys of the project by time of creation, newest first, from below the key `beforeId` (null: from the newest). */
export async function selectKeys(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<KeyRecord[]> {
  // The cursor is an id, since a time in milliseconds would lose the microseconds that tell neighbours apart.
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM api_keys
     WHERE project_id = $1
       AND ($2::text IS NULL
         OR (created_at, id) < (SELECT created_at, id FROM api_keys WHERE id = $2 AND project_id = $1))
     ORDER BY created_at DESC, id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** For the control feed: what changed after `version`; from 0 without those that ended more than a day ago. */
export async function keysSince(db: Queryable, version: bigint): Promise<StoredKey[]> {
  const { rows } = await db.query<Row & { readonly secret_hash: Buffer }>(
    `SELECT ${columns}, secret_hash FROM api_keys
     WHERE control_version > $1
       AND ($1 > 0 OR coalesce(least(revoked_at, expires_at), 'infinity') > now() - interval '1 day')`,
    [version],
  );
  return rows.map((row) => ({ ...fromRow(row), secretHash: row.secret_hash }));
}

/** When keys were last used; of those that had never been used before, what the audit log says of them. */
export async function recordKeyUses(
  tx: Tx,
  uses: readonly { readonly keyId: string; readonly usedAt: number }[],
): Promise<string[]> {
  // Locked in one order, so that replicas that write the same keys do not wait for each other in a circle.
  const { rows } = await tx.query<{ id: string; first: boolean }>(
    `WITH used AS (SELECT * FROM unnest($1::text[], $2::timestamptz[]) AS used (id, used_at)),
       before AS (SELECT id, last_used_at FROM api_keys WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE)
     UPDATE api_keys SET last_used_at = greatest(before.last_used_at, used.used_at)
     FROM before JOIN used USING (id) WHERE api_keys.id = before.id
     RETURNING api_keys.id, before.last_used_at IS NULL AS first`,
    [uses.map((use) => use.keyId), uses.map((use) => new Date(use.usedAt))],
  );
  return rows.filter((row) => row.first).map((row) => row.id);
}
