import type { Queryable, Tx } from '../pg/tx.ts';
import type { DecisionAction, DecisionWay, Vote } from './model.ts';

interface Row {
  readonly approval_id: string;
  readonly person_id: string;
  readonly digest: Buffer;
  readonly action: DecisionAction;
  readonly via: DecisionWay;
  readonly reason: string;
  readonly address: string;
  readonly voted_at: Date;
}

/**
 * One vote of a person on a digest; a yes may become a no.
 * @returns false where this person voted on that digest already, or it is decided or overdue
 */
export async function insertVote(tx: Tx, vote: Omit<Vote, 'votedAt'>): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO approval_votes (approval_id, person_id, digest, action, via, reason, address)
     SELECT $1, $2, $3, $4, $5, $6, $7
     FROM approvals WHERE id = $1 AND state = 'pending' AND expires_at > clock_timestamp()
     ON CONFLICT (approval_id, person_id, digest) DO UPDATE
       SET action = excluded.action, via = excluded.via, reason = excluded.reason, address = excluded.address,
         voted_at = excluded.voted_at
       WHERE excluded.action IN ('reject', 'respond')`,
    [vote.approvalId, vote.personId, vote.digest, vote.action, vote.via, vote.reason, vote.address],
  );
  return rowCount === 1;
}

/** Votes on a request in their order, at most `limit`. */
export async function selectVotes(db: Queryable, approvalId: string, limit: number): Promise<Vote[]> {
  const { rows } = await db.query<Row>(
    `SELECT approval_id, person_id, digest, action, via, reason, address, voted_at
     FROM approval_votes WHERE approval_id = $1 ORDER BY voted_at, person_id LIMIT $2`,
    [approvalId, limit],
  );
  return rows.map((row) => ({
    approvalId: row.approval_id,
    personId: row.person_id,
    digest: row.digest,
    action: row.action,
    via: row.via,
    reason: row.reason,
    address: row.address,
    votedAt: row.voted_at.getTime(),
  }));
}
