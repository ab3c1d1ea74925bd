import { outcomesGatherMs, outcomesPerWriteMax, outcomesRetryMs } from '../../base/webhook-limits.ts';
import type { Outcome } from './model.ts';

interface Waiting {
  readonly outcome: Outcome;
  readonly done: () => void;
}

/**
 * Writes outcomes many at a time: one waits some milliseconds for others while there are any under way, and what comes while one
 * write is under way goes with the next. What cannot be written is tried
 * again, and keeps its place meanwhile, so that no more waits here than there are places.
 */
export class OutcomeWriter {
  readonly #write: (outcomes: readonly Outcome[]) => Promise<void>;
  readonly #onError: (error: unknown) => void;
  readonly #underWay: () => number;
  #waiting: Waiting[] = [];
  #writing = false;
  #ending = false;

  /**
   * @param write writes them all or none
   * @param underWay how many outcomes will come or wait here
   */
  constructor(
    write: (outcomes: readonly Outcome[]) => Promise<void>,
    underWay: () => number,
    onError: (error: unknown) => void,
  ) {
    this.#write = write;
    this.#underWay = underWay;
    this.#onError = onError;
  }

  /** Resolves when it is written, or given up at the end of the process: its claim then ends by itself. Never rejects. */
  add(outcome: Outcome): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ outcome, done: resolve });
    if (!this.#writing) void this.#writeAll();
    return promise;
  }

  /** From now on each write is tried once. */
  end(): void {
    this.#ending = true;
  }

  /** Never rejects. */
  async #writeAll(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      if (this.#waiting.length < this.#underWay())
        await new Promise((resolve) => setTimeout(resolve, outcomesGatherMs));
      const batch = this.#take();
      await this.#writeOnce(batch);
      for (const { done } of batch) done();
    }
    this.#writing = false;
  }

  async #writeOnce(batch: readonly Waiting[]): Promise<void> {
    for (;;) {
      try {
        return await this.#write(batch.map(({ outcome }) => outcome));
      } catch (error) {
        this.#onError(error);
        if (this.#ending) return;
        await new Promise((resolve) => setTimeout(resolve, outcomesRetryMs));
      }
    }
  }

  /** Up to a batch, no delivery twice: one whose claim ended may be under way here again. */
  #take(): Waiting[] {
    const ids = new Set<string>();
    const batch: Waiting[] = [];
    const rest: Waiting[] = [];
    for (const waiting of this.#waiting) {
      const { id } = waiting.outcome.claimed;
      if (batch.length === outcomesPerWriteMax || ids.has(id)) rest.push(waiting);
      else batch.push(waiting);
      ids.add(id);
    }
    this.#waiting = rest;
    return batch;
  }
}
