import type { JWTPayload, ProtectedHeaderParameters } from 'jose';
import { clockSkewS, subjectCharsMax } from '../base/limits.ts';
import type { Binding, RefusalReason } from './model.ts';
import { type Scope, scopesFromToken } from './scopes.ts';

/** What an issuer's tokens must be. */
export interface TokenRules {
  readonly audience: readonly string[];
  readonly algorithms: readonly string[];
  /** Only `typ: at+jwt` (RFC 9068); else `JWT` and none are accepted too. */
  readonly requireAtJwt: boolean;
  /** A token whose only audience this is was made for the client itself: an ID token. */
  readonly clientId: string | null;
  readonly maxLifetimeS: number;
  /** A claim that has scopes too, besides the usual three; null for none. */
  readonly scopeClaim: string | null;
}

/** The algorithm before all else: a token that is not signed by a private key is of no issuer. */
export function refuseAlgorithm({ alg }: ProtectedHeaderParameters): RefusalReason | null {
  if (typeof alg !== 'string' || alg.toLowerCase() === 'none') return 'unsigned';
  return alg.startsWith('HS') ? 'symmetric_algorithm' : null;
}

/** Why header and claims are not those of an access token for us, now; null when they are. Says nothing of the signature. */
export function refuseClaims(
  header: ProtectedHeaderParameters,
  claims: JWTPayload,
  rules: TokenRules,
  nowS: number,
): RefusalReason | null {
  if (header.alg === undefined || !rules.algorithms.includes(header.alg)) return 'algorithm_not_allowed';
  if (header.crit !== undefined) return 'malformed_token';
  if (!isAccessTokenType(header.typ, rules.requireAtJwt)) return 'wrong_type';
  const audience = audienceOf(claims);
  if (!audience.some((name) => rules.audience.includes(name))) return 'wrong_audience';
  const forClient = audience.length === 1 && audience[0] === rules.clientId;
  if (forClient || 'nonce' in claims || 'at_hash' in claims) return 'id_token';
  // Bound to a key that the caller must prove (RFC 7800): to take it as a bearer token would undo the binding.
  if ('cnf' in claims && bindingOf(claims) === null) return 'sender_constrained';
  if (!isSubject(claims.sub)) return 'bad_subject';
  return refuseTimes(claims, rules.maxLifetimeS, nowS);
}

function refuseTimes({ exp, iat, nbf }: JWTPayload, maxLifetimeS: number, nowS: number): RefusalReason | null {
  if (!Number.isFinite(exp) || exp === undefined) return 'no_expiry';
  if (exp <= nowS) return 'token_expired';
  for (const start of [iat, nbf]) {
    if (start !== undefined && !(Number.isFinite(start) && start <= nowS + clockSkewS)) return 'not_yet_valid';
  }
  // Without `iat` what is left of the life is all that can be measured.
  return exp - Math.min(iat ?? nowS, nowS) > maxLifetimeS ? 'lifetime_too_long' : null;
}

function isAccessTokenType(typ: unknown, requireAtJwt: boolean): boolean {
  if (typ === undefined) return !requireAtJwt;
  if (typeof typ !== 'string') return false;
  const type = typ.toLowerCase().replace(/^application\//, '');
  return type === 'at+jwt' || (type === 'jwt' && !requireAtJwt);
}

// It becomes part of an id in logs, the audit log and limits.
function isSubject(sub: unknown): boolean {
  return typeof sub === 'string' && sub.length > 0 && sub.length <= subjectCharsMax && !/\p{C}/u.test(sub);
}

/** The certificate that a token is bound to (RFC 8705, section 3.1), if that and nothing else is its confirmation. */
export function bindingOf({ cnf }: JWTPayload): Binding | null {
  if (typeof cnf !== 'object' || cnf === null) return null;
  const [[method, value] = [], ...others] = Object.entries(cnf);
  if (method !== 'x5t#S256' || typeof value !== 'string' || others.length > 0) return null;
  return { by: 'x5t#S256', value };
}

/** The audience claim as a list (RFC 7519 section 4.1.3). */
export function audienceOf({ aud }: JWTPayload): readonly string[] {
  return typeof aud === 'string' ? [aud] : Array.isArray(aud) ? aud.filter((name) => typeof name === 'string') : [];
}

/**
 * The scopes of a token: issuers write them as `scope` (RFC 9068), `scp` or `permissions`, or in a claim that is
 * configured, as text or a list.
 */
export function scopesOf(claims: JWTPayload, { scopeClaim }: TokenRules): Set<Scope> {
  const claimNames = ['scope', 'scp', 'permissions', ...(scopeClaim === null ? [] : [scopeClaim])];
  const names = claimNames.flatMap((name) => {
    const claim = claims[name];
    return typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [];
  });
  return scopesFromToken(names.filter((name) => typeof name === 'string'));
}
