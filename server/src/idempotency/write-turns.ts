import { writesUnderWayMax } from '../base/limits.ts';

/**
 * The writes of this process that are under way under a key. Whoever comes with the same key waits here for the first one's
 * end, where that takes no connection of the pool; between replicas the key's row is what makes them wait.
 */
export class WriteTurns {
  readonly #underWay = new Map<string, Promise<void>>();

  /**
   * Runs `work` when nobody here is at work under the key `id`.
   * @param limit ends the waiting; what is at work then goes on
   * @throws what `work` throws, and the reason of `limit`
   */
  async run<T>(id: Buffer, limit: AbortSignal, work: () => Promise<T>): Promise<T> {
    const name = id.toString('base64url');
    if (this.#underWay.has(name)) await this.#wait(name, limit);
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

  async #wait(name: string, limit: AbortSignal): Promise<void> {
    let giveUp = (): void => undefined;
    const ended = new Promise<never>((_resolve, reject) => {
      giveUp = () => reject(limit.reason);
      limit.addEventListener('abort', giveUp);
    });
    try {
      limit.throwIfAborted();
      // Of those who waited one is the next to work, and the others wait for that.
      for (let first = this.#underWay.get(name); first; first = this.#underWay.get(name)) {
        await Promise.race([first, ended]);
      }
    } finally {
      limit.removeEventListener('abort', giveUp);
    }
  }
}
