import type { Role } from '../roles.ts';

/** Where people sign in: the `sign_in` section of the configuration file. */
export interface OidcOptions {
  /** The exact issuer; its metadata is found below it (OpenID Connect Discovery 1.0). */
  readonly issuer: string;
  readonly clientId: string;
  /** Null for a public client, which PKCE alone protects. */
  readonly clientSecret: string | null;
  readonly clientAuth: 'basic' | 'post';
  readonly scopes: readonly string[];
  readonly projectId: string;
  readonly rules: ClaimRules;
}

/** What the claims of a person are taken for. */
export interface ClaimRules {
  /** The name of a claim, or a path into claims with dots. */
  readonly groupsClaim: string;
  /** By group. */
  readonly roles: Readonly<Record<string, readonly Role[]>>;
  /** The name of a team by group. */
  readonly teams: Readonly<Record<string, string>>;
  /** Null takes any. */
  readonly emailDomains: readonly string[] | null;
  /** Takes addresses without `email_verified`; one that is said not to be verified is refused all the same. */
  readonly trustEmail: boolean;
}

/** Who signed in, as the identity provider says and the rules read it. */
export interface Newcomer {
  readonly issuer: string;
  readonly subject: string;
  readonly email: string;
  readonly name: string;
  readonly roles: readonly Role[];
  /** Names. */
  readonly teams: readonly string[];
}
