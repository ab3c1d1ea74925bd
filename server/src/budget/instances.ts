import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { holdBatchMax, instanceDeadMs, leaseMs } from '../base/limits.ts';
import { isUnavailable } from '../pg/errors.ts';
import { postDeadLeases } from './leases/lease-store.ts';
import { postDeadHolds } from './late-holds-store.ts';
import { beatInstance, stopInstance, stopOtherInstances } from './instance-store.ts';

/**
 * This process as the owner of holds. It must `beat` every `instanceBeatMs`: one that is not seen for `instanceDeadMs`
 * has its holds posted by the others.
 */
export class Instance {
  readonly id = newId('ins');
  readonly #pool: Pool;
  readonly #clock: Clock;
  #seenAt = -Infinity;
  /** What the database's clock is ahead of our monotonic one. */
  #databaseAheadMs = 0;

  constructor(pool: Pool, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /** Says that this process lives, the first time that it exists; by the way learns the database's time. */
  async beat(): Promise<void> {
    const before = this.#clock.monotonic();
    const databaseNow = await beatInstance(this.#pool, this.id);
    this.#seenAt = before;
    this.#databaseAheadMs = databaseNow.getTime() - (before + this.#clock.monotonic()) / 2;
  }

  /**
   * Monotonic milliseconds until which nobody can have taken this process for dead: counted from before the beat was
   * sent, so it is over here before it is over in the database.
   */
  get aliveUntil(): number {
    return this.#seenAt + instanceDeadMs;
  }

  /** Epoch milliseconds by the database's clock, as far as the last beat told. */
  databaseNow(): number {
    return this.#clock.monotonic() + this.#databaseAheadMs;
  }

  /**
   * A clean end: whatever is still held by this process will never be ended by it. Where the database is away nobody can be
   * told, and the others find out as of any process that is gone.
   */
  async stop(): Promise<void> {
    try {
      await stopInstance(this.#pool, this.id);
    } catch (error) {
      if (!isUnavailable(error)) throw error;
    }
  }

  /** For a process that owns the data directory alone: whoever else is registered is dead, however lately it was seen. */
  async buryOthers(): Promise<void> {
    await stopOtherInstances(this.#pool, this.id);
  }
}

/**
 * Posts at their worst case, as estimated, the holds whose deadline passed or whose process is gone; the ledger says
 * `failed`, `crash`. By the database's clock; any number of processes may sweep at once.
 * @returns how many
 */
export async function sweepHolds(pool: Pool): Promise<number> {
  let swept = 0;
  for (;;) {
    const posted = await postDeadHolds(pool, instanceDeadMs, holdBatchMax);
    swept += posted.length;
    if (posted.length < holdBatchMax) return swept;
  }
}

/**
 * Posts whole, as estimated, the slices of processes that did not renew them in time or stopped. By the database's clock;
 * any number of processes may sweep at once.
 * @returns how many
 */
export async function sweepLeases(pool: Pool): Promise<number> {
  let swept = 0;
  for (;;) {
    const posted = await postDeadLeases(pool, leaseMs, holdBatchMax);
    swept += posted;
    if (posted < holdBatchMax) return swept;
  }
}
