import { hash } from 'node:crypto';
import { compactVerify, decodeJwt, decodeProtectedHeader, errors, type JWTPayload } from 'jose';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { refusedTokensMax, tokenVerdictMs, verifiedTokensMax } from '../base/limits.ts';
import type { Credential } from './credential.ts';
import { ExpiringCache } from './expiring-cache.ts';
import type { IdentityIndex } from './identity-index.ts';
import { type Issuer, type IssuerOptions, prepareIssuer } from './issuer.ts';
import type { FetchJson, Jwks, JwksOptions } from './jwks.ts';
import { audienceOf, bindingOf, refuseAlgorithm, refuseClaims, scopesOf } from './jwt-claims.ts';
import type { Binding, Principal, RefusalReason } from './model.ts';
import { scopesNotForAgents } from './permission.ts';
import type { Scope } from './scopes.ts';
import type { Verdict, Verifier } from './verifier.ts';

export interface JwtVerifierOptions {
  readonly issuers: readonly IssuerOptions[];
  readonly index: IdentityIndex;
  readonly fetchJson: FetchJson;
  readonly clock: Clock;
  readonly onFetch: JwksOptions['onFetch'];
  /** Told how long each verification of a signature took, in seconds. */
  readonly onSignature: (seconds: number) => void;
}

/** RFC 7515 section 7.1; without a signature it is refused as such. */
const compactForm = /^[\w-]+\.[\w-]+\.[\w-]*$/;

/** What a good token says. Who that is, and whether they may still act, is looked up anew for every call. */
interface VerifiedToken {
  readonly issuer: Issuer;
  readonly subject: string;
  readonly jti: string | null;
  readonly audience: readonly string[];
  readonly scopes: ReadonlySet<Scope>;
  readonly binding: Binding | null;
  readonly expiresAt: number;
}

/**
 * Verifies access tokens (RFC 9068 and its looser relatives). The claims are checked before the signature, so that most
 * of what does not hold costs little; a token that held is not verified again for a minute, and one whose signature did
 * not hold is not tried again for as long. Keys come from the configured issuers alone: `jku`, `x5u` and `jwk` in a
 * header are not looked at.
 */
export class JwtVerifier implements Verifier {
  readonly #issuers = new Map<string, Issuer>();
  readonly #options: JwtVerifierOptions;
  readonly #verified: ExpiringCache<VerifiedToken>;
  readonly #refused: ExpiringCache<RefusalReason>;

  /** @throws PortcullisError invalid_argument for a symmetric algorithm, or an issuer that is named twice */
  constructor(options: JwtVerifierOptions) {
    this.#options = options;
    this.#verified = new ExpiringCache(options.clock, verifiedTokensMax);
    this.#refused = new ExpiringCache(options.clock, refusedTokensMax);
    for (const issuer of options.issuers) {
      if (this.#issuers.has(issuer.issuer)) {
        throw new PortcullisError('invalid_argument', `The issuer ${issuer.issuer} is configured twice.`);
      }
      this.#issuers.set(issuer.issuer, prepareIssuer(issuer, options));
    }
  }

  /** Whether the keys of all issuers can be had; the worst of them, for /readyz. */
  get status(): 'not_configured' | Jwks['status'] {
    const all = [...this.#issuers.values()].map(({ jwks }) => jwks.status);
    return (['failed', 'degraded', 'ok'] as const).find((status) => all.includes(status)) ?? 'not_configured';
  }

  /** Fetches the keys of all issuers, so that the first call does not wait for them. */
  async warm(): Promise<void> {
    await Promise.all([...this.#issuers.values()].map(({ jwks }) => jwks.warm()));
  }

  /** @throws PortcullisError cannot_verify */
  async verify(credential: Credential): Promise<Verdict | null> {
    if (credential.kind !== 'token' || !compactForm.test(credential.text)) return null;
    const digest = hash('sha256', credential.text, 'base64');
    const known = this.#verified.get(digest) ?? this.#refused.get(digest);
    const token = known ?? (await this.#verifyAnew(credential.text));
    if (typeof token === 'string') {
      if (!known && token === 'bad_signature') this.#refused.set(digest, token, tokenVerdictMs);
      return { method: 'jwt', reason: token, keyId: null };
    }
    const lifeMs = token.expiresAt - this.#options.clock.now();
    if (lifeMs <= 0) return { method: 'jwt', reason: 'token_expired', keyId: null };
    if (!known) this.#verified.set(digest, token, Math.min(lifeMs, tokenVerdictMs));
    return this.#resolve(token);
  }

  /** A token of one of the issuers for another audience is not: the caller's own, of the same identity provider. */
  isOurs(text: string): boolean {
    if (!compactForm.test(text)) return false;
    try {
      const claims = decodeJwt(text);
      const audience = this.#issuers.get(claims.iss ?? '')?.rules.audience ?? [];
      return audienceOf(claims).some((name) => audience.includes(name));
    } catch {
      return false;
    }
  }

  async #verifyAnew(text: string): Promise<VerifiedToken | RefusalReason> {
    let header: ReturnType<typeof decodeProtectedHeader>;
    let claims: JWTPayload;
    try {
      header = decodeProtectedHeader(text);
      claims = decodeJwt(text);
    } catch {
      return 'malformed_token';
    }
    const badAlgorithm = refuseAlgorithm(header);
    if (badAlgorithm) return badAlgorithm;
    const issuer = this.#issuers.get(claims.iss ?? '');
    if (!issuer) return 'unknown_issuer';
    const refused =
      refuseClaims(header, claims, issuer.rules, this.#options.clock.now() / 1000) ??
      (await this.#refuseSignature(text, issuer));
    return refused ?? verifiedToken(issuer, claims);
  }

  async #refuseSignature(text: string, { name, rules, jwks }: Issuer): Promise<RefusalReason | null> {
    const startedAt = this.#options.clock.monotonic();
    try {
      await compactVerify(text, (header, token) => jwks.keyFor(header, token), { algorithms: [...rules.algorithms] });
      return null;
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey) return 'unknown_signing_key';
      if (error instanceof errors.JWKSMultipleMatchingKeys) return 'unknown_signing_key';
      if (error instanceof errors.JOSEError) return 'bad_signature';
      if (error instanceof PortcullisError) throw error;
      throw new PortcullisError(
        'cannot_verify',
        'The access token can be neither accepted nor refused, because the key of its issuer cannot be used.',
        { internal: `a key of ${name} cannot be used`, cause: error },
      );
    } finally {
      this.#options.onSignature((this.#options.clock.monotonic() - startedAt) / 1000);
    }
  }

  /** The agent that is registered for the subject; else a service of the issuer's project. */
  #resolve({ issuer, subject, jti, audience, scopes, binding, expiresAt }: VerifiedToken): Verdict {
    const { index } = this.#options;
    const agent = index.agentBySubject(issuer.projectId, issuer.name, subject);
    const principal: Principal = {
      kind: agent ? 'agent' : 'service',
      id: agent?.id ?? `${issuer.name}|${subject}`,
      name: agent?.name ?? subject,
      projectId: issuer.projectId,
      scopes: new Set([...scopes].filter((scope) => !withheld(scope, agent !== null, issuer))),
      method: 'jwt',
      agentId: agent?.id ?? null,
      personId: agent?.personId ?? null,
      keyId: null,
      runId: null,
      models: null,
      teams: index.teamsOf(agent?.personId ?? null),
      requiresSignature: false,
      binding,
      cidrs: null,
      token: { issuer: issuer.name, subject, jti, audience },
      expiresAt,
    };
    const ended = index.whyEnded(principal);
    return ended ? { method: 'jwt', reason: ended, keyId: null } : { principal };
  }
}

function verifiedToken(issuer: Issuer, claims: JWTPayload): VerifiedToken {
  return {
    issuer,
    subject: claims.sub ?? '',
    jti: typeof claims.jti === 'string' ? claims.jti : null,
    audience: audienceOf(claims),
    scopes: scopesOf(claims, issuer.rules),
    binding: bindingOf(claims),
    expiresAt: (claims.exp ?? 0) * 1000,
  };
}

/** `admin` crosses projects and an issuer is trusted for one, so its tokens carry it only where the operator said so. */
function withheld(scope: Scope, isAgent: boolean, issuer: Issuer): boolean {
  if (isAgent) return scopesNotForAgents.has(scope);
  return !issuer.grantAdmin && (scope === 'admin' || scope === 'admin:read');
}
