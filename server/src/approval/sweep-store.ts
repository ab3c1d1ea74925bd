import type { Queryable, Tx } from '../pg/tx.ts';
import type { Approval } from './model.ts';
import { type ApprovalRow, approvalColumns, fromRow } from './row.ts';

/** The statements of the sweep. What another process has in hand is left to it. */

/** Ids of requests whose time is over, at most `limit`. */
export async function selectOverdue(db: Queryable, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM approvals WHERE state = 'pending' AND expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $1`,
    [limit],
  );
  return rows.map(({ id }) => id);
}

/** A pending request, unless somebody else has it in hand. */
export async function takePending(tx: Tx, id: string): Promise<Approval | null> {
  const { rows } = await tx.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals WHERE id = $1 AND state = 'pending' FOR UPDATE SKIP LOCKED`,
    [id],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Requests with a step of their ladder due, at most `limit`. */
export async function takeEscalations(tx: Tx, limit: number): Promise<Approval[]> {
  const { rows } = await tx.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals
     WHERE state = 'pending' AND next_rung_at <= clock_timestamp() AND expires_at > clock_timestamp()
     ORDER BY next_rung_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
    [limit],
  );
  return rows.map(fromRow);
}

/** A step of the ladder was taken: these may decide now, and the next step is due so long after the request. */
export async function setRung(
  tx: Tx,
  id: string,
  step: { readonly rung: number; readonly groups: readonly string[]; readonly nextAfterMs: number | null },
): Promise<void> {
  await tx.query(
    `UPDATE approvals SET rung = $2, groups = $3, next_rung_at = created_at + $4 * interval '1 ms' WHERE id = $1`,
    [id, step.rung, [...step.groups], step.nextAfterMs],
  );
}

/** Deletes requests that ended so long ago, with their votes, grants and notices; at most `limit`. @returns how many */
export async function purgeApprovals(db: Queryable, keptMs: number, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM approvals WHERE id IN (
       SELECT id FROM approvals WHERE ended_at < now() - $1 * interval '1 ms' ORDER BY ended_at LIMIT $2)`,
    [keptMs, limit],
  );
  return rowCount ?? 0;
}
