import { PortcullisError } from '../base/errors.ts';
import type { Principal } from './model.ts';
import { grants, type Scope } from './scopes.ts';

/**
 * Whether `principal` may do what `needed` covers. Approvals are decided by people: an agent, and a static credential
 * that several people share, may not, whatever scopes they hold, `admin` included.
 */
export function permits(principal: Principal, needed: Scope): boolean {
  if (needed === 'approvals:decide' && (principal.kind === 'agent' || isShared(principal))) return false;
  return grants(principal.scopes, needed);
}

/** @throws PortcullisError insufficient_scope */
export function requireScope(principal: Principal, needed: Scope): void {
  if (permits(principal, needed)) return;
  throw new PortcullisError(
    'insufficient_scope',
    `This needs the scope ${needed}, which the credential of "${principal.name}" does not hold.`,
    { rule: `scope:${needed}` },
  );
}

/**
 * Refuses a caller that would make a key, or give a person roles, which can do what its own credential cannot.
 * @throws PortcullisError insufficient_scope, policy_denied
 */
export function requireMayGrant(by: Principal, granted: readonly Scope[], to: 'a key' | 'a person' = 'a key'): void {
  if (by.models !== null || by.runId !== null) {
    throw new PortcullisError(
      'policy_denied',
      'A credential that is limited to a run or to models cannot make keys or give roles, which would not be.',
      { rule: 'key.limited' },
    );
  }
  const lacking = granted.find((scope) => !permits(by, scope));
  if (lacking === undefined) return;
  throw new PortcullisError('insufficient_scope', `You cannot give ${to} the scope ${lacking}, which yours lacks.`, {
    rule: `scope:${lacking}`,
  });
}

/**
 * What no agent may hold. With `admin` or `keys:write` it could make a key for anybody, and with `policy:write` raise its
 * own budget or release its own kill switch: either would let an agent decide on its own requests after all.
 */
export const scopesNotForAgents: ReadonlySet<Scope> = new Set<Scope>([
  'admin',
  'keys:write',
  'policy:write',
  'approvals:decide',
]);

function isShared({ method }: Principal): boolean {
  return method === 'static_key' || method === 'legacy_token' || method === 'basic';
}
