import type { Scope } from './scopes.ts';

/** Who is calling. It comes from the credential, never from a field of the request. */
export type PrincipalKind = 'operator' | 'agent' | 'service';

/** How the credential was presented and verified. */
export type AuthMethod = 'api_key' | 'jwt' | 'legacy_token' | 'basic' | 'static_key' | 'session' | 'certificate';

/** The client certificate without which a credential does not hold. */
export interface Binding {
  /** The thumbprint of one certificate (RFC 8705, section 3.1), or the SPIFFE id of any that names it. */
  readonly by: 'x5t#S256' | 'spiffe_id';
  readonly value: string;
}

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
  /** The certificate that its key or token is bound to. */
  readonly binding: Binding | null;
  /** Address ranges from which its key works; null is anywhere. */
  readonly cidrs: readonly string[] | null;
  /** The login of a command line that its key is of: such keys are short, and follow one another. */
  readonly loginId?: string;
  /** The session that a browser's cookie named: what it asks for must come from our own pages. */
  readonly sessionId?: string;
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
  // It was bound to a run: it ended with that, or was revoked.
  | 'run_key_ended'
  | 'key_expired'
  | 'address_not_allowed'
  // What stands behind a key or token
  | 'agent_disabled'
  | 'person_disabled'
  // Sessions
  | 'session_ended'
  | 'no_role'
  // Static credentials
  | 'bad_password'
  // Client certificates
  | 'certificate_missing'
  | 'certificate_mismatch'
  | 'certificate_malformed'
  | 'certificate_untrusted'
  | 'certificate_not_leaf'
  | 'certificate_unknown_extension'
  | 'certificate_without_name'
  | 'certificate_not_yet_valid'
  | 'certificate_expired'
  | 'wrong_trust_domain'
  | 'unknown_agent'
  // Request signatures
  | 'signature_missing'
  | 'signature_unsupported'
  | 'signature_malformed'
  | 'signature_ambiguous'
  | 'signature_components'
  | 'signature_window'
  | 'signature_stale'
  | 'signature_future'
  | 'signature_expired'
  | 'signature_weak_nonce'
  | 'signature_key_unknown'
  | 'signature_algorithm'
  | 'signature_bad'
  | 'signature_digest'
  | 'signature_replayed'
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
