import type { IssuedKey } from '../key-issue.ts';
import type { Scope } from '../scopes.ts';

/** Somebody who is logged in at a command line. Times are epoch milliseconds. */
export interface LoginRecord {
  readonly id: string;
  readonly projectId: string;
  readonly personId: string;
  readonly scopes: readonly Scope[];
  /** What the client called itself. */
  readonly clientName: string;
  /** Where it asked from. */
  readonly address: string;
  readonly createdAt: number;
  /** When it last got a key. */
  readonly lastUsedAt: number;
  /** The latest end. */
  readonly expiresAt: number;
}

/** A login with what its refresh credentials and keys follow from. */
export interface StoredLogin extends LoginRecord {
  readonly seed: Buffer;
  /** Of the refresh credential that is good now. */
  readonly generation: number;
}

/** What a command line asks a person to confirm. */
export interface DeviceRequest {
  /** Of the login that it becomes. */
  readonly id: string;
  readonly clientName: string;
  readonly address: string;
  /** Null: everything that the person has but `admin`. */
  readonly scopes: readonly Scope[] | null;
}

/** The error codes of RFC 6749 section 5.2 and RFC 8628 section 3.5 that a grant can end with. */
export type GrantError =
  | 'invalid_request'
  | 'invalid_grant'
  | 'invalid_scope'
  | 'authorization_pending'
  | 'slow_down'
  | 'access_denied'
  | 'expired_token';

/** A grant that gives nothing. It is returned, not thrown: what was found out on the way is kept. */
export interface Refusal {
  readonly error: GrantError;
  /** One sentence for whoever reads the client's log. */
  readonly description: string;
}

/** What a grant gives: a key, and for a login the credential that fetches the next one. */
export interface Issued extends IssuedKey {
  readonly refreshCredential: string | null;
}

export type Granted = { readonly issued: Issued } | { readonly refused: Refusal };

/** A grant that gives nothing. */
export function refuse(error: GrantError, description: string): { readonly refused: Refusal } {
  return { refused: { error, description } };
}
