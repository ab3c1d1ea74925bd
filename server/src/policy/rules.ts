/** What a rule does where its condition holds. */
export type Effect =
  | { readonly kind: 'allow' }
  | { readonly kind: 'deny' }
  | {
      readonly kind: 'require_approval';
      /** Who may decide: as the document names them. */
      readonly approvers: readonly string[];
      readonly quorum: number;
      readonly expiryS: number;
    };

export type RuleMode = 'enforce' | 'shadow';

/** A condition that could not be evaluated, and why. */
export interface ConditionFailure {
  readonly message: string;
}

/** A rule of a document, ready to judge facts of kind F. Names are unique in a document. */
export interface CompiledRule<F> {
  readonly name: string;
  readonly actions: readonly string[];
  readonly effect: Effect;
  readonly mode: RuleMode;
  evaluate(this: void, facts: F): boolean | ConditionFailure;
}

/** Rules by the action that they judge. */
export type RuleIndex<F> = ReadonlyMap<string, readonly CompiledRule<F>[]>;

/** What one of the rules asks for before a call may go on. */
export interface ApprovalRequirement {
  readonly rule: string;
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly expiryS: number;
}

export interface Decision {
  readonly outcome: Effect['kind'];
  /** The rule that decided, the first by name where several did; null where none matched and the scopes decide. */
  readonly rule: string | null;
  /** Every rule that asks for an approval, by name: each must be met, and the shortest expiry holds. Empty unless that is the outcome. */
  readonly approvals: readonly ApprovalRequirement[];
}

export interface MatchedRule {
  readonly rule: string;
  readonly mode: RuleMode;
  readonly effect: Effect['kind'];
  /** Why its condition could not be evaluated, which makes the rule deny; null where it held. */
  readonly failure: string | null;
}

export interface Verdict {
  readonly decision: Decision;
  /** What the decision would be if the shadow rules were enforced too. */
  readonly shadowed: Decision;
  /** All rules that matched or failed, by name. */
  readonly matched: readonly MatchedRule[];
}

/** Groups rules by action, by name within one: done once for a document. */
export function indexRules<F>(rules: readonly CompiledRule<F>[]): RuleIndex<F> {
  const index = new Map<string, CompiledRule<F>[]>();
  for (const rule of rules.toSorted(byName)) {
    for (const action of new Set(rule.actions)) {
      const group = index.get(action) ?? [];
      group.push(rule);
      index.set(action, group);
    }
  }
  return index;
}

/**
 * What the rules say to a call. Deny beats approval beats allow, whatever the order of the rules; a condition that fails is a deny of
 * its rule. Every rule is evaluated: the verdict tells all that matched.
 */
export function judge<F extends { readonly action: string }>(index: RuleIndex<F>, facts: F): Verdict {
  const matched: Matched<F>[] = [];
  for (const rule of index.get(facts.action) ?? []) {
    const held = rule.evaluate(facts);
    if (held === true) matched.push({ rule, effect: rule.effect, failure: null });
    else if (held !== false) matched.push({ rule, effect: deny, failure: held.message });
  }
  const decision = decide(matched.filter(({ rule }) => rule.mode === 'enforce'));
  return {
    decision,
    shadowed: matched.some(({ rule }) => rule.mode === 'shadow') ? decide(matched) : decision,
    matched: matched.map(({ rule, effect, failure }) => ({
      rule: rule.name,
      mode: rule.mode,
      effect: effect.kind,
      failure,
    })),
  };
}

interface Matched<F> {
  readonly rule: CompiledRule<F>;
  readonly effect: Effect;
  readonly failure: string | null;
}

const deny: Effect = { kind: 'deny' };
const byScopes: Decision = { outcome: 'allow', rule: null, approvals: [] };

/** The matched rules come by name. */
function decide<F>(matched: readonly Matched<F>[]): Decision {
  const denying = matched.find(({ effect }) => effect.kind === 'deny');
  if (denying !== undefined) return { outcome: 'deny', rule: denying.rule.name, approvals: [] };
  const approvals = matched.flatMap(({ rule, effect }) => {
    if (effect.kind !== 'require_approval') return [];
    const { approvers, quorum, expiryS } = effect;
    return [{ rule: rule.name, approvers, quorum, expiryS }];
  });
  const [first] = approvals;
  if (first !== undefined) return { outcome: 'require_approval', rule: first.rule, approvals };
  const [allowing] = matched;
  return allowing === undefined ? byScopes : { outcome: 'allow', rule: allowing.rule.name, approvals: [] };
}

/** By code units: a locale would order names differently on another machine. */
function byName(left: { readonly name: string }, right: { readonly name: string }): number {
  if (left.name === right.name) return 0;
  return left.name < right.name ? -1 : 1;
}
