import type { JsonValue } from '../audit/canonical-json.ts';
import type { PrincipalKind } from '../identity/model.ts';

export const approvalKinds = ['tool_call', 'model_call', 'run_gate', 'policy_change', 'kill_release'] as const;
export type ApprovalKind = (typeof approvalKinds)[number];

export const outcomeStates = ['approved', 'rejected', 'edited', 'expired', 'cancelled'] as const;
export type OutcomeState = (typeof outcomeStates)[number];

export const approvalStates = ['pending', ...outcomeStates] as const;
export type ApprovalState = (typeof approvalStates)[number];

export const risks = ['normal', 'high'] as const;
export type Risk = (typeof risks)[number];

export const decisionActions = ['approve', 'reject', 'edit', 'respond'] as const;
export type DecisionAction = (typeof decisionActions)[number];

/** How a person showed that it is they: in a session, with a key of their own, or by a link that was sent to them. */
export const decisionWays = ['session', 'key', 'link'] as const;
export type DecisionWay = (typeof decisionWays)[number];

/** Who asks, as the credential says. */
export interface Requester {
  readonly kind: PrincipalKind;
  readonly id: string;
  readonly name: string;
  readonly agentId: string | null;
  /** Who calls, or who answers for the agent that does; null: nobody in particular. They never decide. */
  readonly personId: string | null;
  readonly keyId: string | null;
}

/** What is to be approved: exactly this. Its digest is SHA-256 of its canonical JSON. */
export interface What {
  readonly action: string;
  readonly arguments: JsonValue;
  readonly principal: { readonly id: string; readonly kind: PrincipalKind };
  readonly run: string | null;
}

/** A step of escalation: from so many milliseconds after the request these groups may decide too, and are told. */
export interface Rung {
  readonly afterMs: number;
  readonly groups: readonly string[];
}

/** What asked for the approval: when its digest changes, the approval is void. */
export interface AskingRule {
  readonly name: string;
  readonly digest: Buffer;
}

/** A request for a decision. */
export interface ApprovalRequest {
  readonly projectId: string;
  readonly kind: ApprovalKind;
  readonly requester: Requester;
  readonly runId: string | null;
  /** Such as `models.invoke:opus`: what a repeat grant is for. */
  readonly action: string;
  readonly arguments: JsonValue;
  /** For people; cleaned and cut to bounds here. */
  readonly summary: string;
  readonly diff: string | null;
  /** `role:<role>`, `team:<name>` or `person:<email>`; empty: role:approver. */
  readonly groups: readonly string[];
  readonly quorum: number;
  readonly ladder: readonly Rung[];
  readonly risk: Risk;
  readonly expiresInMs: number;
  /** How long after the decision it may be used. */
  readonly useMs: number;
  readonly rule: AskingRule | null;
  readonly requestId: string;
}

export interface Approval {
  readonly id: string;
  readonly projectId: string;
  readonly kind: ApprovalKind;
  readonly state: ApprovalState;
  readonly risk: Risk;
  readonly requester: Requester;
  readonly runId: string | null;
  readonly action: string;
  /** Canonical JSON of {@link What}, as asked. */
  readonly what: string;
  readonly digest: Buffer;
  /** What stands to be approved instead after an edit, or was. */
  readonly editedWhat: string | null;
  readonly editedDigest: Buffer | null;
  readonly summary: string;
  readonly diff: string | null;
  readonly rule: AskingRule | null;
  /** Who may decide now. */
  readonly groups: readonly string[];
  readonly quorum: number;
  readonly ladder: readonly Rung[];
  /** How many steps of the ladder were taken. */
  readonly rung: number;
  /** Epoch milliseconds by the database's clock, as all times here. */
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly endedAt: number | null;
  /** The person whose vote decided; of a cancellation who asked for it, null the system. */
  readonly decidedBy: string | null;
  readonly decidedVia: DecisionWay | null;
  readonly reason: string;
  /** What a person answered instead of letting it run. */
  readonly response: string | null;
  readonly usedAt: number | null;
}

export interface Vote {
  readonly approvalId: string;
  readonly personId: string;
  readonly digest: Buffer;
  readonly action: DecisionAction;
  readonly via: DecisionWay;
  readonly reason: string;
  readonly address: string;
  readonly votedAt: number;
}

/** The digest in force: the edited one where there is one. */
export function digestInForce({ digest, editedDigest }: Pick<Approval, 'digest' | 'editedDigest'>): Buffer {
  return editedDigest ?? digest;
}

/** What runs when it is approved, as canonical JSON of {@link What}. */
export function whatInForce({ what, editedWhat }: Pick<Approval, 'what' | 'editedWhat'>): string {
  return editedWhat ?? what;
}

/** Whether what was asked for may run. */
export function isApproved({ state }: Pick<Approval, 'state'>): boolean {
  return state === 'approved' || state === 'edited';
}
