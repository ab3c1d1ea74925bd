import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { isRole } from '../roles.ts';
import { readNewcomer } from './claims.ts';
import type { ClaimRules } from './model.ts';

const rules: ClaimRules = {
  groupsClaim: 'groups',
  roles: { admins: ['admin'], leads: ['operator', 'approver'], staff: ['developer'] },
  teams: { staff: 'Everybody', leads: 'Leads' },
  emailDomains: null,
  trustEmail: false,
};
const good = { sub: 'sub-1', email: 'Ada@Example.com', email_verified: true, name: 'Ada', groups: ['staff'] };

const read = (claims: object, change: Partial<ClaimRules> = {}) =>
  readNewcomer({ ...good, ...claims }, 'https://id.example', { ...rules, ...change });

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
    [{ name: '\u200b', preferred_username: 'ada' }, 'ada'],
    [{ name: undefined }, 'ada@example.com'],
    [{ name: { first: 'Ada' } }, 'ada@example.com'],
  ])('makes a line of the name of %j', (claims, name) => {
    expect(read(claims).name).toBe(name);
  });

  it.each<[object, Partial<ClaimRules>, string]>([
    [{ sub: '' }, {}, 'sign_in.subject'],
    [{ sub: 7 }, {}, 'sign_in.subject'],
    [{ sub: 'x'.repeat(501) }, {}, 'sign_in.subject'],
    [{ email: undefined }, {}, 'sign_in.email'],
    [{ email: ['ada@example.com'] }, {}, 'sign_in.email'],
    [{ email: 'ada' }, {}, 'sign_in.email'],
    [{ email_verified: undefined }, {}, 'sign_in.email_verified'],
    [{ email_verified: false }, { trustEmail: true }, 'sign_in.email_verified'],
    [{ email_verified: 'false' }, { trustEmail: true }, 'sign_in.email_verified'],
    [{ email_verified: 1 }, { trustEmail: true }, 'sign_in.email_verified'],
    [{}, { emailDomains: ['example.org'] }, 'sign_in.email_domain'],
    [{ email: 'ada@sub.example.org' }, { emailDomains: ['example.org'] }, 'sign_in.email_domain'],
  ])('is refused for %j under %j, as %s', (claims, change, rule) => {
    expect(() => read(claims, change)).toThrow(expect.objectContaining({ members: { rule } }));
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
