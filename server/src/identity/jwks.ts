import { createLocalJWKSet, errors, type CryptoKey, type FlattenedJWSInput, type JWSHeaderParameters } from 'jose';
import type { Clock } from '../base/clock.ts';
import { PortcullisError } from '../base/errors.ts';
import { jwksBytesMax, jwksCooldownMs, jwksFetchMs, jwksFreshMs, jwksKeysMax } from '../base/limits.ts';

/** Fetches JSON over HTTP. Rejects for any other answer than a 200 of at most `bytesMax` bytes; follows no redirect. */
export type FetchJson = (url: string, signal: AbortSignal, bytesMax: number) => Promise<unknown>;

export interface JwksOptions {
  readonly uri: string;
  /** How long the last good keys go on counting, beyond their 15 minutes, while the issuer cannot be reached. */
  readonly maxStaleMs: number;
  readonly fetchJson: FetchJson;
  readonly clock: Clock;
  /** Told of every fetch; the error of one that failed. */
  readonly onFetch: (outcome: 'ok' | 'failed', error?: unknown) => void;
}

type KeySet = ReturnType<typeof createLocalJWKSet>;

/**
 * The public keys of an issuer (RFC 7517): fetched when needed, kept for 15 minutes, fetched again for an unknown key
 * id, at most once in a cooldown and once at a time, whatever callers present.
 */
export class Jwks {
  readonly #options: JwksOptions;
  #keys: KeySet | undefined;
  /** Monotonic times at which the last good fetch, and the last one of all, began. */
  #fetchedAt = -Infinity;
  #triedAt = -Infinity;
  #failed = false;
  #fetching: Promise<void> | undefined;

  constructor(options: JwksOptions) {
    this.#options = options;
  }

  /** `degraded`: the issuer cannot be reached, but its last good keys still count. */
  get status(): 'ok' | 'degraded' | 'failed' {
    if (!this.#usableKeys()) return 'failed';
    return this.#failed ? 'degraded' : 'ok';
  }

  /**
   * The key that a token's header names.
   * @throws PortcullisError cannot_verify when the issuer cannot be reached and what is cached does not decide
   * @throws JWKSNoMatchingKey, JWKSMultipleMatchingKeys (jose)
   */
  async keyFor(header: JWSHeaderParameters, token: FlattenedJWSInput): Promise<CryptoKey> {
    const keys = await this.#current();
    try {
      return await keys(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    }
    await this.#refresh();
    if (this.#failed) throw this.#cannotVerify();
    return (this.#usableKeys() ?? keys)(header, token);
  }

  /** Fetches the keys, so that the first token does not wait for them; never rejects. */
  async warm(): Promise<void> {
    await this.#refresh();
  }

  // Not within the cooldown after the last try. Never rejects.
  #refresh(): Promise<void> {
    if (this.#fetching) return this.#fetching;
    const now = this.#options.clock.monotonic();
    if (now < this.#triedAt + jwksCooldownMs) return Promise.resolve();
    this.#triedAt = now;
    this.#fetching = this.#fetch(now).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #current(): Promise<KeySet> {
    const usable = this.#usableKeys();
    if (usable && this.#ageMs() <= jwksFreshMs) return usable;
    const refreshed = this.#refresh();
    // Once the issuer has failed, callers do not wait for it as long as the last good keys count.
    if (usable && this.#failed) return usable;
    await refreshed;
    const keys = this.#usableKeys();
    if (!keys) throw this.#cannotVerify();
    return keys;
  }

  async #fetch(startedAt: number): Promise<void> {
    const { fetchJson, uri, onFetch } = this.#options;
    try {
      const body = await fetchJson(uri, AbortSignal.timeout(jwksFetchMs), jwksBytesMax);
      this.#keys = createLocalJWKSet(checkKeySet(body));
      this.#fetchedAt = startedAt;
      this.#failed = false;
      onFetch('ok');
    } catch (error) {
      this.#failed = true;
      onFetch('failed', error);
    }
  }

  #usableKeys(): KeySet | undefined {
    return this.#ageMs() <= jwksFreshMs + this.#options.maxStaleMs ? this.#keys : undefined;
  }

  #ageMs(): number {
    return this.#options.clock.monotonic() - this.#fetchedAt;
  }

  #cannotVerify(): PortcullisError {
    return new PortcullisError(
      'cannot_verify',
      'The access token can be neither accepted nor refused now, because its issuer cannot be reached: try again.',
      {
        retryAfterS: Math.max(1, (this.#triedAt + jwksCooldownMs - this.#options.clock.monotonic()) / 1000),
        internal: `no usable keys from ${this.#options.uri}`,
      },
    );
  }
}

function checkKeySet(body: unknown): { keys: object[] } {
  const keys = typeof body === 'object' && body !== null && 'keys' in body ? body.keys : undefined;
  if (!Array.isArray(keys) || keys.length > jwksKeysMax || !keys.every((key) => typeof key === 'object' && key)) {
    throw new Error(`the answer is no JSON Web Key Set of at most ${jwksKeysMax} keys`);
  }
  return { keys };
}
