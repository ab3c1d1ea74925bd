import { rejectionStandsMs } from '../base/approval-limits.ts';
import type { Queryable } from '../pg/tx.ts';
import type { Approval, ApprovalRequest } from './model.ts';
import { type ApprovalRow, approvalColumns, fromRow } from './row.ts';

/**
 * What people decided against a short while ago, of this very digest under this very rule: whoever asks the same again is told
 * the reason, and people are not asked again and again. Null where there is none.
 */
export async function findStandingRejection(
  db: Queryable,
  { projectId, kind, rule }: Pick<ApprovalRequest, 'projectId' | 'kind' | 'rule'>,
  digest: Buffer,
): Promise<Approval | null> {
  const { rows } = await db.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals
     WHERE project_id = $1 AND kind = $2 AND digest = $3 AND state = 'rejected' AND rule_digest IS NOT DISTINCT FROM $4
       AND ended_at > clock_timestamp() - $5 * interval '1 ms'
     ORDER BY ended_at DESC LIMIT 1`,
    [projectId, kind, digest, rule?.digest ?? null, rejectionStandsMs],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}
