import type { Pool } from 'pg';
import { purgeBatchMax, releaseRetryMs, releasesWaitingMax } from '../base/limits.ts';
import type { Claim } from './model.ts';
import { deleteClaims } from './store.ts';

export interface ReleasesOptions {
  readonly pool: Pool;
  /** Epoch milliseconds, by the clock of the leases. */
  readonly now: () => number;
}

/**
 * Claims that could not be given back: tried again until that is done, their lease is over, or the process ends. Whoever
 * was told to try again would otherwise find the key taken long after the database is back.
 */
export class Releases {
  readonly #options: ReleasesOptions;
  readonly #waiting = new Set<Claim>();
  #isPlanned = false;

  constructor(options: ReleasesOptions) {
    this.#options = options;
  }

  /** Beyond the bound a claim is left to its lease. */
  add(claim: Claim): void {
    if (this.#waiting.size < releasesWaitingMax) this.#waiting.add(claim);
    this.#plan();
  }

  #plan(): void {
    if (this.#isPlanned || this.#waiting.size === 0) return;
    this.#isPlanned = true;
    // It holds up no process that wants to end.
    setTimeout(() => void this.#retry(), releaseRetryMs).unref();
  }

  async #retry(): Promise<void> {
    const { pool, now } = this.#options;
    try {
      const at = now();
      for (const claim of this.#waiting) if (claim.leaseUntil <= at) this.#waiting.delete(claim);
      while (this.#waiting.size > 0) {
        const batch = [...this.#waiting].slice(0, purgeBatchMax);
        await deleteClaims(pool, batch);
        for (const claim of batch) this.#waiting.delete(claim);
      }
    } catch {
      // Those that are left have their next turn; why it failed was logged where the first try did.
    }
    this.#isPlanned = false;
    this.#plan();
  }
}
