import type { KeyObject } from 'node:crypto';
import { type Authenticator, type AuthRequest, unauthenticated } from '../authenticator.ts';
import type { Principal } from '../model.ts';
import type { SignedIn } from './model.ts';
import { credentialTag } from './verifier.ts';

/**
 * Who signs in with a key: an operator's, or the one of the configuration. A key that holds only for signed requests, or
 * with a certificate, cannot become a cookie, which is neither.
 * @param request as the browser came
 * @throws PortcullisError unauthenticated, with one message whatever the reason; rate_limited after many failures;
 * cannot_verify or unavailable when it cannot be told now
 */
export async function signInWithKey(
  authenticator: Authenticator,
  sessionKey: KeyObject,
  key: string,
  request: Omit<AuthRequest, 'headers' | 'url' | 'session'>,
): Promise<SignedIn> {
  const principal = await authenticator.identify({ ...request, headers: { 'x-portcullis-key': key }, url: '/' });
  if (!maySignIn(principal)) throw unauthenticated(`a ${principal.method} of kind ${principal.kind} may not sign in`);
  const tag = principal.method === 'static_key' ? credentialTag(sessionKey, key) : null;
  return { method: 'key', principal, tag };
}

function maySignIn({ kind, method, requiresSignature, binding }: Principal): boolean {
  const isKey = method === 'static_key' || method === 'api_key';
  return kind === 'operator' && isKey && !requiresSignature && binding === null;
}
