import { appendAudit, type Actor } from '../audit/append.ts';
import type { AuditAction } from '../audit/actions.ts';
import type { JsonValue } from '../audit/canonical-json.ts';
import { approvalVotersMax } from '../base/approval-limits.ts';
import { emitEvent } from '../outbox/emit.ts';
import type { Tx } from '../pg/tx.ts';
import { type Approval, digestInForce, type OutcomeState } from './model.ts';
import { announce, endApproval, type End } from './store.ts';
import { selectVotes } from './vote-store.ts';

/** Who ended it, for the audit. */
export interface EndedBy {
  readonly actor: Actor;
  readonly requestId: string | null;
  /** How and from where. */
  readonly details?: { readonly [name: string]: JsonValue };
}

const actions = {
  approved: 'approval.decided',
  edited: 'approval.decided',
  rejected: 'approval.decided',
  expired: 'approval.expired',
  cancelled: 'approval.cancelled',
} as const satisfies Record<OutcomeState, AuditAction>;

export const systemActor: Actor = { kind: 'system', id: 'approvals' };

/**
 * Gives a request its outcome, with all that tells of it: the audit entry, the event, and whoever waits.
 * @returns null where it had an outcome already, or its time does not fit
 */
export async function end(tx: Tx, how: End, by: EndedBy): Promise<Approval | null> {
  const ended = await endApproval(tx, how);
  if (!ended) return null;
  await appendAudit(tx, {
    actor: by.actor,
    action: actions[how.state],
    target: ended.id,
    projectId: ended.projectId,
    requestId: by.requestId,
    payload: {
      kind: ended.kind,
      outcome: how.state,
      digest: digestInForce(ended).toString('hex'),
      reason: how.reason,
      ...by.details,
    },
  });
  await tell(tx, ended, how.state);
  await announce(tx, ended.id);
  return ended;
}

async function tell(tx: Tx, approval: Approval, outcome: OutcomeState): Promise<void> {
  const { id, kind, runId, projectId, reason } = approval;
  const about = { approval_id: id, kind, run_id: runId };
  if (outcome === 'expired') {
    await emitEvent(tx, { type: 'approval.expired', projectId, key: id, data: about });
    return;
  }
  await emitEvent(tx, {
    type: 'approval.decided',
    projectId,
    key: id,
    data: { ...about, outcome, decided_by: await decidersOf(tx, approval), reason },
  });
}

async function decidersOf(tx: Tx, approval: Approval): Promise<string[]> {
  if (approval.state === 'cancelled') return approval.decidedBy === null ? [] : [approval.decidedBy];
  const votes = await selectVotes(tx, approval.id, approvalVotersMax);
  const refused = approval.state === 'rejected';
  const made = votes.filter(({ action, digest }) =>
    refused ? action === 'reject' || action === 'respond' : digest.equals(digestInForce(approval)),
  );
  return made.map(({ personId }) => personId);
}
