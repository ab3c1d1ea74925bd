import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { PortcullisError } from '../base/errors.ts';
import { holdBatchMax, settleQueueMax, settleWaitMs } from '../base/limits.ts';
import type { Logger } from '../base/log.ts';
import { isUnavailable } from '../pg/errors.ts';
import { GroupCommit } from './group-commit.ts';
import { type EndingRow, abandonHolds, correctHolds, endHolds } from './store.ts';

export interface SettleLaneOptions {
  readonly pool: Pool;
  readonly instanceId: string;
  readonly log: Logger;
}

interface QueuedEnding {
  readonly ending: EndingRow;
  /** The hold may or may not be there. */
  readonly inDoubt: boolean;
  readonly written: () => void;
  readonly failed: (error: unknown) => void;
}

const retryMsMax = 1_000;

/**
 * The lane on which holds end and ledger rows are written, many to a commit. Unlike a hold, an ending must get through:
 * while the database is away the lane keeps what it has and tries again.
 */
export class SettleLane {
  readonly #options: SettleLaneOptions;
  readonly #lane: GroupCommit<QueuedEnding>;
  readonly #stop = new AbortController();
  #lost = 0;

  constructor(options: SettleLaneOptions) {
    this.#options = options;
    this.#lane = new GroupCommit({
      commit: (batch) => this.#commit(batch),
      batchMax: holdBatchMax,
      queueMax: settleQueueMax,
    });
  }

  /**
   * Ends a hold; resolves once that is durable.
   * @throws PortcullisError unavailable when that takes longer than the limit: the lane goes on trying, and if it never
   * succeeds the hold is posted at its worst case when its deadline passes
   */
  end(ending: EndingRow): Promise<void> {
    return new Promise((written, failed) => {
      const timer = setTimeout(() => failed(notSettled()), settleWaitMs);
      const queued = {
        ending,
        inDoubt: false,
        written: () => {
          clearTimeout(timer);
          written();
        },
        failed: (error: unknown) => {
          clearTimeout(timer);
          failed(error);
        },
      };
      if (!this.#lane.add(queued)) queued.failed(notSettled());
    });
  }

  /** Gives back a hold of which nobody knows whether it stands; nobody waits for it. */
  giveBack(ending: EndingRow): void {
    this.#add(ending, true);
  }

  /** Writes a ledger row that no hold belongs to; nobody waits for it. */
  record(ending: EndingRow): void {
    // Money comes first: in an outage every call is refused, and their rows must not take the places of settlements.
    if (this.#lane.waiting >= settleQueueMax / 2) this.#lose();
    else this.#add(ending, false);
  }

  /** Waits until all is written; what cannot be written within `graceMs` is given up. */
  async stop(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.#stop.abort(), graceMs);
    await this.#lane.idle();
    clearTimeout(timer);
  }

  #add(ending: EndingRow, inDoubt: boolean): void {
    const failed = () => this.#lose();
    if (!this.#lane.add({ ending, inDoubt, written: () => undefined, failed })) failed();
  }

  /** Said at once and then at every doubling, since a flood of refusals is what gets here. */
  #lose(): void {
    this.#lost += 1;
    if (Number.isInteger(Math.log2(this.#lost))) {
      this.#options.log.error(
        { lost: this.#lost },
        'Ledger rows of calls without money were lost: the database does not keep up.',
      );
    }
  }

  async #commit(batch: readonly QueuedEnding[]): Promise<void> {
    for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, retryMsMax)) {
      try {
        await this.#write(batch);
        for (const { written } of batch) written();
        return;
      } catch (error) {
        if (!isUnavailable(error)) return this.#divide(batch, error);
        if (this.#stop.signal.aborted) return fail(batch, error);
        this.#options.log.warn({ err: error, endings: batch.length }, 'Settlements wait for the database.');
        await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      }
    }
  }

  /** Something in one row offends the database: its neighbours must not suffer for it. */
  async #divide(batch: readonly QueuedEnding[], error: unknown): Promise<void> {
    if (batch.length === 1) {
      this.#options.log.error(
        { err: error, hold: batch[0]?.ending.holdId },
        'A settlement was refused by the database.',
      );
      return fail(batch, error);
    }
    const middle = Math.ceil(batch.length / 2);
    await this.#commit(batch.slice(0, middle));
    await this.#commit(batch.slice(middle));
  }

  /** Every statement may run again after a failure: each changes only what is not ended or corrected yet. */
  async #write(batch: readonly QueuedEnding[]): Promise<void> {
    const { pool, instanceId } = this.#options;
    const doubtful = batch.filter(({ inDoubt }) => inDoubt).map(({ ending }) => ending);
    if (doubtful.length > 0)
      await abandonHolds(
        pool,
        instanceId,
        doubtful.flatMap(({ holdId }) => holdId ?? []),
      );
    const certain = batch.filter(({ inDoubt }) => !inDoubt).map(({ ending }) => ending);
    const ended = certain.length > 0 ? await endHolds(pool, certain) : new Set<string>();
    const late = [...doubtful, ...certain].filter(({ holdId }) => holdId !== null && !ended.has(holdId));
    if (late.length > 0) await correctHolds(pool, late);
  }
}

function fail(batch: readonly QueuedEnding[], error: unknown): void {
  for (const { failed } of batch) failed(notSettled(error));
}

function notSettled(cause?: unknown): PortcullisError {
  return new PortcullisError(
    'unavailable',
    'The call was made, but what it cost could not be written in time: do not repeat it. Its reservation stands until then.',
    // The provider would be called, and paid, a second time.
    { final: true, ...(cause === undefined ? {} : { cause }) },
  );
}
