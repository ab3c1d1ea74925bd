import type { Scope } from './scopes.ts';

/** Who is calling. It comes from the credential, never from a field of the request. */
export type PrincipalKind = 'operator' | 'agent' | 'service';

/** How the credential was presented and verified. */
export type AuthMethod = 'api_key' | 'jwt' | 'legacy_token' | 'basic' | 'static_key' | 'session' | 'certificate';

/**
 * The verified caller. Immutable: what may change while a call is in flight (revocation, a disabled agent) is found by
 * `keyId` and `agentId` in the control state, never by holding on to this object.
 */
export interface Principal {
  readonly kind: PrincipalKind;
  /** Stable id for audit and limits: the agent's, person's or `issuer|subject`. */
  readonly id: string;
  readonly name: string;
  readonly projectId: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly method: AuthMethod;
  readonly agentId: string | null;
  readonly personId: string | null;
  readonly keyId: string | null;
  /** The run that the key is bound to; calls may not name another. */
  readonly runId: string | null;
  /** Public model names (wildcards) that the key may ask for; null is any. */
  readonly models: readonly string[] | null;
  /** Ids of the teams of the person who calls, or who answers for the agent that does. */
  readonly teams: readonly string[];
  /** Whether each of its requests must be signed (RFC 9421). */
  readonly requiresSignature: boolean;
  /** JWT only, for the access log. */
  readonly token: {
    readonly issuer: string;
    readonly subject: string;
    readonly jti: string | null;
    readonly audience: readonly string[];
  } | null;
  /** Epoch milliseconds; a call in flight ends when it passes only if the key is revoked, expiry gates new calls. */
  readonly expiresAt: number | null;
}

/** Why a credential does not hold: for the log and the audit, never for the caller. */
export type RefusalReason =
  // The request
  | 'missing'
  | 'in_url'
  | 'conflicting'
  | 'malformed'
  | 'unsupported_scheme'
  | 'unrecognised'
  // API keys
  | 'bad_checksum'
  | 'unknown_key'
  | 'bad_secret'
  | 'key_revoked'
  | 'key_expired'
  | 'address_not_allowed'
  // What stands behind a key or token
  | 'agent_disabled'
  | 'person_disabled'
  // Static credentials
  | 'bad_password'
  // Access tokens
  | 'malformed_token'
  | 'unsigned'
  | 'symmetric_algorithm'
  | 'algorithm_not_allowed'
  | 'wrong_type'
  | 'unknown_issuer'
  | 'wrong_audience'
  | 'id_token'
  | 'sender_constrained'
  | 'bad_subject'
  | 'no_expiry'
  | 'token_expired'
  | 'lifetime_too_long'
  | 'not_yet_valid'
  | 'unknown_signing_key'
  | 'bad_signature';
