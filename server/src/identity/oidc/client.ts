import {
  allowInsecureRequests,
  AuthorizationResponseError,
  authorizationCodeGrant,
  buildAuthorizationUrl,
  calculatePKCECodeChallenge,
  ClientError,
  ClientSecretBasic,
  ClientSecretPost,
  type Configuration,
  discovery,
  enableNonRepudiationChecks,
  fetchUserInfo,
  None,
  ResponseBodyError,
} from 'openid-client';
import type { Clock } from '../../base/clock.ts';
import { PortcullisError } from '../../base/errors.ts';
import { providerFreshMs, signInFetchS } from '../../base/limits.ts';
import { type Claims, joinClaims, refusal } from './claims.ts';
import type { OidcOptions } from './model.ts';
import type { Ticket } from './ticket.ts';

/**
 * Sends people to the identity provider and takes them back: the authorization code flow of OpenID Connect with PKCE (RFC
 * 7636), state, nonce, and the issuer in the answer (RFC 9207). The provider's metadata is read when it is needed first,
 * so that a gate starts without it, and anew every hour.
 */
export class OidcClient {
  readonly #options: OidcOptions;
  readonly #clock: Clock;
  #configuration: { readonly made: Promise<Configuration>; readonly at: number } | undefined;

  constructor(options: OidcOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /** Where the browser goes to sign in. @throws PortcullisError cannot_verify when the provider cannot be reached */
  async authorizationUrl({ state, nonce, codeVerifier }: Ticket, redirectUri: string): Promise<string> {
    return this.#asking(async (configuration) => {
      const url = buildAuthorizationUrl(configuration, {
        redirect_uri: redirectUri,
        response_type: 'code',
        scope: this.#options.scopes.join(' '),
        state,
        nonce,
        code_challenge: await calculatePKCECodeChallenge(codeVerifier),
        code_challenge_method: 'S256',
      });
      return url.href;
    });
  }

  /**
   * What the provider says of the person who came back.
   * @param answer the redirect URI, with the query with which the browser came
   * @throws PortcullisError policy_denied when the answer does not hold, cannot_verify when the provider cannot be asked
   */
  async claims(answer: URL, { state, nonce, codeVerifier }: Ticket): Promise<Claims> {
    return this.#asking(async (configuration) => {
      const tokens = await authorizationCodeGrant(configuration, answer, {
        expectedState: state,
        expectedNonce: nonce,
        pkceCodeVerifier: codeVerifier,
        idTokenExpected: true,
      });
      const claims = tokens.claims();
      if (!claims) throw refusal('answer', notHeld);
      // The library looks at it only where there are several audiences (OpenID Connect Core 1.0, section 3.1.3.7, step 5).
      if (claims.azp !== undefined && claims.azp !== this.#options.clientId) throw refusal('answer', notHeld);
      const { userinfo_endpoint: endpoint } = configuration.serverMetadata();
      if (endpoint === undefined) return claims;
      return joinClaims(claims, await fetchUserInfo(configuration, tokens.access_token, claims.sub));
    });
  }

  async #asking<T>(ask: (configuration: Configuration) => Promise<T>): Promise<T> {
    try {
      return await ask(await this.#discovered());
    } catch (thrown) {
      if (thrown instanceof PortcullisError) throw thrown;
      const internal = inWords(thrown);
      if (isRefusal(thrown)) throw new PortcullisError('policy_denied', notHeld, { rule: 'sign_in.answer', internal });
      throw new PortcullisError(
        'cannot_verify',
        'The identity provider does not answer as it should, so nobody can sign in through it now: try again shortly.',
        { internal, cause: thrown, retryAfterS: 5 },
      );
    }
  }

  /** One read of the metadata for all who ask; one that failed is not kept. */
  #discovered(): Promise<Configuration> {
    const now = this.#clock.monotonic();
    const known = this.#configuration;
    if (known && now < known.at + providerFreshMs) return known.made;
    const made = this.#discover();
    this.#configuration = { made, at: now };
    made.catch(() => {
      if (this.#configuration?.made === made) this.#configuration = undefined;
    });
    return made;
  }

  #discover(): Promise<Configuration> {
    const { issuer, clientId, clientSecret, clientAuth } = this.#options;
    const secretAuth = clientAuth === 'basic' ? ClientSecretBasic : ClientSecretPost;
    const authentication = clientSecret === null ? None() : secretAuth(clientSecret);
    // Production refuses http, except to this machine, before it comes to this (config/production.ts).
    const insecure = issuer.startsWith('http:') ? [allowInsecureRequests] : [];
    return discovery(new URL(issuer), clientId, undefined, authentication, {
      timeout: signInFetchS,
      execute: [enableNonRepudiationChecks, ...insecure],
    });
  }
}

const notHeld = 'The answer of the identity provider does not hold, or was used already: sign in again.';

/** What of the provider's answer is the browser's doing, or somebody's who sent it here. */
const codesOfBadAnswers = new Set([
  'OAUTH_INVALID_RESPONSE',
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED',
  // An ID token that is not signed, or with a shared secret.
  'OAUTH_UNSUPPORTED_OPERATION',
]);

function isRefusal(thrown: unknown): boolean {
  if (thrown instanceof AuthorizationResponseError) return true;
  if (thrown instanceof ResponseBodyError) return thrown.error === 'invalid_grant';
  return thrown instanceof ClientError && codesOfBadAnswers.has(thrown.code ?? '');
}

/** For the log: what the library says, and why. Neither codes nor tokens are in it. */
function inWords(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const why = thrown.cause instanceof Error ? `: ${thrown.cause.message}` : '';
  const code = 'error' in thrown ? ` (${String(thrown.error)})` : '';
  return `${thrown.message}${code}${why}`;
}
