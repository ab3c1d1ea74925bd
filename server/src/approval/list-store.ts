import type { Queryable } from '../pg/tx.ts';
import type { Approval, ApprovalState } from './model.ts';
import { type ApprovalRow, approvalColumns, fromRow } from './row.ts';

/** What of a project's requests is listed: null is any. */
export interface ListFilter {
  readonly projectId: string;
  readonly state: ApprovalState | null;
  readonly requesterId: string | null;
  readonly runId: string | null;
}

/** Newest first, from below `beforeId` (null: from the newest). Each combination that is named is read along an index. */
export async function selectApprovals(
  db: Queryable,
  { projectId, state, requesterId, runId }: ListFilter,
  beforeId: string | null,
  limit: number,
): Promise<Approval[]> {
  const values: unknown[] = [projectId, limit];
  const named = Object.entries({ state, requester_id: requesterId, run_id: runId }).filter(
    ([, value]) => value !== null,
  );
  const conditions = named.map(([column, value]) => `AND ${column} = $${values.push(value)}`);
  if (beforeId !== null) conditions.push(`AND id < $${values.push(beforeId)}`);
  const { rows } = await db.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals WHERE project_id = $1 ${conditions.join(' ')} ORDER BY id DESC LIMIT $2`,
    values,
  );
  return rows.map(fromRow);
}

/** How many wait for people, in all projects. */
export async function countAllPending(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM approvals WHERE state = 'pending'`,
  );
  return rows[0]?.count ?? 0;
}
