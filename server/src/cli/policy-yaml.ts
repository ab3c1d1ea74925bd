import { durationMs } from '@bufbuild/protobuf/wkt';
import { stringify } from 'yaml';
import { formatUsd } from '../base/money.ts';
import {
  BudgetModeSchema,
  type BudgetSelector,
  BudgetUnit,
  BudgetUnitSchema,
  BudgetWindowSchema,
  ProviderTypeSchema,
} from '../gen/portcullis/v1/budget_pb.ts';
import {
  type PolicyCap,
  type PolicyDocument,
  type PolicyRule,
  RuleEffectSchema,
  RuleModeSchema,
} from '../gen/portcullis/v1/policy_document_pb.ts';
import { durationText } from './durations.ts';
import { enumWord } from './enum-words.ts';

/** A document as policy-file.ts reads it again. `agents` are names by id, for people. */
export function documentYaml(document: PolicyDocument, agents: ReadonlyMap<string, string>): string {
  return stringify(
    {
      rules: document.rules.map(ruleWords),
      caps: document.caps.map((cap) => capWords(cap, agents)),
      ...(document.signedScopes.length > 0 && { signed_scopes: document.signedScopes }),
    },
    { lineWidth: 0 },
  );
}

/** The parts of a document as texts by what they are: `rule NAME`, `cap NAME`, `signed scope NAME`. */
export function documentParts(document: PolicyDocument, agents: ReadonlyMap<string, string>): Map<string, string> {
  const yaml = (words: object) => stringify(words, { lineWidth: 0 }).trimEnd();
  return new Map([
    ...document.rules.map((rule) => [`rule ${rule.name}`, yaml(ruleWords(rule))] as const),
    ...document.caps.map((cap) => [`cap ${cap.name}`, yaml(capWords(cap, agents))] as const),
    ...document.signedScopes.map((scope) => [`signed scope ${scope}`, ''] as const),
  ]);
}

function ruleWords({ name, actions, condition, effect, mode, approval }: PolicyRule): object {
  return {
    name,
    actions,
    ...(condition !== '' && { condition }),
    effect: enumWord(RuleEffectSchema, effect),
    mode: enumWord(RuleModeSchema, mode),
    ...(approval && {
      approval: {
        approvers: approval.approvers,
        quorum: approval.quorum,
        ...(approval.expiry && { expiry: durationText(durationMs(approval.expiry)) }),
      },
    }),
  };
}

function capWords(cap: PolicyCap, agents: ReadonlyMap<string, string>): object {
  const { name, selector, unit, window, timeZone, limitAmount, mode, notifyPercents } = cap;
  return {
    name,
    ...(selector && { selector: selectorWords(selector, agents) }),
    unit: enumWord(BudgetUnitSchema, unit),
    window: enumWord(BudgetWindowSchema, window),
    time_zone: timeZone,
    ...(limitAmount !== undefined && { limit: limitText(limitAmount, unit) }),
    mode: enumWord(BudgetModeSchema, mode),
    ...(notifyPercents && { notify: notifyPercents.percents }),
  };
}

/** What a selector says, by the words of a file. */
export function selectorWords(
  selector: BudgetSelector,
  agents: ReadonlyMap<string, string>,
): Readonly<Record<string, string | undefined>> {
  const { agentId, providerType } = selector;
  const words = {
    team: selector.teamId,
    person: selector.personId,
    agent: agentId === undefined ? undefined : (agents.get(agentId) ?? agentId),
    key: selector.keyId,
    workflow: selector.workflow,
    run: selector.runId,
    provider_type: providerType === undefined ? undefined : enumWord(ProviderTypeSchema, providerType),
    provider: selector.provider,
    model: selector.model,
  };
  return Object.fromEntries(Object.entries(words).filter(([, value]) => value !== undefined));
}

function limitText(limit: bigint, unit: BudgetUnit): string {
  if (unit === BudgetUnit.USD) return formatUsd(limit).slice(1);
  return unit === BudgetUnit.LATENCY_MS ? `${limit}ms` : limit.toString();
}
