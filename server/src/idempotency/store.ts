import type { Queryable } from '../pg/tx.ts';
import type { Claim, KeyRecord } from './model.ts';

export interface NewClaim extends Claim {
  readonly projectId: string;
  readonly fingerprint: Buffer;
  readonly leaseUntil: Date;
  readonly expiresAt: Date;
}

/** Takes a key that nobody has, or whose time is over at `now`; of any number at once one gets it. @returns whether it is ours */
export async function insertClaim(db: Queryable, claim: NewClaim, now: Date): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO idempotency_keys AS old (id, project_id, fingerprint, claim_id, lease_until, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (id) DO UPDATE
       SET fingerprint = excluded.fingerprint, claim_id = excluded.claim_id, lease_until = excluded.lease_until,
           expires_at = excluded.expires_at, finished_at = NULL, answer = NULL
       WHERE old.expires_at <= $7`,
    [claim.id, claim.projectId, claim.fingerprint, claim.claimId, claim.leaseUntil, claim.expiresAt, now],
  );
  return rowCount === 1;
}

interface Row {
  readonly fingerprint: Buffer;
  readonly lease_until: Date;
  readonly finished_at: Date | null;
  readonly answer: Buffer | null;
}

/** `fingerprint` is of the request that asks: another one has no use for the answer. */
export async function findKey(db: Queryable, id: Buffer, fingerprint: Buffer): Promise<KeyRecord | null> {
  const { rows } = await db.query<Row>(
    `SELECT fingerprint, lease_until, finished_at, CASE WHEN fingerprint = $2 THEN answer END AS answer
     FROM idempotency_keys WHERE id = $1`,
    [id, fingerprint],
  );
  const [row] = rows;
  if (!row) return null;
  return {
    fingerprint: row.fingerprint,
    leaseUntil: row.lease_until.getTime(),
    finishedAt: row.finished_at?.getTime() ?? null,
    answer: row.answer,
  };
}

/** Ends a claim with its answer, or with the fact that there was one. @returns false when it was not ours any more */
export async function finishClaim(
  db: Queryable,
  claim: Claim,
  answer: Buffer | null,
  now: Date,
  expiresAt: Date,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE idempotency_keys SET answer = $3, finished_at = $4, expires_at = $5
     WHERE id = $1 AND claim_id = $2 AND finished_at IS NULL`,
    [claim.id, claim.claimId, answer, now, expiresAt],
  );
  return rowCount === 1;
}

/** Gives a key back, so that the request can be made again under it. */
export async function deleteClaim(db: Queryable, claim: Claim): Promise<void> {
  await db.query('DELETE FROM idempotency_keys WHERE id = $1 AND claim_id = $2 AND finished_at IS NULL', [
    claim.id,
    claim.claimId,
  ]);
}

/** Deletes so many rows whose time is over at `now`; any number of processes at once. @returns how many there were */
export async function deleteExpiredKeys(db: Queryable, now: Date, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM idempotency_keys WHERE id IN
       (SELECT id FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    [now, limit],
  );
  return rowCount ?? 0;
}

/** Drops the oldest answers of each project beyond so many bytes; their keys stay used. @returns how many */
export async function dropOldAnswers(db: Queryable, bytesMax: number): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE idempotency_keys SET answer = NULL WHERE id IN
       (SELECT id FROM (
          SELECT id, sum(octet_length(answer)) OVER (PARTITION BY project_id ORDER BY finished_at DESC, id) AS bytes
          FROM idempotency_keys WHERE answer IS NOT NULL) AS kept
        WHERE bytes > $1)`,
    [bytesMax],
  );
  return rowCount ?? 0;
}
