import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Metrics } from '../base/metrics.ts';
import { type CallFacts, type Judgement, judgeCall } from './judgement.ts';
import type { JudgingVersion, PolicyIndex, ProjectPolicy } from './policy-index.ts';
import type { PolicyRecords } from './record-writer.ts';
import type { ApprovalRequirement, Decision, Effect } from './rules.ts';

/** What a shadow rule of the version in force, or the version in shadow, would have made of a call; only what differs. */
export interface PolicyShadow {
  readonly policyVersion: number;
  /** Null where no rule matched. */
  readonly rule?: string;
  readonly verdict: Effect['kind'];
}

/** What becomes of a call. */
export interface JudgedCall {
  /** Null where it may go on. */
  readonly refusal: PortcullisError | null;
  /** The providers to which it may go; null is any. */
  readonly providers: ReadonlySet<string> | null;
  readonly shadows: readonly PolicyShadow[];
}

export interface JudgeOptions {
  readonly index: PolicyIndex;
  /** Null where nothing is recorded. */
  readonly records: PolicyRecords | null;
  readonly metrics: Pick<Metrics, 'policyDecisions' | 'policyEvaluation' | 'policyEvaluationErrors'>;
  readonly clock: Clock;
}

const passed: JudgedCall = { refusal: null, providers: null, shadows: [] };
const byScopes: Decision = { outcome: 'allow', rule: null, approvals: [] };

/** Judges calls by the policy of their project, and records what it saw. */
export class PolicyJudge {
  readonly #options: JudgeOptions;

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  /** @param factsOf made only where somebody looks at them */
  judge(projectId: string, requestId: string, factsOf: () => CallFacts): JudgedCall {
    const { index, records } = this.#options;
    const policy = index.of(projectId);
    if ('brokenVersion' in policy) return { ...passed, refusal: broken(policy.brokenVersion) };
    const { inForce, shadow } = policy;
    const isUnjudged = inForce === null && shadow === null;
    if (isUnjudged && records === null) return passed;
    const call = factsOf();
    const { decision, providers, shadows } = isUnjudged
      ? { decision: byScopes, ...passed }
      : this.#judgeBy(policy, call);
    const { outcome: verdict, rule } = decision;
    records?.note(call, { projectId, requestId, version: inForce?.version ?? null, verdict, rule, shadows });
    return { refusal: refusalOf(decision), providers, shadows };
  }

  #judgeBy({ inForce, shadow }: ProjectPolicy, call: CallFacts) {
    const { metrics, clock } = this.#options;
    const beganAt = clock.monotonic();
    const judgement = inForce && judgeCall(inForce.policy, call);
    const decision = judgement?.decision ?? byScopes;
    const beside = shadow && judgeCall(shadow.policy, call);
    metrics.policyEvaluation.observe((clock.monotonic() - beganAt) / 1000);
    metrics.policyDecisions.inc({ verdict: decision.outcome, mode: 'enforce' });
    const failures = (judgement?.failures ?? 0) + (beside?.failures ?? 0);
    if (failures > 0) metrics.policyEvaluationErrors.inc(failures);
    const shadows = [
      ...shadowOf(inForce, judgement && judgement.shadowed, decision),
      ...shadowOf(shadow, beside && beside.decision, decision),
    ];
    for (const { verdict } of shadows) metrics.policyDecisions.inc({ verdict, mode: 'shadow' });
    return { decision, providers: judgement?.providers ?? null, shadows };
  }
}

function shadowOf(
  judging: JudgingVersion | null,
  would: Judgement['decision'] | null,
  decision: Decision,
): readonly PolicyShadow[] {
  if (judging === null || would === null || would.outcome === decision.outcome) return [];
  const { outcome: verdict, rule } = would;
  return [{ policyVersion: judging.version, ...(rule !== null && { rule }), verdict }];
}

function refusalOf({ outcome, rule, approvals }: Decision): PortcullisError | null {
  if (outcome === 'allow' || rule === null) return null;
  const message =
    outcome === 'deny'
      ? `The rule "${rule}" of this project's policy denies this call.`
      : `${approvals.map(askedFor).join(' ')} This door cannot wait for an approval, so the call is refused.`;
  return new PortcullisError('policy_denied', message, { rule });
}

function askedFor({ rule, approvers, quorum }: ApprovalRequirement): string {
  const whom = approvers.length === 1 ? approvers[0] : `${quorum} of ${approvers.join(', ')}`;
  return `The rule "${rule}" of this project's policy asks for the approval of ${whom}.`;
}

function broken(version: number): PortcullisError {
  return new PortcullisError(
    'unavailable',
    `Version ${version} of this project's policy cannot be read by this server, so it lets nothing through: an operator must update the server or roll the policy back.`,
    { rule: `policy version ${version}` },
  );
}
