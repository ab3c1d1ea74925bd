import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compilePolicy } from './compiled-policy.ts';
import type { Rule } from './document.ts';
import { type CallFacts, judgeCall } from './judgement.ts';

function callOf(names: readonly string[], providers: readonly string[]): CallFacts {
  const [name = '', ...otherNames] = names;
  const [provider = '', ...otherProviders] = providers;
  return {
    facts: {
      action: 'models.invoke',
      principal: { kind: 'agent', id: 'a', name: 'a', agent: 'a', person: null, key: null, teams: [], scopes: [] },
      resource: { type: 'model', name, provider, route: name },
      args: {},
      run: null,
      time: 0,
    },
    otherNames,
    otherProviders,
  };
}

const deny = { kind: 'deny' } as const;
const approval = { kind: 'require_approval', approvers: ['psn_a'], quorum: 1, expiryS: 60 } as const;

function rule(name: string, condition: string, more: Partial<Rule> = {}): Rule {
  return { name, actions: ['models.invoke'], condition, effect: deny, mode: 'enforce', ...more };
}

const names = fc.uniqueArray(fc.constantFrom('m1', 'm2', 'm3'), { minLength: 1 });
const providers = fc.uniqueArray(fc.constantFrom('p1', 'p2', 'p3'), { minLength: 1 });
const condition = fc.oneof(
  fc.constantFrom('m1', 'm2', 'm3').map((name) => `resource.name == '${name}'`),
  fc.constantFrom('p1', 'p2', 'p3').map((provider) => `resource.provider == '${provider}'`),
  fc
    .tuple(fc.constantFrom('m1', 'm2'), fc.constantFrom('p1', 'p2'))
    .map(([name, provider]) => `resource.name == '${name}' && resource.provider == '${provider}'`),
  fc.constant(`principal.kind == 'operator'`),
);
const rules = fc
  .array(fc.tuple(condition, fc.constantFrom(deny, approval, { kind: 'allow' } as const)), { maxLength: 4 })
  .map((parts) => parts.map(([text, effect], at) => rule(`r${at}`, text, { effect })));

const strictness = ['allow', 'require_approval', 'deny'];

describe('a call that can come to several resources and providers', () => {
  test('goes to the providers where all of its resources may be had, and nowhere else', async () => {
    await fc.assert(
      fc.asyncProperty(rules, names, providers, async (document, named, served) => {
        const policy = await compilePolicy({ rules: document });
        const judgement = judgeCall(policy, callOf(named, served));
        const at = (provider: string) =>
          Math.max(
            ...named.map((name) => strictness.indexOf(judgeCall(policy, callOf([name], [provider])).decision.outcome)),
          );
        const may = served.filter((provider) => at(provider) === 0);
        expect(strictness.indexOf(judgement.decision.outcome)).toBe(Math.min(...served.map(at)));
        const goesTo = judgement.providers ?? (judgement.decision.outcome === 'allow' ? served : []);
        expect([...goesTo]).toEqual(may);
      }),
      { numRuns: 500 },
    );
  });

  test('has each condition evaluated once for all resources that it cannot tell apart', async () => {
    const failuresOf = async (...conditions: string[]) => {
      const policy = await compilePolicy({ rules: conditions.map((text, at) => rule(`r${at}`, text)) });
      return judgeCall(policy, callOf(['m1', 'm2', 'm3'], ['p1', 'p2'])).failures;
    };
    const neither = 'args.none > 1';
    const byName = `args.none > 1 || resource.name == 'm2'`;
    const byProvider = `args.none > 1 || resource.provider == 'p3'`;
    expect(await failuresOf(neither)).toBe(1);
    expect(await failuresOf(byName)).toBe(2);
    expect(await failuresOf(byProvider)).toBe(2);
    expect(await failuresOf(neither, byName, byProvider)).toBe(1 + 2 + 2);
  });
});
