import type { Queryable, Tx } from '../pg/tx.ts';

/** The statements of a release by two people (decision 0029). */

/** The request for approval by which a switch shall be released; null: none was asked for since it was engaged. */
export async function releaseApprovalOf(db: Queryable, id: string): Promise<string | null> {
  const { rows } = await db.query<{ approval: string | null }>(
    'SELECT release_approval_id AS approval FROM kill_switches WHERE id = $1',
    [id],
  );
  return rows[0]?.approval ?? null;
}

/** The request of the switch for everything that is engaged; null: none. */
export async function standingReleaseOfEverything(db: Queryable): Promise<string | null> {
  const { rows } = await db.query<{ approval: string | null }>(
    `SELECT release_approval_id AS approval FROM kill_switches
     WHERE scope = 'everything' AND released_at IS NULL AND NOT drill`,
  );
  return rows[0]?.approval ?? null;
}

export async function setReleaseApproval(tx: Tx, version: bigint, id: string, approvalId: string): Promise<void> {
  await tx.query('UPDATE kill_switches SET release_approval_id = $2, control_version = $3 WHERE id = $1', [
    id,
    approvalId,
    version,
  ]);
}
