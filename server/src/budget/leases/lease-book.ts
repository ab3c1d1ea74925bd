import { flushSlicesMax, leaseMs, leaseYieldMs, slicesMax, unflushedRowsMax } from '../../base/limits.ts';
import type { Clock } from '../../base/clock.ts';
import { type Stand, amountOf } from '../admission.ts';
import type { LedgerRow } from '../ledger-row.ts';
import type { Budget, BudgetUnit, HoldRequest, Shortfall } from '../model.ts';
import type { Placement } from '../placement.ts';
import { type CounterKey, counterName } from '../store.ts';
import { leasableMax } from './rules.ts';
import { Slice, type SliceUse } from './slice.ts';

/** What an ended call leaves on each of its budgets, by unit. */
export type Spent = Readonly<Record<BudgetUnit, bigint>>;

/** What a call holds in memory. */
export interface LeasedHold {
  readonly parts: readonly { readonly slice: Slice; readonly unit: BudgetUnit; readonly amount: bigint }[];
  /** Counters on which nothing is held, for want of a limit or of a price; what is spent is counted. */
  readonly counted: readonly { readonly key: CounterKey; readonly unit: BudgetUnit }[];
}

/** What one flush says. */
export interface Flush {
  /** Monotonic milliseconds at which it was first tried: what it renews ends by the database's clock a while after that. */
  readonly askedAt: number;
  /** What each slice has to say, as it is now: a second try says the same. */
  readonly reports: ReadonlyMap<Slice, SliceUse>;
  readonly counted: readonly { readonly key: CounterKey; readonly amount: bigint }[];
  readonly rows: readonly LedgerRow[];
}

/**
 * The slices of one process, and what was spent since the last flush. Everything here happens in one turn of the event
 * loop: a call is held on all its budgets or on none.
 */
export class LeaseBook {
  readonly #clock: Clock;
  readonly #placement: Placement;
  readonly #slices = new Map<string, Slice>();
  /** Slices that were lost or outlived, on which calls are still in flight. */
  #former: Slice[] = [];
  /** Monotonic milliseconds, by counter. */
  readonly #yieldedAt = new Map<string, number>();
  #counted = new Map<string, { readonly key: CounterKey; amount: bigint }>();
  #rows: LedgerRow[] = [];
  #epoch = 0n;
  /** False while the database is away: then nobody may spend what nobody could write down. */
  isOpen = true;
  #isClosed = false;

  constructor(clock: Clock, placement: Placement) {
    this.#clock = clock;
    this.#placement = placement;
  }

  /** Ledger rows that wait for a flush. */
  get unflushedRows(): number {
    return this.#rows.length;
  }

  /**
   * Holds a call in memory on all its budgets.
   * @returns null where that is not possible: the strict path decides
   */
  hold(request: HoldRequest): LeasedHold | null {
    if (!this.isOpen || this.#isClosed || this.#rows.length >= unflushedRowsMax) return null;
    const stands = this.#standsOf(request);
    if (stands.some((stand) => isForStrict(stand, request))) return null;
    const now = this.#clock.monotonic();
    const parts: { slice: Slice; unit: BudgetUnit; amount: bigint }[] = [];
    const counted: { key: CounterKey; unit: BudgetUnit }[] = [];
    for (const { budget, windowKey } of stands) {
      if (windowKey === null) continue;
      const key = { budgetId: budget.id, windowKey };
      const amount = amountOf(budget.unit, request.worst);
      if (budget.limit === null || amount === 0n) {
        counted.push({ key, unit: budget.unit });
        continue;
      }
      const slice = this.#slices.get(counterName(key));
      if (slice?.budget !== budget || !slice.canHold(amount, now)) return null;
      parts.push({ slice, unit: budget.unit, amount });
    }
    for (const { slice, amount } of parts) slice.hold(amount, now);
    return { parts, counted };
  }

  /**
   * The strict path let a call in that could not be held here: the next flush asks for slices in which another like it
   * fits. What is refused leases nothing, and neither does what is too dear for any slice.
   */
  wish(request: HoldRequest): void {
    if (this.#isClosed || this.#slices.size >= slicesMax) return;
    const stands = this.#standsOf(request).filter(
      ({ budget, windowKey }) => budget.limit !== null && windowKey !== null,
    );
    const isTooDear = ({ budget }: Stand) => amountOf(budget.unit, request.worst) > leasableMax(budget.limit ?? 0n);
    if (stands.some((stand) => isForStrict(stand, request) || isTooDear(stand))) return;
    const now = this.#clock.monotonic();
    for (const { budget, windowKey } of stands) {
      if (windowKey === null) continue;
      const slice = this.#sliceOf(budget, { budgetId: budget.id, windowKey }, now);
      slice.wish(amountOf(budget.unit, request.worst), now);
    }
  }

  /**
   * Gives back, with the next flush, what is free of the slices of budgets that refused a call, where that is what it lacks.
   * A caller who is refused again and again does not have it all given back each time.
   * @returns whether the call may be let in afterwards
   */
  yield(request: HoldRequest, shortfalls: readonly Shortfall[]): boolean {
    const now = this.#clock.monotonic();
    const lacking = new Map(shortfalls.map((shortfall) => [shortfall.meter.budget.id, shortfall]));
    const helpful: [string, Slice][] = [];
    for (const { budget, windowKey } of this.#standsOf(request)) {
      const shortfall = lacking.get(budget.id);
      if (!shortfall) continue;
      const name = counterName({ budgetId: budget.id, windowKey: windowKey ?? '' });
      const slice = this.#slices.get(name);
      const { observed, amount, limit } = shortfall;
      if (!slice || slice.free <= 0n || observed - slice.free + amount > limit) return false;
      if (now < (this.#yieldedAt.get(name) ?? -Infinity) + leaseYieldMs) return false;
      helpful.push([name, slice]);
    }
    for (const [name, slice] of helpful) {
      this.#yieldedAt.set(name, now);
      this.#retire(name, slice);
    }
    return helpful.length > 0;
  }

  /** Monotonic milliseconds until which the hold may be used: as long as each of its slices. */
  usableUntil({ parts }: LeasedHold): number {
    if (!this.isOpen) return -Infinity;
    return parts.reduce((until, { slice }) => Math.min(until, slice.usableUntil), Infinity);
  }

  /** Ends a call: what it held is free again, and what it spent waits for the next flush with its ledger row. */
  end({ parts, counted }: LeasedHold, spent: Spent, row: LedgerRow): void {
    for (const { slice, unit, amount } of parts) slice.end(amount, spent[unit]);
    for (const { key, unit } of counted) this.#count(key, spent[unit]);
    this.#rows.push(row);
  }

  /** From now on nothing is held, and all slices are given back as far as nothing is in flight on them. */
  close(): void {
    this.#isClosed = true;
    for (const slice of this.#slices.values()) slice.close();
  }

  /** Two flushes instead of one that the database refused, or null where there is but one thing to say. */
  divide(flush: Flush): readonly [Flush, Flush] | null {
    const { reports, counted } = flush;
    if (reports.size + counted.length < 2) return null;
    const slices = [...reports];
    const [middle, half] = [Math.ceil(slices.length / 2), Math.ceil(counted.length / 2)];
    return [
      { ...flush, reports: new Map(slices.slice(0, middle)), counted: counted.slice(half) },
      {
        ...flush,
        reports: new Map(slices.slice(middle)),
        counted: counted.slice(0, half),
        rows: [],
      },
    ];
  }

  /** What there is to tell and to ask, or null; the rows and amounts are the flush's from now on. */
  takeFlush(rowsMax: number): Flush | null {
    const now = this.#clock.monotonic();
    const renewBefore = now + leaseMs / 2;
    const dirty = [...this.#slices.values(), ...this.#former].filter((slice) => slice.isDirty(now, renewBefore));
    // Those that end soonest first: a flush holds all its counters locked.
    const slices = dirty.sort((one, other) => one.usableUntil - other.usableUntil).slice(0, flushSlicesMax);
    const reports = new Map(slices.map((slice) => [slice, slice.report(now)]));
    if (slices.length + this.#counted.size + this.#rows.length === 0) return null;
    const rows = this.#rows.splice(0, rowsMax);
    const counted = [...this.#counted.values()];
    this.#counted = new Map();
    return { askedAt: now, reports, counted, rows };
  }

  /** After a flush: what is over is forgotten. */
  tidy(): void {
    const now = this.#clock.monotonic();
    for (const [name, slice] of this.#slices) {
      if (slice.isLost && !slice.isDone(now)) this.#former.push(slice);
      if (slice.isLost || slice.isDone(now)) this.#slices.delete(name);
    }
    for (const [name, at] of this.#yieldedAt) if (at + leaseYieldMs <= now) this.#yieldedAt.delete(name);
    this.#former = this.#former.filter((slice) => !slice.isDone(now));
  }

  /** A changed budget is another object: what it leased is given back, and what comes next is leased by what it is now. */
  #sliceOf(budget: Budget, key: CounterKey, now: number): Slice {
    const name = counterName(key);
    const known = this.#slices.get(name);
    if (known?.budget === budget) return known;
    if (known) this.#retire(name, known);
    this.#epoch += 1n;
    const slice = new Slice(budget, key, this.#epoch, now);
    this.#slices.set(name, slice);
    return slice;
  }

  #retire(name: string, slice: Slice): void {
    slice.close();
    this.#slices.delete(name);
    this.#former.push(slice);
  }

  #standsOf(request: HoldRequest): readonly Stand[] {
    const [placed] = this.#placement.place([request]);
    return placed?.stands ?? [];
  }

  #count(key: CounterKey, amount: bigint): void {
    const name = counterName(key);
    const known = this.#counted.get(name);
    if (known) known.amount += amount;
    else this.#counted.set(name, { key, amount });
  }
}

/** What cannot be told from memory: calls in flight of all processes, and what a budget refuses to each call by itself. */
function isForStrict({ budget, windowKey }: Stand, { worst }: HoldRequest): boolean {
  const { unit, limit } = budget;
  if (limit === null) return false;
  return unit === 'concurrent_requests' || limit === 0n || (windowKey === null && amountOf(unit, worst) > limit);
}
