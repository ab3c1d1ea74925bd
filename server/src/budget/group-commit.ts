export interface GroupCommitOptions<T> {
  /** Commits one batch and tells each item's owner; it must not throw. */
  readonly commit: (batch: readonly T[]) => Promise<void>;
  readonly batchMax: number;
  readonly queueMax: number;
}

/**
 * One lane of group commits: while a batch is being committed, what arrives gathers for the next one; an idle lane
 * takes what arrives within one turn of the event loop. So a lone item waits for nothing, and a crowd shares commits.
 */
export class GroupCommit<T> {
  readonly #options: GroupCommitOptions<T>;
  #queue: T[] = [];
  #running: Promise<void> | undefined;

  constructor(options: GroupCommitOptions<T>) {
    this.#options = options;
  }

  /** @returns false when the queue is full: the item was not taken */
  add(item: T): boolean {
    if (this.#queue.length >= this.#options.queueMax) return false;
    this.#queue.push(item);
    this.#running ??= this.#run();
    return true;
  }

  /** Items that wait for their commit. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** Resolves once everything added so far, and while it waits, was committed or given up. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    while (this.#queue.length > 0) {
      const batch = this.#queue.slice(0, this.#options.batchMax);
      this.#queue = this.#queue.slice(batch.length);
      await this.#options.commit(batch);
    }
    this.#running = undefined;
  }
}
