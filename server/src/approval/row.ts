import type { PrincipalKind } from '../identity/model.ts';
import type { Approval, ApprovalKind, ApprovalState, DecisionWay, Risk } from './model.ts';

export interface ApprovalRow {
  readonly id: string;
  readonly project_id: string;
  readonly kind: ApprovalKind;
  readonly state: ApprovalState;
  readonly risk: Risk;
  readonly requester_kind: PrincipalKind;
  readonly requester_id: string;
  readonly requester_name: string;
  readonly requester_agent_id: string | null;
  readonly requester_person_id: string | null;
  readonly requester_key_id: string | null;
  readonly run_id: string | null;
  readonly action: string;
  readonly what: string;
  readonly digest: Buffer;
  readonly edited_what: string | null;
  readonly edited_digest: Buffer | null;
  readonly summary: string;
  readonly diff: string | null;
  readonly rule_name: string | null;
  readonly rule_digest: Buffer | null;
  readonly groups: string[];
  readonly quorum: number;
  readonly ladder: readonly { readonly after_ms: number; readonly groups: readonly string[] }[];
  readonly rung: number;
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly ended_at: Date | null;
  readonly decided_by: string | null;
  readonly decided_via: DecisionWay | null;
  readonly reason: string;
  readonly response: string | null;
  readonly used_at: Date | null;
}

const names = `id project_id kind state risk requester_kind requester_id requester_name requester_agent_id
  requester_person_id requester_key_id run_id action what digest edited_what edited_digest summary diff rule_name
  rule_digest groups quorum ladder rung created_at expires_at ended_at decided_by decided_via reason response used_at`;

/** The columns of an approval. */
export const approvalColumns = names
  .split(/\s+/)
  .map((name) => `approvals.${name}`)
  .join(', ');

export function fromRow(row: ApprovalRow): Approval {
  const { rule_name: ruleName, rule_digest: ruleDigest } = row;
  return {
    id: row.id,
    projectId: row.project_id,
    kind: row.kind,
    state: row.state,
    risk: row.risk,
    requester: {
      kind: row.requester_kind,
      id: row.requester_id,
      name: row.requester_name,
      agentId: row.requester_agent_id,
      personId: row.requester_person_id,
      keyId: row.requester_key_id,
    },
    runId: row.run_id,
    action: row.action,
    what: row.what,
    digest: row.digest,
    editedWhat: row.edited_what,
    editedDigest: row.edited_digest,
    summary: row.summary,
    diff: row.diff,
    rule: ruleName !== null && ruleDigest !== null ? { name: ruleName, digest: ruleDigest } : null,
    groups: row.groups,
    quorum: row.quorum,
    ladder: row.ladder.map(({ after_ms: afterMs, groups }) => ({ afterMs, groups })),
    rung: row.rung,
    createdAt: row.created_at.getTime(),
    expiresAt: row.expires_at.getTime(),
    endedAt: row.ended_at?.getTime() ?? null,
    decidedBy: row.decided_by,
    decidedVia: row.decided_via,
    reason: row.reason,
    response: row.response,
    usedAt: row.used_at?.getTime() ?? null,
  };
}
