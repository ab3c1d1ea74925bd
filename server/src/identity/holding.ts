import { PortcullisError } from '../base/errors.ts';
import type { IdentityIndex } from './identity-index.ts';
import type { Principal } from './model.ts';

/**
 * Refuses to go on with a stream, which outlives the moment in which its caller was identified: for a credential that has
 * ended or expired since, or may do less than it did.
 * @param nowMs epoch milliseconds
 * @throws PortcullisError unauthenticated
 */
export function requireHolding(
  by: Principal,
  identity: Pick<IdentityIndex, 'whyEnded' | 'scopesNow'>,
  nowMs: number,
): void {
  const isExpired = by.expiresAt !== null && by.expiresAt <= nowMs;
  if (!isExpired && identity.whyEnded(by) === null && by.scopes.isSubsetOf(identity.scopesNow(by))) return;
  throw new PortcullisError(
    'unauthenticated',
    'The credential of this stream no longer holds, or may do less than before: go on with one that holds.',
  );
}
