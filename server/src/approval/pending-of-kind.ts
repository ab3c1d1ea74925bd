import type { Tx } from '../pg/tx.ts';
import type { ApprovalKind } from './model.ts';

/** The pending requests of a kind in a project, whose number is bounded; they stay so until the transaction ends. */
export async function selectPendingOfKind(tx: Tx, projectId: string, kind: ApprovalKind): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `SELECT id FROM approvals WHERE project_id = $1 AND state = 'pending' AND kind = $2 ORDER BY id FOR UPDATE`,
    [projectId, kind],
  );
  return rows.map(({ id }) => id);
}
