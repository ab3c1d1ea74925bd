import { appendAudit } from '../audit/append.ts';
import { approvalGrantMsMax, approvalGrantUsesMax } from '../base/approval-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import { invalid } from '../identity/input.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import type { Approval } from './model.ts';
import { grantKey } from './what.ts';

/** What somebody who approves may add: the same again without asking. */
export interface RepeatGrant {
  readonly uses: number;
  readonly withinMs: number;
  /** Whatever the arguments; else the same ones alone. */
  readonly anyArguments: boolean;
}

/** @throws PortcullisError invalid_argument, policy_denied (high risk, or others must agree) */
export function requireGrantable(approval: Approval, { uses, withinMs }: RepeatGrant): void {
  if (!Number.isInteger(uses) || uses < 1 || uses > approvalGrantUsesMax)
    throw invalid('uses', `uses must be a whole number from 1 to ${approvalGrantUsesMax}.`);
  if (!Number.isInteger(withinMs) || withinMs < 1 || withinMs > approvalGrantMsMax)
    throw invalid('within', `within must be at most ${approvalGrantMsMax / 86_400_000} days, and more than nothing.`);
  const isCall = approval.kind === 'tool_call' || approval.kind === 'model_call';
  if (isCall && approval.risk !== 'high' && approval.quorum === 1) return;
  throw new PortcullisError(
    'policy_denied',
    'Only calls of normal risk that one person decides can be granted again: this one is decided each time.',
    { rule: 'approval.grant' },
  );
}

/** Grants it, in the decision's transaction. What was granted for the same before is replaced. */
export async function insertGrant(tx: Tx, approval: Approval, grantedBy: string, grant: RepeatGrant): Promise<void> {
  const { requester, runId, projectId } = approval;
  const of = { ...approval, requesterId: requester.id };
  await tx.query(
    `INSERT INTO approval_grants (key, approval_id, project_id, agent_id, run_id, granted_by, rule_digest, uses_left, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp() + $9 * interval '1 ms')
     ON CONFLICT (key) DO UPDATE SET approval_id = excluded.approval_id, granted_by = excluded.granted_by,
       rule_digest = excluded.rule_digest, uses_left = excluded.uses_left, expires_at = excluded.expires_at`,
    [
      grantKey(of, grant.anyArguments ? null : approval.digest),
      approval.id,
      projectId,
      requester.agentId,
      runId,
      grantedBy,
      approval.rule?.digest ?? null,
      grant.uses,
      grant.withinMs,
    ],
  );
}

/** What somebody would do again. */
export interface GrantUse extends Pick<Approval, 'projectId' | 'kind' | 'runId' | 'action' | 'digest'> {
  readonly requesterId: string;
  /** That of the rule which asks now; null: none does. */
  readonly ruleDigest: Buffer | null;
}

/** What let it through. */
export interface UsedGrant {
  readonly approvalId: string;
  readonly usesLeft: number;
}

/**
 * Takes one use of a grant that covers it: one conditional update each, so that no more run than were granted. A grant ends
 * with its run, with the agent, with whoever gave it, and with the rule that asked.
 * @returns null where none covers it: people must be asked
 */
export async function useGrant(db: Queryable, use: GrantUse): Promise<UsedGrant | null> {
  return (await takeOne(db, use, use.digest)) ?? takeOne(db, use, null);
}

async function takeOne(db: Queryable, use: GrantUse, digest: Buffer | null): Promise<UsedGrant | null> {
  const { rows } = await db.query<{ approvalId: string; usesLeft: number }>(
    `UPDATE approval_grants g SET uses_left = uses_left - 1
     WHERE key = $1 AND uses_left > 0 AND expires_at > clock_timestamp() AND rule_digest IS NOT DISTINCT FROM $2
       AND EXISTS (SELECT FROM people WHERE id = g.granted_by AND state = 'active'
                   AND roles && ARRAY['admin', 'approver'])
       AND (agent_id IS NULL OR EXISTS (SELECT FROM agents WHERE id = g.agent_id AND state = 'active'))
       AND (run_id IS NULL OR EXISTS (SELECT FROM runs WHERE id = g.run_id AND state = 'running'))
     RETURNING approval_id AS "approvalId", uses_left AS "usesLeft"`,
    [grantKey(use, digest), use.ruleDigest],
  );
  return rows[0] ?? null;
}

/** Takes one use, and says so in the audit log. */
export async function useGrantAudited(tx: Tx, use: GrantUse, requestId: string): Promise<UsedGrant | null> {
  const used = await useGrant(tx, use);
  if (!used) return null;
  await appendAudit(tx, {
    actor: { kind: 'unknown', id: use.requesterId },
    action: 'approval.grant_used',
    target: used.approvalId,
    projectId: use.projectId,
    requestId,
    payload: { action: use.action, digest: use.digest.toString('hex'), uses_left: used.usesLeft },
  });
  return used;
}

/** Deletes grants that are over, at most `limit`. @returns how many */
export async function purgeGrants(db: Queryable, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM approval_grants WHERE key IN
       (SELECT key FROM approval_grants WHERE expires_at <= clock_timestamp() LIMIT $1)`,
    [limit],
  );
  return rowCount ?? 0;
}
