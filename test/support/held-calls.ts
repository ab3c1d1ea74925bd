import { vi } from 'vitest';
import type { TestGate } from './gate.ts';

/** Approvals of calls, for tests of what waits for them. */

export interface HeldApproval {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  readonly digest: string;
  readonly editedDigest?: string;
  readonly requesterId: string;
  readonly requesterName: string;
  readonly summary: string;
  readonly diff?: string;
  readonly rule?: string;
  readonly whatJson?: string;
  readonly useTime?: string;
}

/** A key of a person with a role, as they would have made it in a session of theirs. */
export async function approverKey(gate: TestGate, name: string, role = 'approver'): Promise<string> {
  const { person } = await gate.api<{ person: { id: string } }>('ProjectService/CreatePerson', {
    email: `${name}@example.com`,
    name,
  });
  const { key, secret } = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
    personId: person.id,
    name,
    kind: 'PRINCIPAL_KIND_OPERATOR',
    scopes: ['admin'],
  });
  const { pool } = gate.database;
  await pool.query('UPDATE api_keys SET created_by = $2 WHERE id = $1', [key.id, person.id]);
  await pool.query('UPDATE people SET roles = ARRAY[$2] WHERE id = $1', [person.id, role]);
  return secret;
}

/** What is pending, newest first. */
export async function pendingApprovals(gate: TestGate, key: string): Promise<HeldApproval[]> {
  const { approvals = [] } = await gate.api<{ approvals?: HeldApproval[] }>(
    'ApprovalService/ListApprovals',
    { state: 'APPROVAL_STATE_PENDING', pageSize: 100 },
    key,
  );
  return approvals;
}

/** Waits until a call is pending whose arguments have that text. */
export function nextPendingWith(
  gate: TestGate,
  key: string,
  text: string,
  matches: (approval: HeldApproval) => boolean = () => true,
): Promise<HeldApproval> {
  return vi.waitFor(
    async () => {
      for (const { id } of await pendingApprovals(gate, key)) {
        const approval = await getApproval(gate, key, id);
        if (approval.whatJson?.includes(text) && matches(approval)) return approval;
      }
      throw new Error(`nothing with ${text} is pending`);
    },
    { timeout: 20_000, interval: 50 },
  );
}

/** Waits until something is pending that matches. */
export function nextPending(
  gate: TestGate,
  key: string,
  matches: (approval: HeldApproval) => boolean = () => true,
): Promise<HeldApproval> {
  return vi.waitFor(
    async () => {
      const found = (await pendingApprovals(gate, key)).find(matches);
      if (!found) throw new Error('nothing is pending');
      return getApproval(gate, key, found.id);
    },
    { timeout: 20_000, interval: 50 },
  );
}

export async function getApproval(gate: TestGate, key: string, approvalId: string): Promise<HeldApproval> {
  const { approval } = await gate.api<{ approval: HeldApproval }>('ApprovalService/GetApproval', { approvalId }, key);
  return approval;
}

export async function decideAs(
  gate: TestGate,
  key: string,
  approvalId: string,
  action: 'APPROVE' | 'REJECT' | 'EDIT' | 'RESPOND',
  more: object = {},
): Promise<HeldApproval> {
  const { approval } = await gate.api<{ approval: HeldApproval }>(
    'ApprovalService/DecideApproval',
    { approvalId, action: `APPROVAL_ACTION_${action}`, ...more },
    key,
  );
  return approval;
}

/** The arguments that people see, with another body. */
export function withBody(approval: HeldApproval, change: (body: Record<string, unknown>) => object): string {
  const { arguments: args } = JSON.parse(approval.whatJson ?? '{}') as {
    arguments: { body: Record<string, unknown> };
  };
  return JSON.stringify({ ...args, body: change(args.body) });
}

/** Puts rules in force. */
export async function putRules(gate: TestGate, rules: readonly object[], key?: string): Promise<void> {
  const { state } = await gate.api<{ state: { etag: string } }>('PolicyService/GetPolicy', {}, key);
  const document = { rules };
  await gate.api('PolicyService/SetPolicy', { document, stage: 'POLICY_STAGE_ENFORCED', etag: state.etag }, key);
}

/** A rule that wants model calls approved. */
export function approvalRule(name: string, condition: string, more: object = {}, rule: object = {}): object {
  return {
    name,
    actions: ['models.invoke'],
    condition,
    effect: 'RULE_EFFECT_REQUIRE_APPROVAL',
    approval: { approvers: ['role:approver'], ...more },
    ...rule,
  };
}
