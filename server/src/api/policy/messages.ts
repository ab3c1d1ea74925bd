import { create, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { capFromJson, capToJson } from '../../budget/policy-caps.ts';
import { BudgetModeSchema, BudgetUnitSchema, BudgetWindowSchema } from '../../gen/portcullis/v1/budget_pb.ts';
import {
  type PolicyCap as CapMessage,
  type PolicyCapSchema,
  type PolicyDocument as DocumentMessage,
  PolicyDocumentSchema,
  type PolicyRule as RuleMessage,
  type PolicyRuleSchema,
  PolicyStageSchema,
  type PolicyStateSchema,
  PolicyVerdictSchema,
  PolicyVersionSchema,
  RuleEffectSchema,
  RuleMode,
  RuleModeSchema,
} from '../../gen/portcullis/v1/policy_document_pb.ts';
import type { SimulatePolicyResponseSchema } from '../../gen/portcullis/v1/policy_pb.ts';
import { approvalExpiryDefaultS } from '../../base/limits.ts';
import { invalid } from '../../identity/input.ts';
import { isScope } from '../../identity/scopes.ts';
import {
  type CapJson,
  documentFromJson,
  emptyDocument,
  type PolicyDocument,
  readableDocument,
  type Rule,
} from '../../policy/document.ts';
import { actions } from '../../policy/facts.ts';
import type { Effect } from '../../policy/rules.ts';
import type { SimulatedCall, SimulationResult } from '../../policy/simulation.ts';
import { etagOf, type PolicyAnswer, stageOf } from '../../policy/version-service.ts';
import type { PolicyState, VersionHead } from '../../policy/version-store.ts';
import { newBudget } from '../budgets/handler.ts';
import { selectorMessage } from '../budgets/messages.ts';
import { fromEnum, toEnum } from '../enums.ts';
import { toTimestamp, wholeSeconds } from '../time.ts';

const effects = ['allow', 'deny', 'require_approval'] as const;
const modes = ['enforce', 'shadow'] as const;

/** @throws PortcullisError invalid_argument, naming the field */
export function documentOf(message: DocumentMessage | undefined): PolicyDocument {
  if (message === undefined) throw invalid('document', 'document is missing: it says what the policy shall be.');
  return {
    rules: message.rules.map((rule, at) => ruleOf(rule, `document.rules[${at}]`)),
    caps: message.caps.map(capOf),
    signedScopes: message.signedScopes.map((name, at) => {
      if (isScope(name)) return name;
      throw invalid(`document.signed_scopes[${at}]`, `There is no scope "${name.slice(0, 100)}".`);
    }),
  };
}

/** @throws PortcullisError invalid_argument, naming the field */
export function ruleOf(message: RuleMessage | undefined, param = 'rule'): Rule {
  if (message === undefined) throw invalid(param, `${param} is missing.`);
  const { name, condition, effect, mode, approval } = message;
  return {
    name,
    actions: message.actions.map((action) => {
      const known = actions.find((candidate) => candidate === action);
      if (known !== undefined) return known;
      throw invalid(`${param}.actions`, `A rule judges ${actions.join(' or ')}; "${action.slice(0, 100)}" is neither.`);
    }),
    condition,
    effect: effectOf(fromEnum(RuleEffectSchema, effects, effect, `${param}.effect`), approval, `${param}.approval`),
    mode: mode === RuleMode.UNSPECIFIED ? 'enforce' : fromEnum(RuleModeSchema, modes, mode, `${param}.mode`),
  };
}

/** @throws PortcullisError invalid_argument, naming the field */
export function capOf(message: CapMessage | undefined): CapJson {
  if (message === undefined) throw invalid('cap', 'cap is missing.');
  return capToJson(newBudget(message, ''));
}

export function ruleMessage({
  name,
  actions: judged,
  condition,
  effect,
  mode,
}: Rule): MessageInitShape<typeof PolicyRuleSchema> {
  return {
    name,
    actions: [...judged],
    condition,
    effect: toEnum(RuleEffectSchema, effect.kind),
    mode: toEnum(RuleModeSchema, mode),
    ...(effect.kind === 'require_approval' && {
      approval: {
        approvers: [...effect.approvers],
        quorum: effect.quorum,
        expiry: durationFromMs(effect.expiryS * 1000),
      },
    }),
  };
}

export function capMessage(json: CapJson): MessageInitShape<typeof PolicyCapSchema> {
  const { name, selector, unit, window, timeZone, limit, mode, notifyPercents = [] } = capFromJson(json);
  return {
    name,
    selector: selectorMessage(selector),
    unit: toEnum(BudgetUnitSchema, unit),
    window: toEnum(BudgetWindowSchema, window),
    timeZone,
    limitAmount: limit ?? undefined,
    mode: toEnum(BudgetModeSchema, mode),
    notifyPercents: { percents: [...notifyPercents] },
  };
}

export function stateMessage(state: PolicyState): MessageInitShape<typeof PolicyStateSchema> {
  return {
    etag: etagOf(state),
    versionInForce: state.inForce ?? undefined,
    versionInShadow: state.shadow ?? undefined,
    previousVersion: state.previous ?? undefined,
  };
}

/** A version as lists have it. */
export function versionMessage(head: VersionHead, state: PolicyState): MessageInitShape<typeof PolicyVersionSchema> {
  return {
    version: head.version,
    stage: toEnum(PolicyStageSchema, stageOf(head, state)),
    digest: head.digest.toString('hex'),
    author: head.authorName,
    note: head.note,
    createTime: toTimestamp(head.createdAt),
    restoredVersion: head.restoredVersion ?? undefined,
    ruleCount: head.ruleCount,
    capCount: head.capCount,
  };
}

/** How a policy stands, and a version of it in full. */
export function answerMessage({ state, version }: PolicyAnswer): {
  readonly state: MessageInitShape<typeof PolicyStateSchema>;
  readonly version?: MessageShape<typeof PolicyVersionSchema>;
} {
  if (version === null) return { state: stateMessage(state) };
  const message = create(PolicyVersionSchema, versionMessage(version, state));
  const document = readableDocument(version.document);
  if (document !== null) message.document = create(PolicyDocumentSchema, documentMessage(document));
  return { state: stateMessage(state), version: message };
}

/** The document of an answer; of none the empty one. */
export function documentIn({ version }: PolicyAnswer): PolicyDocument {
  return version === null ? emptyDocument : documentFromJson(version.document);
}

export function simulationMessage({
  totals,
  calls,
  firstCallAt,
  truncated,
  costsUnknown,
}: SimulationResult): MessageInitShape<typeof SimulatePolicyResponseSchema> {
  return {
    totals: {
      calls: BigInt(totals.calls),
      allowed: BigInt(totals.allowed),
      denied: BigInt(totals.denied),
      approvals: BigInt(totals.approvals),
      newlyBlocked: BigInt(totals.newlyBlocked),
      newlyAllowed: BigInt(totals.newlyAllowed),
      blockedCostNanousd: totals.blockedCostUsd,
      evaluationErrors: BigInt(totals.evaluationErrors),
    },
    calls: calls.map(simulatedCallMessage),
    firstCallTime: toTimestamp(firstCallAt),
    truncated,
    costsUnknown,
  };
}

function simulatedCallMessage({ requestId, facts: { facts }, simulated, verdict, rule, costUsd }: SimulatedCall) {
  return {
    requestId,
    callTime: toTimestamp(facts.time),
    action: facts.action,
    principal: facts.principal.name,
    resource: facts.resource.name,
    verdict: toEnum(PolicyVerdictSchema, simulated.outcome),
    rule: simulated.rule ?? undefined,
    recordedVerdict: toEnum(PolicyVerdictSchema, verdict),
    recordedRule: rule ?? undefined,
    costNanousd: costUsd,
  };
}

function documentMessage({ rules, caps, signedScopes }: PolicyDocument): MessageInitShape<typeof PolicyDocumentSchema> {
  return { rules: rules.map(ruleMessage), caps: caps.map(capMessage), signedScopes: [...signedScopes] };
}

function effectOf(kind: Effect['kind'], approval: RuleMessage['approval'], param: string): Effect {
  if (kind !== 'require_approval') {
    if (approval === undefined) return { kind };
    throw invalid(param, `${param} goes with the effect require_approval alone.`);
  }
  if (approval === undefined) throw invalid(param, `${param} must say whose approval is asked for.`);
  const { approvers, quorum, expiry } = approval;
  return {
    kind,
    approvers,
    quorum: quorum === 0 ? 1 : quorum,
    expiryS: expiry === undefined ? approvalExpiryDefaultS : wholeSeconds(`${param}.expiry`, expiry),
  };
}
