import type { Config } from './config.ts';

/** A token issuer, with its project by name. */
export interface ConfiguredIssuer {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly jwksUri: string;
  readonly project: string;
  readonly algorithms?: readonly string[];
  readonly requireAtJwt?: boolean;
  readonly grantAdmin?: boolean;
  readonly clientId?: string;
  readonly maxLifetimeS?: number;
  readonly scopeClaim?: string | undefined;
}

/**
 * The issuer of the environment, if there is one, and those of the file. The one of the environment is the operator's own
 * and may grant `admin`; one of the file is trusted for its project, unless it says `grant_admin`.
 */
export function configuredIssuers({ options, file }: Config): ConfiguredIssuer[] {
  const { AUTH_DOMAIN, AUTH_ISSUER, AUTH_AUDIENCE, JWKS_URI } = options;
  const issuer = AUTH_ISSUER ?? (AUTH_DOMAIN === null ? null : `https://${AUTH_DOMAIN}/`);
  const jwksUri = JWKS_URI ?? (AUTH_DOMAIN === null ? null : `https://${AUTH_DOMAIN}/.well-known/jwks.json`);
  const first =
    issuer === null || jwksUri === null
      ? []
      : [{ issuer, jwksUri, audience: AUTH_AUDIENCE, project: 'default', grantAdmin: true }];
  const others = file.issuers.map((entry) => ({
    issuer: entry.issuer,
    audience: entry.audience,
    jwksUri: entry.jwks_uri,
    project: entry.project,
    requireAtJwt: entry.require_at_jwt,
    grantAdmin: entry.grant_admin,
    maxLifetimeS: entry.max_lifetime_s,
    scopeClaim: entry.scope_claim,
    ...(entry.algorithms ? { algorithms: entry.algorithms } : {}),
    ...(entry.client_id === undefined ? {} : { clientId: entry.client_id }),
  }));
  return [...first, ...others];
}

/** Credentials that stand in the configuration itself; `allowed` says whether a legacy one is switched on. */
export interface ConfiguredCredentials {
  readonly adminApiKey: string | null;
  readonly apiKey: { readonly text: string; readonly scopes: readonly string[] } | null;
  readonly metricsApiKey: string | null;
  readonly authToken: { readonly text: string; readonly scopes: readonly string[]; readonly allowed: boolean } | null;
  readonly basic: { readonly user: string; readonly password: string; readonly allowed: boolean } | null;
}

export function configuredCredentials({ options, production }: Config): ConfiguredCredentials {
  const { API_KEY, AUTH_TOKEN, BASIC_AUTH_USER, BASIC_AUTH_PASS } = options;
  return {
    adminApiKey: options.ADMIN_API_KEY,
    apiKey: API_KEY === null ? null : { text: API_KEY, scopes: options.API_KEY_SCOPES },
    metricsApiKey: options.METRICS_API_KEY,
    authToken:
      AUTH_TOKEN === null
        ? null
        : { text: AUTH_TOKEN, scopes: options.AUTH_TOKEN_SCOPES, allowed: options.ALLOW_LEGACY_AUTH_TOKEN },
    basic:
      BASIC_AUTH_USER === null || BASIC_AUTH_PASS === null
        ? null
        : {
            user: BASIC_AUTH_USER,
            password: BASIC_AUTH_PASS,
            allowed: options.ENABLE_BASIC_AUTH_FALLBACK && !production,
          },
  };
}
