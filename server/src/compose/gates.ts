/** What waits for people, and what follows when they decide. Part of the composition root: see main.ts. */
import type { Pool } from 'pg';
import { ask, requesterOf } from '../approval/asking.ts';
import { end, systemActor } from '../approval/ending.ts';
import { type Approval, isApproved } from '../approval/model.ts';
import type { Continuation, DecisionContext } from '../approval/outcomes.ts';
import { readWhat, withArguments } from '../approval/what.ts';
import type { Approvals } from '../approval/service.ts';
import { findUsable } from '../approval/store.ts';
import { useApproval } from '../approval/use.ts';
import { selectPendingOfKind } from '../approval/pending-of-kind.ts';
import { approvalUseMsMax } from '../base/approval-limits.ts';
import { PortcullisError } from '../base/errors.ts';
import { killReleaseAskedMs } from '../base/limits.ts';
import { checkCaps, enforceCaps } from '../budget/policy-caps.ts';
import { editCall } from '../gateway/models/edit-call.ts';
import { HeldCalls } from '../gateway/models/held-calls.ts';
import type { Tx } from '../pg/tx.ts';
import type { ChangeApprovals, ChangeRequest } from '../policy/change-approval.ts';
import { releaseApproved, type ReleaseApprovals } from '../policy/kill-release.ts';
import { PolicyVersions } from '../policy/version-service.ts';
import { gateDecided } from '../run/gates.ts';
import type { Plugged, StartedApprovals } from './approvals.ts';
import type { Base } from './base.ts';
import type { Store } from './database.ts';

export interface Gates {
  readonly policies: PolicyVersions;
  /** What startApprovals works with. */
  readonly plugged: Plugged;
}

/** The model calls that wait for people in this process: no more than half of those that may be in flight. */
export function createHeldCalls(
  { config }: Base,
  { pool }: Pick<Store, 'pool'>,
  { approvalWaits: waits }: Pick<StartedApprovals, 'approvalWaits'>,
): HeldCalls {
  const { APPROVAL_WAIT_MS: waitMs, CALLS_IN_FLIGHT_MAX: flights } = config.options;
  return new HeldCalls({ pool, waits, waitMs, maxHeld: Math.max(1, Math.floor(flights / 2)) });
}

/** The policy's own gate, and what becomes of decisions of each kind. */
export function createGates(pool: Pool): Gates {
  const policies = new PolicyVersions(pool, { checkCaps, enforceCaps }, changeApprovals);
  const policyChange: Continuation = (tx, version, approval, context) =>
    changeApproved(policies, tx, version, approval, context);
  return {
    policies,
    plugged: {
      continuations: { policy_change: policyChange, kill_release: killReleased, run_gate: gateDecided },
      editors: { model_call: editCall },
    },
  };
}

/** Asks for the approvals that the policy in force wants for a change of itself. */
export const changeApprovals: ChangeApprovals = {
  async ask(tx, change) {
    const ids: string[] = [];
    for (const required of change.required) ids.push(await askForChange(tx, change, required));
    return ids;
  },
  async cancelOthers(tx, projectId, requestId) {
    for (const id of await selectPendingOfKind(tx, projectId, 'policy_change'))
      await cancel(tx, id, 'Another version of the policy came in force.', requestId);
  },
};

async function askForChange(
  tx: Tx,
  change: ChangeRequest,
  required: ChangeRequest['required'][number],
): Promise<string> {
  const expiresInMs = Math.min(...change.required.map(({ expiryS }) => expiryS)) * 1000;
  const { approval } = await ask(tx, {
    projectId: change.projectId,
    kind: 'policy_change',
    requester: requesterOf(change.by),
    runId: null,
    action: 'policy.change',
    arguments: argumentsOf(change, required.rule),
    summary: `${change.summary} The rule "${required.rule}" asks for your approval.`,
    diff: change.diff,
    groups: required.approvers,
    quorum: required.quorum,
    ladder: required.escalation
      .map(({ afterS, approvers }) => ({ afterMs: afterS * 1000, groups: approvers }))
      .filter(({ afterMs }) => afterMs < expiresInMs),
    risk: required.risk,
    expiresInMs,
    useMs: approvalUseMsMax,
    rule: { name: required.rule, digest: Buffer.from(required.ruleDigest, 'hex') },
    requestId: change.requestId,
  });
  return approval.id;
}

/** What people approve: this document instead of that one, by each of these rules. */
interface ChangeArguments {
  readonly version: number;
  readonly sha256: string;
  readonly in_force: number | null;
  readonly rule: string;
  /** All that ask for an approval of it, by name, each with its digest. */
  readonly rules: { readonly [rule: string]: string };
}

function argumentsOf({ version, sha256, inForce, required }: ChangeRequest, rule: string) {
  const rules = Object.fromEntries(required.map((one) => [one.rule, one.ruleDigest]));
  return { version, sha256, in_force: inForce, rule, rules } satisfies ChangeArguments;
}

/** Puts the version in force when the last rule that asked has its approval; what was asked by others than the policy does nothing. */
async function changeApproved(
  policies: PolicyVersions,
  tx: Tx,
  version: bigint,
  approval: Approval,
  { personId, personName, requestId }: DecisionContext,
): Promise<void> {
  if (!isApproved(approval) || personId === null) return;
  if (approval.rule === null) throw notOurs('policy change');
  const args = readWhat(approval.what).arguments as unknown as ChangeArguments;
  const { projectId } = approval;
  const all: Approval[] = [];
  for (const rule of Object.keys(args.rules)) {
    const given = rule === args.rule ? approval : await approvedFor(tx, approval, args, rule);
    if (given === null) return;
    all.push(given);
  }
  await policies.enforceApproved(tx, version, {
    projectId,
    requestId,
    by: { kind: 'operator', id: personId, name: personName },
    version: args.version,
    inForce: args.in_force,
  });
  for (const { id, digest, rule } of all) await useApproval(tx, { id, digest, ruleDigest: rule?.digest ?? null });
}

/** The approval of the same change that another rule asked for; null while there is none. */
async function approvedFor(tx: Tx, approval: Approval, args: ChangeArguments, rule: string): Promise<Approval | null> {
  const { projectId, kind } = approval;
  const { digest } = withArguments(approval.what, { ...args, rule });
  const found = await findUsable(tx, { projectId, kind, digest });
  // Whoever asks by themselves names groups of their own, and no rule.
  const isOfRule = found?.rule?.name === rule && found.rule.digest.toString('hex') === args.rules[rule];
  return isOfRule ? found : null;
}

const killReleased: Continuation = async (tx, version, approval, { personId, personName, requestId }) => {
  if (!isApproved(approval) || personId === null) return;
  if (approval.decidedVia === 'link') {
    throw new PortcullisError(
      'policy_denied',
      'A link releases nothing: sign in, or use a key that you made yourself.',
      {
        rule: 'kill.two_people',
      },
    );
  }
  const { switch: id } = readWhat(approval.what).arguments as { readonly switch: string };
  await releaseApproved(tx, version, {
    id,
    approvalId: approval.id,
    kind: 'operator',
    personId,
    name: personName,
    requestId,
    askedBy: approval.requester.personId,
  });
};

/** How the second person of a release is asked (KILL_RELEASE_TWO_PEOPLE). */
export function releaseApprovals(approvals: Pick<Approvals, 'decide'>): ReleaseApprovals {
  return {
    async ask(tx, { by, requestId, projectId, kill }) {
      const { approval } = await ask(tx, {
        projectId,
        kind: 'kill_release',
        requester: requesterOf(by),
        runId: null,
        action: 'kill.release',
        arguments: { switch: kill.id, engaged_at: kill.engagedAt },
        summary: `${by.name} wants everything to go on that ${kill.engagedBy} stopped. It was stopped because: ${kill.reason}`,
        diff: null,
        groups: ['role:admin'],
        quorum: 1,
        ladder: [],
        risk: 'normal',
        expiresInMs: killReleaseAskedMs,
        useMs: killReleaseAskedMs,
        rule: null,
        requestId,
      });
      return approval.id;
    },
    cancel,
    async approve(id, { by, requestId, address }) {
      const { version } = await approvals.decide({
        by: { principal: by },
        requestId,
        id,
        projectId: null,
        action: 'approve',
        reason: '',
        text: null,
        editedArguments: undefined,
        seenDigest: null,
        grant: null,
        address,
      });
      return version;
    },
  };
}

async function cancel(tx: Tx, id: string, reason: string, requestId: string): Promise<void> {
  const how = { id, state: 'cancelled', decidedBy: null, decidedVia: null, reason, response: null } as const;
  await end(tx, how, { actor: systemActor, requestId });
}

function notOurs(what: string): PortcullisError {
  return new PortcullisError(
    'conflict',
    `Nothing that could be done waits for this ${what}: it was not asked by the gate.`,
  );
}
