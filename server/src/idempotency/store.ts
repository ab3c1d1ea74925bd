import type { Queryable } from '../pg/tx.ts';
import type { Claim, KeyRecord } from './model.ts';

export interface NewClaim extends Claim {
  readonly projectId: string;
  readonly fingerprint: Buffer;
  readonly expiresAt: Date;
}

/** Takes a key that nobody has, or whose time is over at `now`; of any number at once one gets it. @returns whether it is ours */
export async function insertClaim(db: Queryable, claim: NewClaim, now: Date): Promise<boolean> {
  const { rowCount } = await db.query(
    `INSERT INTO idempotency_keys AS old (id, project_id, fingerprint, claim_id, lease_until, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (id) DO UPDATE
       SET fingerprint = excluded.fingerprint, claim_id = excluded.claim_id, lease_until = excluded.lease_until,
           expires_at = excluded.expires_at, finished_at = NULL, answer = NULL, effect_version = NULL
       WHERE old.expires_at <= $7`,
    [claim.id, claim.projectId, claim.fingerprint, claim.claimId, new Date(claim.leaseUntil), claim.expiresAt, now],
  );
  return rowCount === 1;
}

interface Row {
  readonly fingerprint: Buffer;
  readonly lease_until: Date;
  readonly finished_at: Date | null;
  readonly answer: Buffer | null;
  readonly effect_version: bigint | null;
}

/** `fingerprint` is of the request that asks: another one has no use for the answer. */
export async function findKey(db: Queryable, id: Buffer, fingerprint: Buffer): Promise<KeyRecord | null> {
  const { rows } = await db.query<Row>(
    `SELECT fingerprint, lease_until, finished_at, effect_version, CASE WHEN fingerprint = $2 THEN answer END AS answer
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
    version: row.effect_version,
  };
}

/**
 * Ends a claim with its answer, or with the fact that there was one.
 * @param version the control version that the answer tells of; null for none
 * @returns false when it was not ours any more
 */
export async function finishClaim(
  db: Queryable,
  claim: Claim,
  answer: Buffer | null,
  now: Date,
  expiresAt: Date,
  version: bigint | null = null,
): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE idempotency_keys SET answer = $3, finished_at = $4, expires_at = $5, effect_version = $6
     WHERE id = $1 AND claim_id = $2 AND finished_at IS NULL`,
    [claim.id, claim.claimId, answer, now, expiresAt, version],
  );
  return rowCount === 1;
}

/** Gives keys back, so that their requests can be made again under them. What is not ours any more stays as it is. */
export async function deleteClaims(db: Queryable, claims: readonly Claim[]): Promise<void> {
  await db.query(
    `DELETE FROM idempotency_keys AS k USING unnest($1::bytea[], $2::text[]) AS given (id, claim_id)
     WHERE k.id = given.id AND k.claim_id = given.claim_id AND k.finished_at IS NULL`,
    [claims.map(({ id }) => id), claims.map(({ claimId }) => claimId)],
  );
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

/** The projects that have answers: a step on the index for each, however many answers there are. */
export async function projectsWithAnswers(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `WITH RECURSIVE found (id) AS (
       (SELECT project_id FROM idempotency_keys WHERE answer IS NOT NULL ORDER BY project_id LIMIT 1)
       UNION ALL
       SELECT (SELECT project_id FROM idempotency_keys WHERE answer IS NOT NULL AND project_id > found.id
               ORDER BY project_id LIMIT 1)
       FROM found WHERE found.id IS NOT NULL)
     SELECT id FROM found WHERE id IS NOT NULL`,
  );
  return rows.map(({ id }) => id);
}

/** How much a project may have. */
export interface Room {
  readonly answers: number;
  readonly bytes: number;
}

/** When the newest answer ended that a project has no room for; null when it has room for all. */
export async function newestBeyond(db: Queryable, projectId: string, room: Room): Promise<Date | null> {
  const { rows } = await db.query<{ finished_at: Date | null }>(
    `SELECT max(finished_at) AS finished_at FROM
       (SELECT finished_at, row_number() OVER newest AS place, sum(answer_bytes) OVER newest AS bytes FROM
          (SELECT finished_at, answer_bytes FROM idempotency_keys
           WHERE project_id = $1 AND answer IS NOT NULL ORDER BY finished_at DESC LIMIT $2::bigint + 1) AS kept
        WINDOW newest AS (ORDER BY finished_at DESC ROWS UNBOUNDED PRECEDING)) AS placed
     WHERE place > $2 OR bytes > $3`,
    [projectId, room.answers, room.bytes],
  );
  return rows[0]?.finished_at ?? null;
}

/** Drops so many answers of a project that ended at `until` or before; their keys stay used. @returns how many there were */
export async function dropAnswers(db: Queryable, projectId: string, until: Date, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE idempotency_keys SET answer = NULL WHERE id IN
       (SELECT id FROM idempotency_keys WHERE project_id = $1 AND answer IS NOT NULL AND finished_at <= $2
        ORDER BY finished_at LIMIT $3 FOR UPDATE SKIP LOCKED)`,
    [projectId, until, limit],
  );
  return rowCount ?? 0;
}
