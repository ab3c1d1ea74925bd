import type { CompiledPolicy } from './compiled-policy.ts';
import type { Facts } from './facts.ts';
import { type CompiledRule, type Decision, type Effect, judge, type RuleIndex } from './rules.ts';

/**
 * All of a call that is judged, and recorded: its facts, and what else it may come to. The facts name the first resource and
 * the first provider.
 */
export interface CallFacts {
  readonly facts: Facts;
  /** Further resources that the call names (fallback models): the rules must let it have each of them. */
  readonly otherNames: readonly string[];
  /** Further providers that could serve it: it goes to those to which the rules let it go. */
  readonly otherProviders: readonly string[];
}

/** What a policy says to a call. */
export interface Judgement {
  readonly decision: Decision;
  /** What the decision would be if shadow rules were enforced too. */
  readonly shadowed: Decision;
  /** The providers to which the call may go; null is any of those it could come to. */
  readonly providers: ReadonlySet<string> | null;
  /** Conditions that could not be evaluated: each counts as a denial by its rule. */
  readonly failures: number;
}

const severity: Readonly<Record<Effect['kind'], number>> = { allow: 0, require_approval: 1, deny: 2 };

/**
 * Judges a call: what its rules say of all its resources together, at the provider where they say it most mildly. Enforcing
 * and simulating are this function.
 */
export function judgeCall(policy: CompiledPolicy, call: CallFacts): Judgement {
  const { facts } = call;
  const { names, providers } = resourcesOf(policy, call);
  if (names.size === 1 && providers.size === 1) {
    const { decision, shadowed, matched } = judge(policy.rules, facts);
    return { decision, shadowed, providers: null, failures: matched.filter(({ failure }) => failure !== null).length };
  }
  const { rules, failures } = evaluatingOnce(policy, facts.action);
  const byProvider = [...providers].map((provider) => ({
    provider,
    verdicts: [...names].map((name) => judge(rules, { ...facts, resource: { ...facts.resource, name, provider } })),
  }));
  const decisions = byProvider.map(({ verdicts }) => strictest(verdicts.map(({ decision }) => decision)));
  const shadowed = byProvider.map(({ verdicts }) => strictest(verdicts.map((verdict) => verdict.shadowed)));
  return {
    decision: mildest(decisions),
    shadowed: mildest(shadowed),
    providers:
      providers.size === 1
        ? null
        : new Set(byProvider.filter((_, at) => decisions[at]?.outcome === 'allow').map(({ provider }) => provider)),
    failures: failures(),
  };
}

function resourcesOf({ mentionsName, mentionsProvider }: CompiledPolicy, call: CallFacts) {
  const { resource } = call.facts;
  return {
    names: new Set([resource.name, ...(mentionsName ? call.otherNames : [])]),
    providers: new Set([resource.provider, ...(mentionsProvider ? call.otherProviders : [])]),
  };
}

/** The rules for one call, each evaluated once for all resources that it cannot tell apart. */
function evaluatingOnce({ rules, reads }: CompiledPolicy, action: string) {
  let failures = 0;
  const once = (rule: CompiledRule<Facts>): CompiledRule<Facts> => {
    const { name: readsName = true, provider: readsProvider = true } = reads.get(rule.name) ?? {};
    const known = new Map<string, ReturnType<typeof rule.evaluate>>();
    return {
      ...rule,
      evaluate: (facts) => {
        const { name, provider } = facts.resource;
        const key = JSON.stringify([readsName && name, readsProvider && provider]);
        const held = known.get(key) ?? rule.evaluate(facts);
        if (!known.has(key) && typeof held !== 'boolean') failures++;
        known.set(key, held);
        return held;
      },
    };
  };
  const index: RuleIndex<Facts> = new Map([[action, (rules.get(action) ?? []).map(once)]]);
  return { rules: index, failures: () => failures };
}

/** The first of the most severe ones. */
function strictest(decisions: readonly Decision[]): Decision {
  return decisions.reduce((most, next) => (severity[next.outcome] > severity[most.outcome] ? next : most));
}

/** The first of the least severe ones. */
function mildest(decisions: readonly Decision[]): Decision {
  return decisions.reduce((least, next) => (severity[next.outcome] < severity[least.outcome] ? next : least));
}
