import { appendAudit } from '../audit/append.ts';
import {
  approvalActionCharsMax,
  approvalDiffCharsMax,
  approvalExpiryMsMax,
  approvalExpiryMsMin,
  approvalGroupCharsMax,
  approvalGroupsMax,
  approvalQuorumMax,
  approvalRungsMax,
  approvalsFullRetryS,
  approvalsPendingPerProjectMax,
  approvalsPendingPerRequesterMax,
  approvalSummaryCharsMax,
  approvalUseMsMax,
} from '../base/approval-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { nameCharsMax } from '../base/limits.ts';
import { invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { emitEvent } from '../outbox/emit.ts';
import type { Tx } from '../pg/tx.ts';
import { checkArguments } from './arguments.ts';
import { end, systemActor } from './ending.ts';
import type { Approval, ApprovalRequest, Requester } from './model.ts';
import { insertNotice } from './notices.ts';
import { defaultGroups, isGroup } from './rules.ts';
import {
  type ApprovalToInsert,
  countPending,
  findUsable,
  insertApproval,
  isOverdue,
  lockAsking,
  lockSame,
} from './store.ts';
import { shown } from './text.ts';
import { whatOf } from './what.ts';

/** What became of asking. */
export interface Asked {
  /** Pending; or, where it attached, perhaps approved already and not used yet. */
  readonly approval: Approval;
  /** Whether the same was asked before. */
  readonly attached: boolean;
}

/** Who asks, by their credential. */
export function requesterOf({ kind, id, name, agentId, personId, keyId }: Principal): Requester {
  return { kind, id, name: shown(name, nameCharsMax), agentId, personId, keyId };
}

/**
 * Asks people, in the caller's transaction. The same again, by the same requester under the same rule, attaches to what is
 * pending or was approved and is not used yet; anything else is another approval.
 * @throws PortcullisError invalid_argument, rate_limited (too much waits for people already)
 */
export async function ask(tx: Tx, request: ApprovalRequest): Promise<Asked> {
  const made = toInsert(request);
  await lockAsking(tx, request.projectId);
  const pending = await lockSame(tx, made);
  if (pending) {
    const standing = await standingOf(tx, pending, made);
    if (standing) return { approval: standing, attached: true };
  } else {
    const usable = await findUsable(tx, made);
    if (usable && isSameRule(usable, made)) return { approval: usable, attached: true };
  }
  await requireRoom(tx, request);
  const approval = await insertApproval(tx, made);
  await insertNotice(tx, { approvalId: approval.id, rung: 0, groups: approval.groups });
  await tellOfRequest(tx, approval, request.requestId);
  return { approval, attached: false };
}

/** The pending one where it still stands; else it is ended, in the right way. */
async function standingOf(tx: Tx, pending: Approval, made: ApprovalToInsert): Promise<Approval | null> {
  const by = { actor: systemActor, requestId: null };
  const none = { decidedBy: null, decidedVia: null, response: null };
  if (await isOverdue(tx, pending.id)) {
    await end(tx, { id: pending.id, state: 'expired', reason: '', ...none }, by);
    return null;
  }
  if (isSameRule(pending, made)) return pending;
  const reason = 'The rule that asked for it changed: it was asked anew.';
  await end(tx, { id: pending.id, state: 'cancelled', reason, ...none }, by);
  return null;
}

function isSameRule(one: Pick<Approval, 'rule'>, other: Pick<Approval, 'rule'>): boolean {
  if (one.rule === null || other.rule === null) return one.rule === other.rule;
  return one.rule.name === other.rule.name && one.rule.digest.equals(other.rule.digest);
}

async function requireRoom(tx: Tx, { projectId, requester }: ApprovalRequest): Promise<void> {
  const counted = await countPending(tx, projectId, requester.id, approvalsPendingPerProjectMax);
  const isFull = counted.project >= approvalsPendingPerProjectMax;
  if (!isFull && counted.requester < approvalsPendingPerRequesterMax) return;
  throw new PortcullisError(
    'rate_limited',
    isFull
      ? `${approvalsPendingPerProjectMax} requests of this project wait for people already.`
      : `${approvalsPendingPerRequesterMax} requests of yours wait for people already: wait for their answers, or cancel some.`,
    { retryAfterS: approvalsFullRetryS },
  );
}

async function tellOfRequest(tx: Tx, approval: Approval, requestId: string): Promise<void> {
  const { id, projectId, kind, runId, requester, summary, risk, digest } = approval;
  await appendAudit(tx, {
    actor: { kind: requester.kind, id: requester.id },
    action: 'approval.requested',
    target: id,
    projectId,
    requestId,
    payload: {
      kind,
      run_id: runId,
      action: approval.action,
      digest: digest.toString('hex'),
      groups: [...approval.groups],
      quorum: approval.quorum,
      risk,
      rule: approval.rule?.name ?? null,
    },
  });
  await emitEvent(tx, {
    type: 'approval.requested',
    projectId,
    key: id,
    data: {
      approval_id: id,
      kind,
      run_id: runId,
      summary,
      requested_by: requester.id,
      risk,
      digest: digest.toString('hex'),
      expires_at: new Date(approval.expiresAt).toISOString(),
    },
  });
}

/** @throws PortcullisError invalid_argument */
function toInsert(request: ApprovalRequest): ApprovalToInsert {
  const { arguments: args, requestId: _, ...asked } = request;
  const { requester, runId } = asked;
  const action = asked.action.trim();
  if (action === '' || action.length > approvalActionCharsMax || /[\p{C}\p{Zl}\p{Zp}]/u.test(action))
    throw invalid('action', `action must be one line of 1 to ${approvalActionCharsMax} characters.`);
  const groups = checkGroups('groups', asked.groups.length === 0 ? defaultGroups : asked.groups);
  checkWhole('quorum', asked.quorum, 1, approvalQuorumMax);
  checkWhole('expiry', asked.expiresInMs, approvalExpiryMsMin, approvalExpiryMsMax);
  checkWhole('use', asked.useMs, 1, approvalUseMsMax);
  checkLadder(asked);
  const summary = shown(asked.summary, approvalSummaryCharsMax);
  const diff = asked.diff === null ? null : shown(asked.diff, approvalDiffCharsMax);
  const what = whatOf(requester, { action, runId, args: checkArguments('arguments', args) });
  return { ...asked, ...what, id: newId('apr'), action, groups, summary, diff };
}

function checkLadder({
  ladder,
  expiresInMs,
}: ApprovalRequest | Omit<ApprovalRequest, 'arguments' | 'requestId'>): void {
  if (ladder.length > approvalRungsMax) throw invalid('ladder', `ladder may have at most ${approvalRungsMax} steps.`);
  let before = 0;
  for (const { afterMs, groups } of ladder) {
    checkGroups('ladder', groups);
    checkWhole('ladder', afterMs, 1, approvalExpiryMsMax);
    if (afterMs <= before) throw invalid('ladder', 'ladder must have its steps in order, soonest first.');
    if (afterMs >= expiresInMs)
      throw invalid('ladder', 'ladder has a step that would come when the request has expired.');
    before = afterMs;
  }
}

function checkGroups(param: string, groups: readonly string[]): string[] {
  if (groups.length === 0 || groups.length > approvalGroupsMax)
    throw invalid(param, `${param} must name 1 to ${approvalGroupsMax} groups.`);
  const wrong = groups.find((group) => group.length > approvalGroupCharsMax || !isGroup(group));
  if (wrong === undefined) return [...new Set(groups)];
  throw invalid(
    param,
    `${param} must be of role:<role>, team:<name> or person:<e-mail>; "${shown(wrong, 100)}" is none.`,
  );
}

function checkWhole(param: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw invalid(param, `${param} must be a whole number from ${min} to ${max}.`);
}
