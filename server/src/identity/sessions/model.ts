import type { Principal } from '../model.ts';

/** How somebody signed in: at the identity provider, or with a key. */
export type SignInMethod = 'oidc' | 'key';

/** A session as it is listed. Times are epoch milliseconds. */
export interface SessionRecord {
  readonly id: string;
  readonly projectId: string;
  /** Whose it is: the id of a person, or of a key that is nobody's in particular. */
  readonly principalId: string;
  readonly personId: string | null;
  readonly method: SignInMethod;
  /** The key that it stands on, where it is one that has an id. */
  readonly keyId: string | null;
  readonly address: string;
  readonly userAgent: string;
  readonly createdAt: number;
  readonly lastUsedAt: number;
  readonly expiresAt: number;
}

/** What a session can stand on. */
export type SignedIn =
  /** The account at the identity provider, which the person must still be. */
  | { readonly method: 'oidc'; readonly principal: Principal; readonly issuer: string; readonly subject: string }
  /** `tag` is of a key that stands in the configuration; null for one that is a row. */
  | { readonly method: 'key'; readonly principal: Principal; readonly tag: Buffer | null };
