import type { Pool } from 'pg';
import type { Refusal } from './model.ts';
import { addRefusals, type CountedRefusal } from './refusal-store.ts';

type Refused = Refusal | { readonly status: 'unknown_source'; readonly reason: string };

const hourMs = 3_600_000;

/**
 * Counts what was refused, by source, reason and hour, and writes the counts down from time to time: who forges a million
 * webhooks makes one row, and a statement a second.
 */
export class WebhookRefusals {
  readonly #pool: Pool;
  #waiting = new Map<string, CountedRefusal>();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** @param source as the configuration names it; empty for names that it does not have, which others make up */
  add(source: string, { status, reason }: Refused, address: string, now: number): void {
    const hour = Math.floor(now / hourMs) * hourMs;
    const key = JSON.stringify([source, hour, status, reason]);
    const before = this.#waiting.get(key);
    this.#waiting.set(key, {
      source,
      hour,
      signatureStatus: status,
      reason,
      refused: (before?.refused ?? 0) + 1,
      firstAt: before?.firstAt ?? now,
      lastAt: now,
      lastAddress: address,
    });
  }

  /** Writes down what was counted since. What could not be written stays counted. */
  async flush(): Promise<void> {
    const counted = this.#waiting;
    if (counted.size === 0) return;
    this.#waiting = new Map();
    try {
      await addRefusals(this.#pool, [...counted.values()]);
    } catch (error) {
      for (const [key, count] of counted) {
        const since = this.#waiting.get(key);
        const refused = count.refused + (since?.refused ?? 0);
        this.#waiting.set(key, { ...count, ...since, refused, firstAt: count.firstAt });
      }
      throw error;
    }
  }
}
