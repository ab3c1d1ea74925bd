import { describe, expect, it } from 'vitest';
import { operatorOf } from '../../../test/support/identity.ts';
import type { Principal } from './model.ts';
import { permits, requireMayGrant, requireScope, scopesNotForAgents } from './permission.ts';

const admin = operatorOf('prj_1');
const keyMaker: Principal = { ...admin, scopes: new Set(['keys:write', 'models:invoke']) };

describe('deciding approvals', () => {
  it('is for people: not for an agent, and not for a credential that several share', () => {
    const held = new Set(['admin', 'approvals:decide'] as const);
    expect(permits({ ...admin, scopes: held }, 'approvals:decide')).toBe(true);
    expect(permits({ ...admin, scopes: held, kind: 'agent' }, 'approvals:decide')).toBe(false);
    for (const method of ['static_key', 'legacy_token', 'basic'] as const) {
      expect(permits({ ...admin, scopes: held, method }, 'approvals:decide')).toBe(false);
      expect(permits({ ...admin, scopes: held, method }, 'keys:write')).toBe(true);
    }
  });
});

describe('a scope that is missing', () => {
  it('is named in the refusal, and is its rule', () => {
    expect(() => requireScope(keyMaker, 'policy:write')).toThrow('policy:write');
    expect(() => requireScope(keyMaker, 'keys:read')).not.toThrow();
    expect(() => requireScope(keyMaker, 'policy:write')).toThrow(
      expect.objectContaining({ code: 'insufficient_scope', members: { rule: 'scope:policy:write' } }),
    );
  });

  it('cannot be given away', () => {
    expect(() => requireMayGrant(keyMaker, ['models:invoke', 'keys:read'])).not.toThrow();
    expect(() => requireMayGrant(keyMaker, ['models:invoke', 'admin'])).toThrow('the scope admin');
    expect(() => requireMayGrant({ ...admin, method: 'static_key' }, ['approvals:decide'])).toThrow('approvals:decide');
  });
});

it('a credential with limits makes no keys, since they would not have them', () => {
  expect(() => requireMayGrant({ ...keyMaker, models: ['claude-*'] }, [])).toThrow('limited');
  expect(() => requireMayGrant({ ...keyMaker, runId: 'run_1' }, [])).toThrow('limited');
});

it('lets no agent hold what would let it decide on itself', () => {
  expect([...scopesNotForAgents].toSorted()).toEqual(['admin', 'approvals:decide', 'keys:write', 'policy:write']);
});
