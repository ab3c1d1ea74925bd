import { createHmac, randomBytes } from 'node:crypto';
import { PortcullisError } from '../base/errors.ts';
import { digestsEqual } from './api-key.ts';
import type { Credential } from './credential.ts';
import type { AuthMethod, Principal, PrincipalKind } from './model.ts';
import { grants, isScope, type Scope } from './scopes.ts';
import type { Verdict, Verifier } from './verifier.ts';

/** Credentials from the configuration, all for one project; null is not configured. */
export interface StaticCredentialOptions {
  readonly projectId: string;
  /** ADMIN_API_KEY: everything but deciding approvals (see `permits`). */
  readonly adminApiKey: string | null;
  /** API_KEY and API_KEY_SCOPES: for a move from another system. */
  readonly apiKey: { readonly text: string; readonly scopes: readonly string[] } | null;
  /** METRICS_API_KEY: reads metrics, no more. */
  readonly metricsApiKey: string | null;
  /** AUTH_TOKEN and AUTH_TOKEN_SCOPES; ignored unless ALLOW_LEGACY_AUTH_TOKEN. */
  readonly authToken: { readonly text: string; readonly scopes: readonly string[]; readonly allowed: boolean } | null;
  /** BASIC_AUTH_USER and BASIC_AUTH_PASS; ignored unless ENABLE_BASIC_AUTH_FALLBACK, and in production. */
  readonly basic: { readonly user: string; readonly password: string; readonly allowed: boolean } | null;
}

interface Entry {
  readonly kind: 'token' | 'basic';
  readonly digest: Buffer;
  readonly principal: Principal;
}

// What somebody who holds a token that everybody holds must not do.
const scopesNotForAuthToken: readonly Scope[] = ['keys:write', 'approvals:decide', 'policy:write'];
const basicScopes = ['models:invoke', 'tools:call', 'runs:write'];

/**
 * Verifies the credentials that stand in the configuration: the bootstrap admin key, and those that other systems used.
 * Each presented text is compared with all of them, by digests under a key of this process, so that the time tells
 * nothing.
 */
export class StaticCredentials implements Verifier {
  readonly #hashKey = randomBytes(32);
  readonly #entries: readonly Entry[];

  /** @throws PortcullisError invalid_argument for scopes that do not exist, or that AUTH_TOKEN must never have */
  constructor(options: StaticCredentialOptions) {
    const { projectId, adminApiKey, apiKey, metricsApiKey, authToken, basic } = options;
    const entries: Entry[] = [];
    const add = (kind: Entry['kind'], text: string, principal: Principal) =>
      entries.push({ kind, digest: this.#digest(text), principal });
    const make = principalOf(projectId);
    if (adminApiKey !== null) add('token', adminApiKey, make('ADMIN_API_KEY', 'operator', 'static_key', ['admin']));
    if (apiKey) add('token', apiKey.text, make('API_KEY', 'service', 'static_key', apiKey.scopes));
    if (metricsApiKey !== null) {
      add('token', metricsApiKey, make('METRICS_API_KEY', 'service', 'static_key', ['metrics:read']));
    }
    if (authToken?.allowed) {
      const principal = make('AUTH_TOKEN', 'service', 'legacy_token', authToken.scopes);
      refuseScopes(principal);
      add('token', authToken.text, principal);
    }
    if (basic?.allowed) {
      add('basic', `${basic.user}:${basic.password}`, make('BASIC_AUTH_USER', 'service', 'basic', basicScopes));
    }
    this.#entries = entries;
  }

  verify(credential: Credential): Verdict | null {
    if (credential.kind !== 'token' && credential.kind !== 'basic') return null;
    if (credential.kind === 'token' && this.#entries.length === 0) return null;
    const digest = this.#digest(credential.text);
    let found: Principal | null = null;
    for (const entry of this.#entries) {
      if (digestsEqual(entry.digest, digest) && entry.kind === credential.kind) found = entry.principal;
    }
    if (found) return { principal: found };
    return credential.kind === 'basic' ? { method: 'basic', reason: 'bad_password', keyId: null } : null;
  }

  isOurs(text: string): boolean {
    const digest = this.#digest(text);
    return this.#entries.filter((entry) => digestsEqual(entry.digest, digest)).length > 0;
  }

  #digest(text: string): Buffer {
    return createHmac('sha256', this.#hashKey).update(text).digest();
  }
}

function principalOf(projectId: string) {
  return (name: string, kind: PrincipalKind, method: AuthMethod, scopes: readonly string[]): Principal => {
    const unknown = scopes.find((scope) => !isScope(scope));
    if (unknown !== undefined) {
      throw new PortcullisError('invalid_argument', `${name}_SCOPES: "${unknown}" is not a scope.`);
    }
    return {
      kind,
      id: `static:${name}`,
      name,
      projectId,
      scopes: new Set(scopes.filter(isScope)),
      method,
      agentId: null,
      personId: null,
      keyId: null,
      runId: null,
      models: null,
      teams: [],
      requiresSignature: false,
      binding: null,
      cidrs: null,
      token: null,
      expiresAt: null,
    };
  };
}

function refuseScopes({ scopes }: Principal): void {
  const forbidden = scopesNotForAuthToken.find((scope) => grants(scopes, scope));
  if (forbidden === undefined) return;
  throw new PortcullisError(
    'invalid_argument',
    `AUTH_TOKEN_SCOPES must not contain ${scopes.has('admin') ? 'admin' : forbidden}: make an API key for that.`,
  );
}
