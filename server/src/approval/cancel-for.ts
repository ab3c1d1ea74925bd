import type { Actor } from '../audit/append.ts';
import type { Tx } from '../pg/tx.ts';
import { end } from './ending.ts';
import type { Approval } from './model.ts';
import { type ApprovalRow, approvalColumns, fromRow } from './row.ts';

/** Whose requests end, and why. */
export interface CancelFor {
  readonly runId: string;
  readonly reason: string;
  readonly actor: Actor;
  readonly requestId: string;
}

/** Cancels what a run waits for, in the transaction that ends the run. @returns those that ended */
export async function cancelFor(tx: Tx, { runId, reason, actor, requestId }: CancelFor): Promise<Approval[]> {
  const { rows } = await tx.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals WHERE run_id = $1 AND state = 'pending' ORDER BY id FOR UPDATE`,
    [runId],
  );
  const ended: Approval[] = [];
  for (const { id } of rows.map(fromRow)) {
    const how = { id, state: 'cancelled', decidedBy: actor.id, decidedVia: null, reason, response: null } as const;
    const cancelled = await end(tx, how, { actor, requestId });
    if (cancelled) ended.push(cancelled);
  }
  return ended;
}
