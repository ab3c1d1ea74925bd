import { hash, type KeyObject, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { verifiedKeysMax } from '../base/limits.ts';
import { type ApiKey, digestsEqual, hashSecret, parseApiKey } from './api-key.ts';
import type { Credential } from './credential.ts';
import type { IdentityIndex } from './identity-index.ts';
import type { Verdict, Verifier } from './verifier.ts';

export interface ApiKeyVerifierOptions {
  readonly pepper: KeyObject;
  readonly index: IdentityIndex;
  /** The control feed's: resolves when a read that began after the call is in memory. */
  readonly refresh: () => Promise<void>;
  readonly clock: Clock;
}

// Ids that nobody issued cost the database no more than ten reads a second.
const refreshEveryMs = 100;

/** Verifies API keys against the index, and asks the database only about ids that no one here has heard of. */
export class ApiKeyVerifier implements Verifier {
  readonly #options: ApiKeyVerifierOptions;
  /** By key id, of the secrets that held: a digest under a key of this process, and the one under the pepper. */
  readonly #known = new Map<string, { readonly quick: Buffer; readonly slow: Buffer }>();
  readonly #quickKey = randomBytes(32).toString('hex');
  #refreshing: Promise<void> | undefined;
  #refreshedAt = -Infinity;

  constructor(options: ApiKeyVerifierOptions) {
    this.#options = options;
  }

  /** @throws PortcullisError unavailable when the id is unknown here and the database cannot be asked */
  async verify(credential: Credential, clientAddress: string): Promise<Verdict | null> {
    if (credential.kind !== 'token' || !credential.text.startsWith('pcl_')) return null;
    const key = parseApiKey(credential.text);
    if (!key) return { method: 'api_key', reason: 'bad_checksum', keyId: null };
    const { index, pepper } = this.#options;
    // Another replica may have made it a moment ago.
    if (!index.hasKey(key.id)) await this.#refreshSoon();
    const quick = hash('sha256', this.#quickKey + key.secret, 'buffer');
    const secretHash = this.#recall(key, quick) ?? hashSecret(pepper, key.secret);
    const found = index.resolveKey(key.id, secretHash, clientAddress);
    if (typeof found === 'string') return { method: 'api_key', reason: found, keyId: key.id };
    this.#remember(key, { quick, slow: secretHash });
    return { principal: found };
  }

  isOurs(text: string): boolean {
    return /\bpcl_[A-Za-z0-9]/.test(text);
  }

  /** What {@link hashSecret} would say, at a fifth of its cost. Whether it holds is for the index to say, each time anew. */
  #recall({ id }: ApiKey, quick: Buffer): Buffer | null {
    const known = this.#known.get(id);
    return known && digestsEqual(known.quick, quick) ? known.slow : null;
  }

  #remember({ id }: ApiKey, digests: { readonly quick: Buffer; readonly slow: Buffer }): void {
    if (this.#known.has(id)) return;
    if (this.#known.size >= verifiedKeysMax) this.#known.clear();
    this.#known.set(id, digests);
  }

  /** One read for all who ask before it begins. */
  #refreshSoon(): Promise<void> {
    const { clock, refresh } = this.#options;
    this.#refreshing ??= this.#waitForTurn().then(() => {
      this.#refreshing = undefined;
      this.#refreshedAt = clock.monotonic();
      return refresh();
    });
    return this.#refreshing;
  }

  async #waitForTurn(): Promise<void> {
    const waitMs = this.#refreshedAt + refreshEveryMs - this.#options.clock.monotonic();
    if (waitMs > 0) await sleep(waitMs);
  }
}
