import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commonScopes, grants, scopes, scopesFromToken, type Scope } from './scopes.ts';

const anyScope = fc.constantFrom(...scopes);
const anyHeld = fc.uniqueArray(anyScope).map((list) => new Set<Scope>(list));

describe('the hierarchy of scopes', () => {
  it('lets admin do everything', () => {
    for (const scope of scopes) expect(grants(new Set(['admin']), scope)).toBe(true);
  });

  it('lets admin:read read everything and do nothing', () => {
    for (const scope of scopes) {
      expect(grants(new Set(['admin:read']), scope)).toBe(scope.endsWith(':read'));
    }
  });

  it('lets who writes read, and who calls tools list them', () => {
    expect(grants(new Set(['policy:write']), 'policy:read')).toBe(true);
    expect(grants(new Set(['keys:write']), 'keys:read')).toBe(true);
    expect(grants(new Set(['tools:call']), 'tools:read')).toBe(true);
    expect(grants(new Set(['policy:read']), 'policy:write')).toBe(false);
    expect(grants(new Set(['tools:read']), 'tools:call')).toBe(false);
    expect(grants(new Set(['runs:write']), 'telemetry:read')).toBe(false);
  });

  it('gives nothing for nothing', () => {
    for (const scope of scopes) expect(grants(new Set(), scope)).toBe(false);
  });

  it('never takes away: more scopes grant at least as much', () => {
    fc.assert(
      fc.property(anyHeld, anyHeld, anyScope, (held, more, needed) => {
        fc.pre(grants(held, needed));
        expect(grants(held.union(more), needed)).toBe(true);
      }),
    );
  });

  it('is transitive: what a granted scope grants is granted', () => {
    fc.assert(
      fc.property(anyHeld, anyScope, anyScope, (held, middle, needed) => {
        fc.pre(grants(held, middle) && grants(new Set([middle]), needed));
        expect(grants(held, needed)).toBe(true);
      }),
    );
  });
});

describe('what two holders may both do', () => {
  it('is exactly what each of them may, said in as few scopes as can be', () => {
    fc.assert(
      fc.property(anyHeld, anyHeld, (one, other) => {
        const common = commonScopes(one, other);
        for (const scope of scopes) expect(grants(common, scope)).toBe(grants(one, scope) && grants(other, scope));
        for (const scope of common) {
          const rest = new Set([...common].filter((each) => each !== scope));
          expect(grants(rest, scope)).toBe(false);
        }
      }),
    );
  });

  it('is a name of its own where neither has it', () => {
    expect(commonScopes(new Set(['admin:read']), new Set(['policy:write']))).toEqual(new Set(['policy:read']));
  });
});

describe('the scopes of a token', () => {
  it('may have the names of other systems', () => {
    expect(scopesFromToken(['mcp:tools.exec', 'mcp:search', 'mcp:admin', 'models:invoke'])).toEqual(
      new Set(['tools:call', 'tools:read', 'admin', 'models:invoke']),
    );
  });

  it('leave out what is no scope, whatever it is called', () => {
    expect(scopesFromToken(['openid', '', 'ADMIN', ' admin', 'constructor', '__proto__', 'toString'])).toEqual(
      new Set(),
    );
  });
});
