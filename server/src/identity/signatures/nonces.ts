import type { Pool } from 'pg';
import { PortcullisError } from '../../base/errors.ts';
import { noncesKeptMoreMs, noncesMax, purgeBatchMax } from '../../base/limits.ts';
import { isUnavailable } from '../../pg/errors.ts';
import { countNonces, deleteExpiredNonces, insertNonce } from './store.ts';

export interface NoncesOptions {
  readonly pool: Pool;
  /** Epoch milliseconds, by one clock for all replicas: the database's. */
  readonly now: () => number;
  /** Rows at most, as far as this process can tell between two purges. */
  readonly max?: number;
}

/**
 * The nonces of signatures that held, one table for all replicas: each is taken once. A full table refuses: what was
 * taken is forgotten only when its signature is too old to hold again.
 */
export class Nonces {
  readonly #options: NoncesOptions;
  readonly #max: bigint;
  /** Counted at the last purge, and taken here since. */
  #rows = 0n;

  constructor(options: NoncesOptions) {
    this.#options = options;
    this.#max = BigInt(options.max ?? noncesMax);
  }

  /**
   * @param heldUntilMs epoch milliseconds from which its signature is refused as expired
   * @returns whether the nonce is ours: false when it was taken before
   * @throws PortcullisError unavailable when the table is full or the database away
   */
  async take(signingKeyId: string, nonce: string, heldUntilMs: number): Promise<boolean> {
    if (this.#rows >= this.#max) throw refusal('the table of nonces is full');
    this.#rows += 1n;
    try {
      return await insertNonce(this.#options.pool, signingKeyId, nonce, new Date(heldUntilMs));
    } catch (error) {
      throw isUnavailable(error) ? refusal('the nonce could not be written', error) : error;
    }
  }

  /** Forgets what is over, with some time to spare for clocks that differ, and counts what is left. */
  async purge(): Promise<void> {
    const { pool, now } = this.#options;
    const before = new Date(now() - noncesKeptMoreMs);
    while ((await deleteExpiredNonces(pool, before, purgeBatchMax)) === purgeBatchMax);
    this.#rows = await countNonces(pool);
  }
}

function refusal(internal: string, cause?: unknown): PortcullisError {
  return new PortcullisError('unavailable', 'The gate cannot tell now whether this signature was used before.', {
    retryAfterS: 1,
    internal,
    cause,
  });
}
