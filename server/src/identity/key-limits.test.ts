import { describe, expect, it } from 'vitest';
import { operatorOf } from '../../../test/support/identity.ts';
import { checkNewKey, type NewKey } from './key-input.ts';
import { lifetimeWithin, requireUnlimited, requireWithinLimits } from './key-limits.ts';
import type { Binding, Principal } from './model.ts';

const unlimited: Principal = { ...operatorOf('prj_1'), keyId: 'key000000001' };
const thumbprint = 'A'.repeat(43);
const byThumbprint: Binding = { by: 'x5t#S256', value: thumbprint };
const bySpiffeId: Binding = { by: 'spiffe_id', value: 'spiffe://example.org/agent/builder' };
const now = Date.parse('2026-11-23T12:00:00Z');

function keyOf(more: Partial<NewKey>) {
  return checkNewKey({ projectId: 'prj_1', name: 'a key', kind: 'service', ...more });
}

function make(limits: Partial<Principal>, more: Partial<NewKey>) {
  return () => requireWithinLimits({ ...unlimited, ...limits }, keyOf(more));
}

const agentKey = { kind: 'agent', agentId: 'agt_1' } as const;

describe('a key', () => {
  it('is limited to addresses at least as its maker is', () => {
    const limits = { cidrs: ['10.0.0.0/8', '2001:db8::/32'] };
    expect(make(limits, { cidrs: ['10.0.0.0/8', '10.1.2.3', '2001:db8:1::/48'] })).not.toThrow();
    for (const cidrs of [
      null,
      ['0.0.0.0/0'],
      ['10.0.0.0/7'],
      ['10.0.0.1', '11.0.0.1'],
      ['::/0'],
      ['::ffff:11.0.0.1'],
    ]) {
      expect(make(limits, { cidrs })).toThrow('only from 10.0.0.0/8, 2001:db8::/32');
    }
    expect(make({}, { cidrs: null })).not.toThrow();
  });

  it('requires signatures where its maker does', () => {
    expect(make({ requiresSignature: true }, { requireSignature: true })).not.toThrow();
    expect(make({ requiresSignature: true }, {})).toThrow('only for signed requests');
    expect(make({ requiresSignature: true }, agentKey)).toThrow('only for signed requests');
  });

  it('is bound as its maker is; an agent has a certificate of its own', () => {
    for (const binding of [byThumbprint, bySpiffeId]) {
      expect(make({ binding }, { binding })).not.toThrow();
      expect(make({ binding }, {})).toThrow('bind them to the same one');
      expect(make({ binding }, agentKey)).toThrow('must be bound to a certificate too');
      expect(make({ binding }, { ...agentKey, binding: bySpiffeId })).not.toThrow();
    }
    expect(make({ binding: byThumbprint }, { binding: bySpiffeId })).toThrow('bind them to the same one');
  });
});

describe('the life of a key', () => {
  const maker = { ...unlimited, expiresAt: now + 3_600_500 };

  it('is what was asked for, within that of its maker', () => {
    expect(lifetimeWithin(maker, keyOf({ lifetimeS: 3600 }), true, now)).toBe(3600);
    expect(() => lifetimeWithin(maker, keyOf({ lifetimeS: 3601 }), true, now)).toThrow(
      'until 2026-11-23T13:00:00.500Z',
    );
    expect(() => lifetimeWithin(maker, keyOf({ lifetimeS: null }), true, now)).toThrow(
      'no key that it makes may outlive it',
    );
    expect(lifetimeWithin(unlimited, keyOf({ lifetimeS: null }), true, now)).toBeNull();
  });

  it('is cut to that of its maker when nothing was asked for', () => {
    expect(lifetimeWithin(maker, keyOf({ lifetimeS: 7_776_000 }), false, now)).toBe(3600);
    expect(() => lifetimeWithin(maker, keyOf({ lifetimeS: 7_776_000 }), false, now + 3_560_000)).toThrow(
      'it ends too soon',
    );
  });

  it('is not bounded by a token or session, which are renewed', () => {
    expect(lifetimeWithin({ ...maker, keyId: null, method: 'session' }, keyOf({ lifetimeS: 86_400 }), true, now)).toBe(
      86_400,
    );
  });
});

it('a login makes keys that outlive its own for agents alone', () => {
  const login = { ...unlimited, expiresAt: now + 3_600_000, loginId: 'lgn_1' };
  expect(lifetimeWithin(login, keyOf({ ...agentKey, lifetimeS: 86_400 }), true, now)).toBe(86_400);
  expect(() => lifetimeWithin(login, keyOf({ lifetimeS: 86_400 }), true, now)).toThrow('may outlive it');
  expect(() => requireUnlimited(login, 'certificate')).not.toThrow();
  expect(() => requireUnlimited(login, 'person')).toThrow('for a time only');
});

it('what has neither end nor addresses is given without limits only', () => {
  for (const what of ['certificate', 'token', 'person'] as const) {
    const give = (limits: Partial<Principal>) => () => requireUnlimited({ ...unlimited, ...limits }, what);
    expect(give({})).not.toThrow();
    expect(give({ expiresAt: now })).toThrow('for a time only');
    expect(give({ cidrs: ['10.0.0.0/8'] })).toThrow('from some addresses only');
    expect(give({ requiresSignature: true })).toThrow('only for signed requests');
    expect(give({ keyId: null, method: 'session', expiresAt: now })).not.toThrow();
  }
  // What an agent may do by its certificate takes that certificate.
  expect(() => requireUnlimited({ ...unlimited, binding: byThumbprint }, 'certificate')).not.toThrow();
  for (const what of ['token', 'person'] as const) {
    expect(() => requireUnlimited({ ...unlimited, binding: byThumbprint }, what)).toThrow('only with its certificate');
  }
});
