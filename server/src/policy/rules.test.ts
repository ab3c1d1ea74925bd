import {
  array,
  assert,
  constantFrom,
  integer,
  oneof,
  property,
  record,
  shuffledSubarray,
  uniqueArray,
  constant,
} from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CompiledRule, type Effect, indexRules, judge, type RuleMode } from './rules.ts';

/** A call is the set of the rules that match it; a rule fails where its name is among the failing. */
interface Call {
  readonly action: string;
  readonly matching: readonly string[];
  readonly failing: readonly string[];
}

type Rule = CompiledRule<Call>;

const allow: Effect = { kind: 'allow' };
const deny: Effect = { kind: 'deny' };
const effect = oneof(
  constant(allow),
  constant(deny),
  record({
    kind: constant('require_approval' as const),
    approvers: array(constantFrom('role:approver', 'team:ops', 'ada'), { minLength: 1, maxLength: 2 }),
    quorum: integer({ min: 1, max: 2 }),
    expiryS: integer({ min: 60, max: 120 }),
  }),
);

function rule(
  name: string,
  effect: Effect,
  mode: RuleMode = 'enforce',
  actions: readonly string[] = ['models.invoke'],
): Rule {
  return {
    name,
    actions,
    effect,
    mode,
    evaluate: ({ matching, failing }) =>
      failing.includes(name) ? { message: `${name} failed` } : matching.includes(name),
  };
}

const names = ['a', 'B', 'c', 'é', 'rule-1', 'rule-10', 'rule-2'];
const rules = uniqueArray(
  record({
    name: constantFrom(...names),
    effect,
    mode: constantFrom<RuleMode>('enforce', 'shadow'),
    actions: constantFrom(['models.invoke'], ['runs.start'], ['models.invoke', 'runs.start']),
  }).map(({ name, effect, mode, actions }) => rule(name, effect, mode, actions)),
  { selector: ({ name }) => name, maxLength: 7 },
);
const call = record({
  action: constantFrom('models.invoke', 'runs.start'),
  matching: shuffledSubarray(names),
  failing: shuffledSubarray(names, { maxLength: 2 }),
});

function verdict(all: readonly Rule[], facts: Call) {
  return judge(indexRules(all), facts);
}

function matching(...of: string[]): Call {
  return { action: 'models.invoke', matching: of, failing: [] };
}

describe('the verdict of rules', () => {
  test('does not depend on their order', () => {
    assert(
      property(rules, call, (all, facts) => {
        expect(verdict(all.toReversed(), facts)).toEqual(verdict(all, facts));
        expect(verdict([...all.slice(2), ...all.slice(0, 2)], facts)).toEqual(verdict(all, facts));
      }),
    );
  });

  test('keeps its decision when shadow rules are added, changed or taken away', () => {
    assert(
      property(rules, call, (all, facts) => {
        const enforced = all.filter(({ mode }) => mode === 'enforce');
        expect(verdict(all, facts).decision).toEqual(verdict(enforced, facts).decision);
      }),
    );
  });

  test('says of shadow rules what would happen if they were enforced', () => {
    assert(
      property(rules, call, (all, facts) => {
        const enforced = all.map((each) => ({ ...each, mode: 'enforce' as const }));
        expect(verdict(all, facts).shadowed).toEqual(verdict(enforced, facts).decision);
      }),
    );
  });

  test('is a denial where any rule denies or fails, else an approval where any asks for one', () => {
    assert(
      property(rules, call, (all, facts) => {
        const concerned = all.filter(({ mode, actions }) => mode === 'enforce' && actions.includes(facts.action));
        const of = (kind: Effect['kind']) =>
          concerned.some(({ name, effect }) => effect.kind === kind && facts.matching.includes(name));
        const { outcome, approvals } = verdict(all, facts).decision;
        const denied = of('deny') || concerned.some(({ name }) => facts.failing.includes(name));
        const asked = of('require_approval') ? 'require_approval' : 'allow';
        expect(outcome).toBe(denied ? 'deny' : asked);
        expect(approvals.length > 0).toBe(outcome === 'require_approval');
      }),
    );
  });

  test('never becomes milder by a further rule that denies or asks for approval', () => {
    const severity = { allow: 0, require_approval: 1, deny: 2 };
    assert(
      property(rules, effect, call, (all, added, facts) => {
        if (added.kind === 'allow') return;
        const before = verdict(all, facts).decision.outcome;
        const after = verdict([...all, rule('z', added)], { ...facts, matching: [...facts.matching, 'z'] }).decision
          .outcome;
        expect(severity[after]).toBeGreaterThanOrEqual(severity[before]);
      }),
    );
  });

  test('without a rule that matches is what the scopes say', () => {
    expect(verdict([rule('a', deny)], matching())).toEqual({
      decision: { outcome: 'allow', rule: null, approvals: [] },
      shadowed: { outcome: 'allow', rule: null, approvals: [] },
      matched: [],
    });
  });

  test('names the first of the rules that decide, by code units', () => {
    const all = [rule('b', deny), rule('Z', deny), rule('a', allow)];
    expect(verdict(all, matching('a', 'b', 'Z')).decision.rule).toBe('Z');
    expect(verdict(all, matching('a')).decision.rule).toBe('a');
  });

  test('asks for everything that any of the rules asks for', () => {
    const ask = (approvers: string[], quorum: number): Effect => ({
      kind: 'require_approval',
      approvers,
      quorum,
      expiryS: 60,
    });
    const all = [rule('b', ask(['team:ops'], 2)), rule('a', ask(['ada'], 1)), rule('c', allow)];
    expect(verdict(all, matching('a', 'b', 'c')).decision).toEqual({
      outcome: 'require_approval',
      rule: 'a',
      approvals: [
        { rule: 'a', approvers: ['ada'], quorum: 1, expiryS: 60 },
        { rule: 'b', approvers: ['team:ops'], quorum: 2, expiryS: 60 },
      ],
    });
  });

  test('tells of a condition that failed, and takes it for a denial by its rule', () => {
    const { decision, matched } = verdict([rule('a', allow)], {
      action: 'models.invoke',
      matching: [],
      failing: ['a'],
    });
    expect(decision).toEqual({ outcome: 'deny', rule: 'a', approvals: [] });
    expect(matched).toEqual([{ rule: 'a', mode: 'enforce', effect: 'deny', failure: 'a failed' }]);
  });

  test('is not changed by a rule of another action', () => {
    expect(verdict([rule('a', deny, 'enforce', ['runs.start'])], matching('a')).decision.outcome).toBe('allow');
  });
});
