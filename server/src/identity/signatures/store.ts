import type { Queryable, Tx } from '../../pg/tx.ts';
import type { SignatureAlgorithm, SigningKeyRecord } from './model.ts';

/** A signing key with its sealed secret: for the index that verifies, and for nobody else. */
export interface StoredSigningKey extends SigningKeyRecord {
  readonly sealedSecret: Buffer | null;
}

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly key_id: string;
  readonly algorithm: SignatureAlgorithm;
  readonly public_key: Buffer | null;
  readonly created_at: Date;
  readonly created_by: string;
  readonly revoked_at: Date | null;
}

const columns = 'id, project_id, key_id, algorithm, public_key, created_at, created_by, revoked_at';

function fromRow(row: Row): SigningKeyRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    keyId: row.key_id,
    algorithm: row.algorithm,
    publicKey: row.public_key,
    createdAt: row.created_at.getTime(),
    createdBy: row.created_by,
    revokedAt: row.revoked_at?.getTime() ?? null,
  };
}

export type SigningKeyToInsert = Omit<StoredSigningKey, 'createdAt' | 'revokedAt'>;

export async function insertSigningKey(tx: Tx, version: bigint, key: SigningKeyToInsert): Promise<SigningKeyRecord> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO signing_keys (id, project_id, key_id, algorithm, public_key, sealed_secret, created_by, control_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ${columns}`,
    [key.id, key.projectId, key.keyId, key.algorithm, key.publicKey, key.sealedSecret, key.createdBy, version],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

export async function findSigningKey(db: Queryable, projectId: string, id: string): Promise<SigningKeyRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM signing_keys WHERE id = $1 AND project_id = $2`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Those of an API key that sign. */
export async function activeSigningKeys(db: Queryable, keyId: string): Promise<SigningKeyRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM signing_keys WHERE key_id = $1 AND revoked_at IS NULL ORDER BY id`,
    [keyId],
  );
  return rows.map(fromRow);
}

/** Signing keys of an API key, newest first, from below the one `beforeId` (null: from the newest); revoked ones included. */
export async function selectSigningKeys(
  db: Queryable,
  keyId: string,
  beforeId: string | null,
  limit: number,
): Promise<SigningKeyRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM signing_keys WHERE key_id = $1 AND ($2::text IS NULL OR id < $2) ORDER BY id DESC LIMIT $3`,
    [keyId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** Ends a signing key; its secret goes with it. @returns null when it is revoked already */
export async function setSigningKeyRevoked(tx: Tx, version: bigint, id: string): Promise<SigningKeyRecord | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE signing_keys SET revoked_at = now(), sealed_secret = NULL, control_version = $2
     WHERE id = $1 AND revoked_at IS NULL RETURNING ${columns}`,
    [id, version],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** For the control feed: what changed after `version`; from 0 those alone that sign for a key which may still be used. */
export async function signingKeysSince(db: Queryable, version: bigint): Promise<StoredSigningKey[]> {
  const { rows } = await db.query<Row & { readonly sealed_secret: Buffer | null }>(
    `SELECT ${columns}, sealed_secret FROM signing_keys
     WHERE control_version > $1
       AND ($1 > 0 OR revoked_at IS NULL AND EXISTS
         (SELECT FROM api_keys WHERE id = key_id AND coalesce(least(revoked_at, expires_at), 'infinity') > now()))`,
    [version],
  );
  return rows.map((row) => ({ ...fromRow(row), sealedSecret: row.sealed_secret }));
}

/** Takes a nonce; of any number of replicas at once one gets it. @returns whether it is ours */
export async function insertNonce(
  db: Queryable,
  signingKeyId: string,
  nonce: string,
  expiresAt: Date,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO signature_nonces (signing_key_id, nonce, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
    [signingKeyId, nonce, expiresAt],
  );
  return rowCount === 1;
}

/** Deletes so many nonces that were over before `before`; any number of processes at once. @returns how many there were */
export async function deleteExpiredNonces(db: Queryable, before: Date, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM signature_nonces WHERE (signing_key_id, nonce) IN
       (SELECT signing_key_id, nonce FROM signature_nonces WHERE expires_at < $1
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    [before, limit],
  );
  return rowCount ?? 0;
}

/** How many there are of each signing key that has any. */
export async function countNonces(db: Queryable): Promise<Map<string, bigint>> {
  const { rows } = await db.query<{ signing_key_id: string; count: bigint }>(
    'SELECT signing_key_id, count(*) AS count FROM signature_nonces GROUP BY signing_key_id',
  );
  return new Map(rows.map((row) => [row.signing_key_id, row.count]));
}
