import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalJson, type JsonValue } from '../audit/canonical-json.ts';
import { roles } from '../identity/roles.ts';
import { decisionActions, type DecisionAction } from './model.ts';
import {
  approvers,
  type CountedVote,
  type DeciderFacts,
  demandsOf,
  hindranceOf,
  isGroup,
  isIn,
  meets,
  outcomeOf,
} from './rules.ts';
import { grantKey, readWhat, whatOf, withArguments } from './what.ts';

const digests = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const;
const votes = fc.array(
  fc.record({
    personId: fc.constantFrom('a', 'b', 'c', 'd'),
    email: fc.constantFrom('a@x', 'A@X', 'b@x', 'c@x'),
    digest: fc.constantFrom(...digests),
    action: fc.constantFrom(...decisionActions),
  }),
  { maxLength: 12 },
);
const person = fc.record({
  id: fc.constantFrom('a', 'b'),
  projectId: fc.constantFrom('prj_a', 'prj_b'),
  email: fc.constantFrom('a@x', 'A@X', 'b@x'),
  active: fc.boolean(),
  roles: fc.option(fc.subarray([...roles])),
  teams: fc.subarray(['ops', 'pay']),
}) satisfies fc.Arbitrary<DeciderFacts>;
const group = fc.constantFrom('role:approver', 'role:operator', 'team:ops', 'person:a@x', 'person:A@x');
const json = fc.jsonValue() as fc.Arbitrary<JsonValue>;

describe('an outcome', () => {
  test('is a yes only where as many people as must agree approved that very digest', () => {
    const isFounded = fc.property(votes, fc.integer({ min: 1, max: 4 }), fc.boolean(), (cast, quorum, isEdited) => {
      const outcome = outcomeOf('approve', { quorum, isEdited }, cast, digests[0]);
      const yes = cast.filter(({ action, digest }) => isYes(action) && digest.equals(digests[0]));
      const people = new Set(yes.map(({ personId }) => personId)).size;
      return outcome === null || (people >= quorum && outcome === (isEdited ? 'edited' : 'approved'));
    });
    expect(() => fc.assert(isFounded)).not.toThrow();
  });

  test('is a no by one vote, whatever the quorum and the other votes', () => {
    fc.assert(
      fc.property(votes, fc.integer({ min: 1, max: 4 }), (cast, quorum) => {
        for (const action of ['reject', 'respond'] as const)
          expect(outcomeOf(action, { quorum, isEdited: false }, cast, digests[0])).toBe('rejected');
      }),
    );
  });

  test('never has more approvers than people or addresses, and none more by a vote told twice or one for something else', () => {
    fc.assert(
      fc.property(votes, (cast) => {
        const count = approvers(cast, digests[0]);
        expect(count).toBeLessThanOrEqual(new Set(cast.map(({ personId }) => personId)).size);
        expect(count).toBeLessThanOrEqual(new Set(cast.map(({ email }) => email.toLowerCase())).size);
        expect(approvers([...cast, ...cast], digests[0])).toBe(count);
        const other: CountedVote = { personId: 'z', email: 'z@x', digest: digests[1], action: 'approve' };
        expect(approvers([...cast, other], digests[0])).toBe(count);
      }),
    );
  });
});

function isYes(action: DecisionAction): boolean {
  return action === 'approve' || action === 'edit';
}

describe('who may decide', () => {
  test('is active, holds the right by a role, is in a group, and has no interest in it', () => {
    const groups = fc.array(group, { minLength: 1 });
    const isEntitled = fc.property(person, groups, fc.array(person, { maxLength: 2 }), (who, named, interested) => {
      if (hindranceOf(who, { projectId: 'prj_a', groups: named }, interested) !== null) return true;
      const holds = who.roles?.some((role) => role === 'admin' || role === 'approver') ?? false;
      const isMember = named.some((name) => isIn(who, name, 'prj_a'));
      const same = ({ id, email }: DeciderFacts) => id === who.id || email.toLowerCase() === who.email.toLowerCase();
      return who.active && holds && isMember && !interested.some(same);
    });
    expect(() => fc.assert(isEntitled)).not.toThrow();
  });

  test('of another project is an administrator, in a group of roles', () => {
    const isAdmin = fc.property(person, group, (who, name) => {
      const isStranger = who.projectId === 'prj_b' && isIn(who, name, 'prj_a');
      return !isStranger || ((who.roles ?? []).includes('admin') && name.startsWith('role:'));
    });
    expect(() => fc.assert(isAdmin)).not.toThrow();
  });

  test('shows the more the more is at stake', () => {
    const ways = ['session', 'key', 'link'] as const;
    const met = (risk: 'normal' | 'high', quorum: number, isFresh: boolean) =>
      ways.filter((way) => meets(demandsOf({ risk, quorum }), way, isFresh));
    expect(met('normal', 1, false)).toEqual(['session', 'key', 'link']);
    expect(met('normal', 2, false)).toEqual(['session']);
    expect(met('high', 1, false)).toEqual([]);
    expect(met('high', 2, true)).toEqual(['session']);
  });

  test('is named by a role that there is, a team or a person', () => {
    expect(['role:admin', 'team:a b', 'person:a@b'].filter(isGroup)).toHaveLength(3);
    expect(['admin', 'role:', 'role:king', 'team:', 'team: a', 'other:x', ''].filter(isGroup)).toEqual([]);
  });
});

describe('a digest', () => {
  const requester = { id: 'agt_a', kind: 'agent' } as const;

  test('is the same for the same, however its members are ordered, and another for anything else', () => {
    fc.assert(
      fc.property(
        json,
        json,
        fc.constantFrom('a', 'b'),
        fc.option(fc.constantFrom('run_a', 'run_b')),
        (one, other, action, runId) => {
          const of = (args: JsonValue) => whatOf(requester, { action, runId, args });
          expect(of(one).digest.equals(of(reversed(one)).digest)).toBe(true);
          expect(of(one).digest.equals(of(other).digest)).toBe(canonicalJson(one) === canonicalJson(other));
          expect(
            whatOf({ ...requester, id: 'agt_b' }, { action, runId, args: one }).digest.equals(of(one).digest),
          ).toBe(false);
          expect(whatOf(requester, { action: 'c', runId, args: one }).digest.equals(of(one).digest)).toBe(false);
          expect(whatOf(requester, { action, runId: 'run_c', args: one }).digest.equals(of(one).digest)).toBe(false);
        },
      ),
    );
  });

  test('of an edit differs in the arguments alone, whatever these pretend to be', () => {
    fc.assert(
      fc.property(json, json, (args, edited) => {
        const asked = whatOf(requester, { action: 'a', runId: 'run_a', args });
        const after = readWhat(withArguments(asked.what, edited).what);
        expect(canonicalJson(after.arguments)).toBe(canonicalJson(edited));
        expect({ ...after, arguments: null }).toEqual({ ...readWhat(asked.what), arguments: null });
      }),
    );
    const asked = whatOf(requester, { action: 'a', runId: 'run_a', args: {} });
    const hostile = { principal: { id: 'agt_b' }, run: null, action: 'b' };
    expect(readWhat(withArguments(asked.what, hostile).what)).toMatchObject({
      run: 'run_a',
      action: 'a',
      principal: requester,
    });
  });

  test('of a grant tells apart all that it is for', () => {
    const of = { projectId: 'p', kind: 'tool_call', requesterId: 'r', runId: null, action: 'a' } as const;
    const keys = [
      grantKey(of, null),
      grantKey(of, digests[0]),
      grantKey(of, digests[1]),
      grantKey({ ...of, projectId: 'q' }, null),
      grantKey({ ...of, kind: 'model_call' }, null),
      grantKey({ ...of, requesterId: 's' }, null),
      grantKey({ ...of, runId: '' }, null),
      grantKey({ ...of, runId: 'a', action: '' }, null),
    ];
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(keys.length);
  });
});

function reversed(value: JsonValue): JsonValue {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toReversed());
}
