import { unlessAborted } from '../base/aborted.ts';
import { writesUnderWayMax } from '../base/limits.ts';

/**
 * The writes of this process that are under way under a key. Whoever comes with the same key waits here for the end of the
 * first one, which takes no connection of the pool; between replicas the key's row is what makes them wait.
 */
export class WriteTurns {
  readonly #underWay = new Map<string, Promise<void>>();

  /**
   * Runs `work` when nobody here is at work under the key `id`.
   * @param patience asked where there is somebody to wait for: ends the waiting when it aborts, and nothing else
   * @throws what `work` throws, and the reason of `patience`
   */
  async run<T>(id: Buffer, patience: () => AbortSignal, work: () => Promise<T>): Promise<T> {
    const name = id.toString('base64url');
    const signal = this.#underWay.has(name) ? patience() : null;
    // Of those who waited one is the next to work, and the others wait for that: no moment lies between look and entry.
    for (;;) {
      const first = this.#underWay.get(name);
      if (!first || !signal) break;
      await unlessAborted(first, signal);
    }
    // Beyond the bound the row alone makes them wait.
    if (this.#underWay.size >= writesUnderWayMax) return work();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#underWay.set(name, promise);
    try {
      return await work();
    } finally {
      this.#underWay.delete(name);
      resolve();
    }
  }
}
