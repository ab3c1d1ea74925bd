import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { isRole } from '../roles.ts';
import { joinClaims, readNewcomer } from './claims.ts';
import type { ClaimRules } from './model.ts';

const rules: ClaimRules = {
  groupsClaim: 'groups',
  roles: { admins: ['admin'], leads: ['operator', 'approver'], staff: ['developer'] },
  teams: { staff: 'Everybody', leads: 'Leads' },
  emailDomains: null,
  trustEmail: false,
};
const good = {
  iss: 'https://id.example',
  sub: 'sub-1',
  email: 'Ada@Example.com',
  email_verified: true,
  name: 'Ada',
  groups: ['staff'],
};

const read = (claims: object, change: Partial<ClaimRules> = {}) =>
  readNewcomer({ ...good, ...claims }, { ...rules, ...change });

describe('what claims say of a person', () => {
  it('is who they are, their address in lower case, and the roles and teams of their groups, each once and in order', () => {
    expect(read({ groups: ['staff', 'leads', 'admins', 'others', 'leads'] })).toEqual({
      issuer: 'https://id.example',
      subject: 'sub-1',
      email: 'ada@example.com',
      name: 'Ada',
      roles: ['admin', 'operator', 'approver', 'developer'],
      teams: ['Everybody', 'Leads'],
    });
  });

  it.each<[string, object, string]>([
    ['a claim by its name', { groups: ['staff'] }, 'groups'],
    ['one text instead of a list', { groups: 'staff' }, 'groups'],
    ['a path into claims', { realm_access: { roles: ['staff'] } }, 'realm_access.roles'],
    ['a name with dots, before a path', { 'https://example.com/groups': ['staff'] }, 'https://example.com/groups'],
  ])('finds groups in %s', (_where, claims, groupsClaim) => {
    expect(read({ groups: undefined, ...claims }, { groupsClaim }).roles).toEqual(['developer']);
  });

  it.each([
    [undefined],
    [null],
    [7],
    [{ staff: true }],
    [['Staff', ' staff', 'constructor', '__proto__', 'toString', 7, null, ['staff']]],
    [['staff'.repeat(100)]],
  ])('gives no role for %j', (groups) => {
    expect(read({ groups })).toMatchObject({ roles: [], teams: [] });
  });

  it.each([
    [{ name: ' Ada\u0000 \u202eLovelace\n' }, 'Ada Lovelace'],
    [{ name: 'A'.repeat(300) }, 'A'.repeat(100)],
    [{ name: `${'A'.repeat(99)}😀😀` }, `${'A'.repeat(99)}😀`],
    [{ name: 'A\ud83dda' }, 'Ada'],
    [{ name: '\u200b', preferred_username: 'ada' }, 'ada'],
    [{ name: undefined }, 'ada@example.com'],
    [{ name: { first: 'Ada' } }, 'ada@example.com'],
  ])('makes a line of the name of %j', (claims, name) => {
    expect(read(claims).name).toBe(name);
  });

  it.each<[object, Partial<ClaimRules>, string]>([
    [{ sub: '' }, {}, 'sign_in.subject'],
    [{ sub: 7 }, {}, 'sign_in.subject'],
    [{ sub: 'x'.repeat(256) }, {}, 'sign_in.subject'],
    [{ sub: 'adä' }, {}, 'sign_in.subject'],
    [{ sub: 'ad\u0000' }, {}, 'sign_in.subject'],
    [{ sub: 'ad\ud800' }, {}, 'sign_in.subject'],
    [{ email: undefined }, {}, 'sign_in.email'],
    [{ email: ['ada@example.com'] }, {}, 'sign_in.email'],
    [{ email: 'ada' }, {}, 'sign_in.email'],
    // Another person's where somebody lowers its case: KELVIN SIGN, LATIN CAPITAL LETTER I WITH DOT ABOVE.
    [{ email: '\u212aim@example.com' }, {}, 'sign_in.email'],
    [{ email: '\u0130da@example.com' }, {}, 'sign_in.email'],
    [{ email: 'ada@ex\u00e4mple.com' }, {}, 'sign_in.email'],
    [{ email_verified: undefined }, {}, 'sign_in.email_verified'],
    [{ email_verified: false }, { trustEmail: true }, 'sign_in.email_verified'],
    [{ email_verified: 'false' }, { trustEmail: true }, 'sign_in.email_verified'],
    [{ email_verified: 1 }, { trustEmail: true }, 'sign_in.email_verified'],
    [{}, { emailDomains: ['example.org'] }, 'sign_in.email_domain'],
    [{ email: 'ada@sub.example.org' }, { emailDomains: ['example.org'] }, 'sign_in.email_domain'],
  ])('is refused for %j under %j, as %s', (claims, change, rule) => {
    expect(() => read(claims, change)).toThrow(expect.objectContaining({ members: { rule } }));
  });

  it('finds the groups that count among any number of others', () => {
    const others = Array.from({ length: 5_000 }, (_, number) => `other-${number}`);
    expect(read({ groups: [...others, 'staff'] })).toMatchObject({ roles: ['developer'], teams: ['Everybody'] });
  });

  it('has at most 64 teams', () => {
    const groups = Array.from({ length: 150 }, (_, number) => `g${number}`);
    const teams = Object.fromEntries(groups.map((group) => [group, `Team ${group}`]));
    expect(read({ groups }, { teams }).teams).toHaveLength(64);
  });

  it('takes an address of which nothing is said where the rules trust the provider, and one that is verified as text', () => {
    expect(read({ email_verified: undefined }, { trustEmail: true }).email).toBe('ada@example.com');
    expect(read({ email_verified: 'true' }, { emailDomains: ['example.com'] }).email).toBe('ada@example.com');
  });

  it('is an answer or a refusal, whatever a provider writes', () => {
    const outcome = (claims: object): unknown => {
      try {
        const { name, roles, teams } = read(claims);
        return { isLine: /^[^\p{C}]{1,100}$/u.test(name), roles: roles.filter(isRole), teams: new Set(teams).size };
      } catch (error) {
        return error instanceof PortcullisError && error.code;
      }
    };
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(good)), fc.jsonValue()), (claims) => {
        const answer = { isLine: true, roles: expect.any(Array), teams: expect.any(Number) };
        expect([answer, 'policy_denied']).toContainEqual(outcome(claims));
      }),
    );
  });
});

describe('an address, and whether it is verified,', () => {
  const address = (idToken: object, userinfo: object) => {
    const { email, email_verified: verified } = joinClaims({ ...idToken }, { ...userinfo });
    return [email, verified];
  };

  it('come from one of ID token and userinfo, never from both', () => {
    const [a, b] = ['a@example.com', 'b@example.com'];
    expect(address({ email: a }, { email: b, email_verified: true })).toEqual([b, true]);
    expect(address({ email_verified: true }, { email: b })).toEqual([b, undefined]);
    expect(address({ email: a }, { email_verified: true })).toEqual([a, undefined]);
    expect(address({ email: a, email_verified: false }, { email: b, email_verified: true })).toEqual([a, false]);
    expect(address({}, {})).toEqual([undefined, undefined]);
  });

  it('leave the rest as the ID token says it first', () => {
    expect(joinClaims({ sub: '1', name: 'Ada' }, { sub: '2', name: 'Eve', groups: ['x'] })).toMatchObject({
      sub: '1',
      name: 'Ada',
      groups: ['x'],
    });
  });
});
