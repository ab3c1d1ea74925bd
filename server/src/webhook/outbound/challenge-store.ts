import type { Queryable, Tx } from '../../pg/tx.ts';

/** A challenge that is to be sent now. */
export interface DueChallenge {
  readonly id: string;
  readonly endpointId: string;
  readonly projectId: string;
  readonly url: string;
  /** Counts this attempt too. */
  readonly attempts: number;
}

/**
 * Begins to verify the URL of an endpoint: what was asked of another URL is forgotten. The first attempt is due at once, but
 * no sooner after the last one than `gapMs`, so that nobody has the gate knock at others in quick succession.
 */
export async function putChallenge(
  tx: Tx,
  challenge: { readonly endpointId: string; readonly projectId: string; readonly id: string },
  gapMs: number,
): Promise<void> {
  await tx.query(
    `INSERT INTO webhook_challenges AS c (endpoint_id, project_id, id, next_at) VALUES ($1, $2, $3, now())
     ON CONFLICT (endpoint_id) DO UPDATE
     SET id = $3, attempts = 0, error = '', next_at = greatest(now(), c.last_at + $4 * interval '1 ms')`,
    [challenge.endpointId, challenge.projectId, challenge.id, gapMs],
  );
}

/** The challenge is sent when its endpoint is enabled again. */
export async function pauseChallenge(tx: Tx, endpointId: string): Promise<void> {
  await tx.query('UPDATE webhook_challenges SET next_at = NULL WHERE endpoint_id = $1', [endpointId]);
}

/**
 * Takes challenges that are due, the longest first, for `leaseMs`: after that another process takes them again.
 * @param busyProjects of which none are taken
 */
export async function claimChallenges(
  db: Queryable,
  limit: number,
  leaseMs: number,
  busyProjects: readonly string[],
): Promise<DueChallenge[]> {
  const { rows } = await db.query<DueChallenge>(
    `WITH due AS (
       SELECT endpoint_id FROM webhook_challenges
       WHERE next_at <= now() AND project_id <> ALL ($3)
       ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED)
     UPDATE webhook_challenges AS c
     SET attempts = c.attempts + 1, last_at = now(), next_at = now() + $2 * interval '1 ms'
     FROM due, webhook_endpoints AS e
     WHERE c.endpoint_id = due.endpoint_id AND e.id = c.endpoint_id
     RETURNING c.id, c.endpoint_id AS "endpointId", c.project_id AS "projectId", e.url, c.attempts`,
    [limit, leaseMs, [...busyProjects]],
  );
  return rows;
}

/** The challenge was answered: it is over. @returns false where another one took its place meanwhile, or none is open */
export async function deleteChallenge(tx: Tx, { endpointId, id }: DueChallenge): Promise<boolean> {
  const { rowCount } = await tx.query('DELETE FROM webhook_challenges WHERE endpoint_id = $1 AND id = $2', [
    endpointId,
    id,
  ]);
  return rowCount === 1;
}

/** An attempt failed. One that was paused, or replaced, meanwhile stays so. @param retryMs null gives it up */
export async function setChallengeFailed(
  db: Queryable,
  { endpointId, id, attempts }: DueChallenge,
  error: string,
  retryMs: number | null,
): Promise<void> {
  await db.query(
    `UPDATE webhook_challenges SET error = $4, next_at = now() + $5 * interval '1 ms'
     WHERE endpoint_id = $1 AND id = $2 AND attempts = $3 AND next_at IS NOT NULL`,
    [endpointId, id, attempts, error, retryMs],
  );
}
