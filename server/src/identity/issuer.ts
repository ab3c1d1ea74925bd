import { PortcullisError } from '../base/errors.ts';
import { Jwks, type JwksOptions } from './jwks.ts';
import type { TokenRules } from './jwt-claims.ts';

const asymmetricAlgorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'] as const;

/** An issuer of access tokens that is trusted for one project. */
export interface IssuerOptions {
  /** The exact `iss`. */
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly jwksUri: string;
  readonly projectId: string;
  readonly algorithms?: readonly string[] | undefined;
  readonly requireAtJwt?: boolean | undefined;
  readonly clientId?: string | null | undefined;
  /** Whether its tokens may carry `admin` and `admin:read`, which reach every project. */
  readonly grantAdmin?: boolean | undefined;
  /** From `iat` to `exp`. */
  readonly maxLifetimeS?: number | undefined;
  /** A claim that has scopes, besides the usual ones. */
  readonly scopeClaim?: string | undefined;
  /** How long the last good keys go on counting while the issuer cannot be reached. */
  readonly maxStaleS?: number | undefined;
}

/** An issuer ready to verify with. */
export interface Issuer {
  readonly name: string;
  readonly projectId: string;
  readonly grantAdmin: boolean;
  readonly rules: TokenRules;
  readonly jwks: Jwks;
}

/** @throws PortcullisError invalid_argument for an algorithm that is not one of ours */
export function prepareIssuer(
  issuer: IssuerOptions,
  { fetchJson, clock, onFetch }: Pick<JwksOptions, 'fetchJson' | 'clock' | 'onFetch'>,
): Issuer {
  const algorithms = issuer.algorithms ?? asymmetricAlgorithms;
  const allowed: readonly string[] = asymmetricAlgorithms;
  const other = algorithms.find((name) => !allowed.includes(name));
  if (other !== undefined) {
    throw new PortcullisError(
      'invalid_argument',
      `The issuer ${issuer.issuer} allows ${other}; tokens may be signed with ${allowed.join(', ')}.`,
    );
  }
  const rules: TokenRules = {
    audience: issuer.audience,
    // RFC 9864 gives EdDSA over Curve25519 a name of its own.
    algorithms: algorithms.flatMap((name) => (name === 'EdDSA' ? [name, 'Ed25519'] : [name])),
    requireAtJwt: issuer.requireAtJwt ?? false,
    clientId: issuer.clientId ?? null,
    maxLifetimeS: issuer.maxLifetimeS ?? 86_400,
    scopeClaim: issuer.scopeClaim ?? null,
  };
  const maxStaleMs = (issuer.maxStaleS ?? 6 * 3600) * 1000;
  const jwks = new Jwks({ uri: issuer.jwksUri, maxStaleMs, fetchJson, clock, onFetch });
  return {
    name: issuer.issuer,
    projectId: issuer.projectId,
    grantAdmin: issuer.grantAdmin ?? false,
    rules,
    jwks,
  };
}
