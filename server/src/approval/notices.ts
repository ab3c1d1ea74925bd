import { approvalNoticeTriesMax } from '../base/approval-limits.ts';
import type { Queryable, Tx } from '../pg/tx.ts';

/** Whom to tell of a request: one notice for the request (step 0), one for each step of its ladder that was taken. */
export interface Notice {
  readonly approvalId: string;
  readonly rung: number;
  /** Those who are to be told by this notice. */
  readonly groups: readonly string[];
  /** From 1: which try this is. */
  readonly tries: number;
}

interface Row {
  readonly approval_id: string;
  readonly rung: number;
  readonly groups: string[];
  readonly tries: number;
}

export async function insertNotice(tx: Tx, notice: Omit<Notice, 'tries'>): Promise<void> {
  await tx.query('INSERT INTO approval_notices (approval_id, rung, groups) VALUES ($1, $2, $3)', [
    notice.approvalId,
    notice.rung,
    [...notice.groups],
  ]);
}

/**
 * Takes notices that are due, for `leaseMs`: whoever does not end one in that time leaves it to the next, `approvalNoticeTriesMax`
 * times. What is no longer pending is never taken.
 */
export async function claimNotices(db: Queryable, limit: number, leaseMs: number): Promise<Notice[]> {
  const { rows } = await db.query<Row>(
    `UPDATE approval_notices SET tries = tries + 1, due_at = clock_timestamp() + $2 * interval '1 ms'
     WHERE (approval_id, rung) IN (
       SELECT approval_id, rung FROM approval_notices n
       WHERE due_at <= clock_timestamp() AND tries < $3 AND EXISTS (
         SELECT FROM approvals a
         WHERE a.id = n.approval_id AND a.state = 'pending' AND a.expires_at > clock_timestamp())
       ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
     RETURNING approval_id, rung, groups, tries`,
    [limit, leaseMs, approvalNoticeTriesMax],
  );
  return rows.map(({ approval_id: approvalId, rung, groups, tries }) => ({ approvalId, rung, groups, tries }));
}

/** It was told, or there is nobody to tell. */
export async function endNotice(
  db: Queryable,
  { approvalId, rung }: Pick<Notice, 'approvalId' | 'rung'>,
): Promise<void> {
  await db.query('DELETE FROM approval_notices WHERE approval_id = $1 AND rung = $2', [approvalId, rung]);
}

/** Deletes notices that nobody will send any more, at most `limit`. @returns how many */
export async function purgeNotices(db: Queryable, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM approval_notices WHERE (approval_id, rung) IN (
       SELECT n.approval_id, n.rung FROM approval_notices n JOIN approvals a ON a.id = n.approval_id
       WHERE n.due_at <= clock_timestamp() AND (a.state <> 'pending' OR n.tries >= $2) LIMIT $1)`,
    [limit, approvalNoticeTriesMax],
  );
  return rowCount ?? 0;
}
