import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import { noncesKeptMoreMs, noncesMax, noncesPerKeyMax, purgeBatchMax, purgeEveryMs } from '../../base/limits.ts';
import { isUnavailable } from '../../pg/errors.ts';
import { countNonces, deleteExpiredNonces, insertNonce } from './store.ts';

export interface NoncesOptions {
  readonly pool: Pool;
  /** Epoch milliseconds, by one clock for all replicas: the database's. */
  readonly now: () => number;
  /** Rows at most, and those of one signing key, as far as this process can tell between two purges. */
  readonly max?: number;
  readonly maxPerKey?: number;
}

/**
 * The nonces of signatures that held, one table for all replicas: each is taken once. A full table refuses: what was
 * taken is forgotten only when its signature is too old to hold again. No signing key has more than a share of it, so that
 * none shuts out the others. Between two purges a process counts only what it took itself.
 */
export class Nonces {
  readonly #options: NoncesOptions;
  readonly #max: bigint;
  readonly #maxPerKey: bigint;
  /** Counted at the last purge, and taken here since: of all signing keys, and of each that has any. */
  #rows = 0n;
  #rowsOf: Map<string, bigint> = new Map();

  constructor(options: NoncesOptions) {
    this.#options = options;
    this.#max = BigInt(options.max ?? noncesMax);
    this.#maxPerKey = BigInt(options.maxPerKey ?? noncesPerKeyMax);
  }

  /**
   * @param heldUntilMs epoch milliseconds from which its signature is refused as expired
   * @returns whether the nonce is ours: false when it was taken before
   * @throws PortcullisError unavailable when the table is full or the database away, rate_limited when the key has its share
   */
  async take(signingKeyId: string, nonce: string, heldUntilMs: number): Promise<boolean> {
    if (this.#rows >= this.#max) throw refusal('the table of nonces is full');
    if ((this.#rowsOf.get(signingKeyId) ?? 0n) >= this.#maxPerKey) throw tooMany(signingKeyId);
    try {
      const isOurs = await insertNonce(this.#options.pool, signingKeyId, nonce, new Date(heldUntilMs));
      if (isOurs) this.#count(signingKeyId);
      return isOurs;
    } catch (error) {
      throw isUnavailable(error) ? refusal('the nonce could not be written', error) : error;
    }
  }

  /** Forgets what is over, with some time to spare for clocks that differ, and counts what is left. */
  async purge(): Promise<void> {
    const { pool, now } = this.#options;
    const before = new Date(now() - noncesKeptMoreMs);
    while ((await deleteExpiredNonces(pool, before, purgeBatchMax)) === purgeBatchMax);
    this.#rowsOf = await countNonces(pool);
    this.#rows = [...this.#rowsOf.values()].reduce((sum, rows) => sum + rows, 0n);
  }

  #count(signingKeyId: string): void {
    this.#rows += 1n;
    this.#rowsOf.set(signingKeyId, (this.#rowsOf.get(signingKeyId) ?? 0n) + 1n);
  }
}

function tooMany(signingKeyId: string): PortcullisError {
  return new PortcullisError(
    'rate_limited',
    'This signing key signed more requests than the gate remembers of one key: wait until their signatures expired.',
    { retryAfterS: purgeEveryMs / 1000, rule: 'signatures', internal: `${signingKeyId} has its share of the nonces` },
  );
}

function refusal(internal: string, cause?: unknown): PortcullisError {
  return new PortcullisError('unavailable', 'The gate cannot tell now whether this signature was used before.', {
    retryAfterS: 1,
    internal,
    cause,
  });
}
