import { leaseIdleMs } from '../../base/limits.ts';
import type { Budget } from '../model.ts';
import type { CounterKey } from '../store.ts';
import type { SliceReport } from './rules.ts';

/** What a process says of a slice; the rest is known to the database. */
export type SliceUse = Omit<SliceReport, 'granted' | 'takeable'>;

/** What a process has of one counter, spent and held in memory. All amounts are in the budget's unit. */
export class Slice {
  /** As it was when this was leased. */
  readonly budget: Budget;
  readonly key: CounterKey;
  /** Never used twice by this process. */
  readonly epoch: bigint;
  #granted = 0n;
  #held = 0n;
  #spent = 0n;
  /** Monotonic milliseconds until which it may be used. */
  usableUntil = -Infinity;
  /** The database took it away: what is spent from now on is told, and nothing is held any more. */
  isLost = false;
  /** The most that was in use at a time lately, what could not be had included. */
  #peak = 0n;
  #dearest = 0n;
  #isClosed = false;
  /** Monotonic milliseconds. */
  #usedAt: number;
  #flushing = 0n;
  /** What a flush gives back: nobody may have it any more, whether or not that is committed. */
  #offered = 0n;
  /** What of a slice that was posted stays posted, since it may yet be spent, or is and was not told. */
  #kept = 0n;

  constructor(budget: Budget, key: CounterKey, epoch: bigint, now: number) {
    this.budget = budget;
    this.key = key;
    this.epoch = epoch;
    this.#usedAt = now;
  }

  /** As the last flush left it: 0 where there is no lease. */
  get granted(): bigint {
    return this.#granted;
  }

  /** What a new call may take. */
  get free(): bigint {
    return this.#granted - this.#held - this.#spent - this.#flushing - this.#offered;
  }

  canHold(amount: bigint, now: number): boolean {
    return !this.#isClosed && !this.isLost && now < this.usableUntil && amount <= this.free;
  }

  hold(amount: bigint, now: number): void {
    this.#held += amount;
    this.wish(amount, now);
  }

  /** A call asked for so much, whether or not it could have it: the next flush asks for more. */
  wish(amount: bigint, now: number): void {
    if (amount > this.#dearest) this.#dearest = amount;
    const inUse = this.#held + this.#spent + (amount > this.free ? amount : 0n);
    if (inUse > this.#peak) this.#peak = inUse;
    this.#usedAt = now;
  }

  /** Nothing new is held; what is free is given back. */
  close(): void {
    this.#isClosed = true;
  }

  end(held: bigint, spent: bigint): void {
    this.#held -= held;
    this.#spent += spent;
  }

  /** Whether a flush has anything to say or to ask. */
  isDirty(now: number, renewBefore: number): boolean {
    if (this.isLost) return this.#spent > 0n || this.#held !== this.#kept;
    if (this.#spent > 0n) return true;
    const wanted = this.#wanted(now);
    return (
      wanted > this.free || (wanted === 0n && this.free > 0n) || (this.#granted > 0n && this.usableUntil < renewBefore)
    );
  }

  /** Nothing is in flight on it, nothing is left to say, and nobody asks for it. */
  isDone(now: number): boolean {
    const isEmpty = this.inUse === 0n;
    if (this.isLost) return isEmpty && this.#kept === 0n;
    return isEmpty && this.#granted === 0n && (this.#isClosed || this.#isIdle(now));
  }

  /** What calls in flight hold, and what was spent and is not known to be written. */
  get inUse(): bigint {
    return this.#held + this.#spent + this.#flushing;
  }

  /** Takes what was spent into a flush, and what is not wanted any more; until that is committed both are missing from what is free. */
  report(now: number): SliceUse {
    const wanted = this.#wanted(now);
    this.#flushing = this.#spent;
    this.#spent = 0n;
    this.#offered = this.free > wanted ? this.free - wanted : 0n;
    return { spent: this.#flushing, held: this.#held, wanted, dearest: this.#dearest };
  }

  /** The slice was posted: all of it may be taken back but this. Asked when its time is over, so that no call can come to it. */
  keep(): bigint {
    this.#kept = this.#held + this.#spent;
    return this.#kept;
  }

  /** The flush was committed; `granted` null: the slice is not ours any more. */
  flushed(granted: bigint | null, usableUntil: number): void {
    this.#flushing = 0n;
    this.#offered = 0n;
    this.#granted = granted ?? 0n;
    this.isLost ||= granted === null;
    this.usableUntil = this.isLost ? -Infinity : usableUntil;
    // What was needed for a moment is forgotten within a second or so.
    this.#peak = (this.#peak * 9n) / 10n;
    if (this.#peak === 0n) this.#dearest = 0n;
  }

  #wanted(now: number): bigint {
    return this.#isIdle(now) || this.#isClosed || this.isLost ? 0n : 2n * this.#peak;
  }

  #isIdle(now: number): boolean {
    return now - this.#usedAt > leaseIdleMs;
  }
}
