import type { JsonValue } from '../audit/canonical-json.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import type { Tx } from '../pg/tx.ts';
import { type CompiledPolicy, compilePolicy } from './compiled-policy.ts';
import { documentFromJson, type PolicyDocument, readableDocument } from './document.ts';
import type { DocumentDiff } from './document-diff.ts';
import { boundArgs, type Facts } from './facts.ts';
import type { RequiredApproval } from './judge.ts';
import { principalFacts } from './principal-facts.ts';
import { judge } from './rules.ts';
import type { StoredVersion } from './version-store.ts';

/** A version that shall be in force, once people approved it. */
export interface ChangeRequest {
  readonly by: Principal;
  readonly requestId: string;
  readonly projectId: string;
  readonly version: number;
  /** Of its document, in hexadecimal. */
  readonly sha256: string;
  /** What is in force, and must be when it is approved. */
  readonly inForce: number | null;
  readonly required: readonly RequiredApproval[];
  readonly summary: string;
  readonly diff: string;
}

/** Asks people; handed in by the composition, since approval/ is a sibling. */
export interface ChangeApprovals {
  /** Asks for all that is required. @returns the ids of the requests, in the order of the rules */
  readonly ask: (tx: Tx, request: ChangeRequest) => Promise<readonly string[]>;
  /** Another version came in force: what people were asked about before is no change of it. */
  readonly cancelOthers: (tx: Tx, projectId: string, requestId: string) => Promise<void>;
}

/** What is about to be put in force. */
export interface ProposedChange {
  readonly by: Principal;
  readonly diff: Partial<DocumentDiff>;
  readonly document: PolicyDocument;
}

/**
 * The approvals that the policy in force wants for a change of itself. It cannot deny one, which would lock it for ever: a
 * condition that fails asks for the approvals of all its rules.
 * @throws PortcullisError unavailable where this server cannot read the rules in force that judge changes
 */
export async function requiredForChange(
  tx: Tx,
  inForce: StoredVersion | null,
  change: ProposedChange,
): Promise<readonly RequiredApproval[]> {
  if (inForce === null || !mentionsChanges(inForce.document)) return [];
  if (readableDocument(inForce.document) === null) {
    throw new PortcullisError(
      'unavailable',
      'The policy in force wants changes approved in a way that this server cannot read: update it.',
    );
  }
  const policy = await compilePolicy(documentFromJson(inForce.document));
  const { decision } = judge(policy.rules, await factsOf(tx, change));
  const asked = decision.outcome === 'deny' ? allOf(policy) : decision.approvals;
  return asked.map((one) => ({ ...one, ruleDigest: policy.approving.get(one.rule) ?? '' }));
}

function allOf({ rules }: CompiledPolicy) {
  return (rules.get('policy.change') ?? []).flatMap(({ name, effect, mode }) =>
    effect.kind === 'require_approval' && mode === 'enforce' ? [{ rule: name, ...effect }] : [],
  );
}

/** A word in another place costs time, no more. */
function mentionsChanges(document: JsonValue): boolean {
  return JSON.stringify(document).includes('"policy.change"');
}

async function factsOf(tx: Tx, { by, diff, document }: ProposedChange): Promise<Facts> {
  const { rows } = await tx.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  const { added = [], changed = [], removed = [] } = diff;
  return {
    action: 'policy.change',
    principal: principalFacts(by),
    resource: { type: 'policy', name: 'policy', provider: '', route: '' },
    args: boundArgs({ added, changed, removed, rule_count: document.rules.length, cap_count: document.caps.length })
      .args,
    run: null,
    time: rows[0]?.now.getTime() ?? 0,
  };
}
