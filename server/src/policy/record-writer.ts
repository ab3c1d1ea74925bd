import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import {
  policyRecordBytesMax,
  policyRecordsEveryMs,
  policyRecordsPerProjectMax,
  policyRecordsPerStatementMax,
  policyRecordsStopMs,
  policyRecordsWaitingBytesMax,
  policyRecordsWaitingMax,
  purgeBatchMax,
} from '../base/limits.ts';
import type { CallFacts } from './judgement.ts';
import {
  deleteRecordsBefore,
  findFirstKept,
  insertRecords,
  selectRecordedProjects,
  type WrittenRecord,
} from './record-store.ts';

/** What is recorded of a call besides its facts. */
export interface Judged extends Pick<WrittenRecord, 'projectId' | 'requestId' | 'version' | 'verdict' | 'rule'> {
  readonly shadows: readonly object[];
}

/** Why calls were not recorded. */
export type DropReason = 'too_large' | 'queue_full' | 'not_written';

/**
 * Records what rules saw, for simulations: off the path of the call, many in one statement. A database that does not keep up
 * costs records, never calls.
 */
export class PolicyRecords {
  readonly #pool: Pool;
  readonly #clock: Clock;
  readonly #dropped: (reason: DropReason, count: number, error?: unknown) => void;
  #waiting: WrittenRecord[] = [];
  #waitingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | null = null;
  #isStopping = false;

  /** @param dropped told of records that are lost, and why */
  constructor(pool: Pool, clock: Clock, dropped: (reason: DropReason, count: number, error?: unknown) => void) {
    this.#pool = pool;
    this.#clock = clock;
    this.#dropped = dropped;
  }

  note(call: CallFacts, { shadows, ...judged }: Judged): void {
    const facts = JSON.stringify(call);
    if (facts.length > policyRecordBytesMax) return this.#dropped('too_large', 1);
    const isFull =
      this.#waiting.length >= policyRecordsWaitingMax ||
      this.#waitingBytes + facts.length > policyRecordsWaitingBytesMax;
    if (isFull) return this.#dropped('queue_full', 1);
    this.#waitingBytes += facts.length;
    this.#waiting.push({
      ...judged,
      id: newId('pol', this.#clock.now()),
      facts,
      shadows: shadows.length === 0 ? null : JSON.stringify(shadows),
    });
  }

  start(): void {
    this.#timer = setInterval(() => void this.flush(), policyRecordsEveryMs);
    this.#timer.unref();
  }

  /** Writes what waits, one statement after the other. Never rejects. */
  flush(): Promise<void> {
    this.#flushing ??= this.#writeAll().finally(() => {
      this.#flushing = null;
    });
    return this.#flushing;
  }

  /** Writes what waits, until a statement fails or {@link policyRecordsStopMs} have passed: what is left then is dropped. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#isStopping = true;
    // The first may be a flush under way.
    const written = this.flush().then(() => this.flush());
    await Promise.race([written, sleep(policyRecordsStopMs, undefined, { ref: false })]);
    this.#dropWaiting();
  }

  /** Deletes what is older than so many days, and what a project has too many of. */
  async purge(days: number): Promise<void> {
    const beforeMs = this.#clock.now() - days * 86_400_000;
    for (const projectId of await selectRecordedProjects(this.#pool)) {
      const first = await findFirstKept(this.#pool, projectId, { beforeMs, kept: policyRecordsPerProjectMax });
      while ((await deleteRecordsBefore(this.#pool, projectId, first, purgeBatchMax)) === purgeBatchMax);
    }
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, policyRecordsPerStatementMax);
      for (const { facts } of batch) this.#waitingBytes -= facts.length;
      try {
        await insertRecords(this.#pool, batch);
      } catch (error) {
        this.#dropped('not_written', batch.length, error);
        if (this.#isStopping) this.#dropWaiting();
      }
    }
  }

  #dropWaiting(): void {
    if (this.#waiting.length > 0) this.#dropped('not_written', this.#waiting.length);
    this.#waiting = [];
    this.#waitingBytes = 0;
  }
}
