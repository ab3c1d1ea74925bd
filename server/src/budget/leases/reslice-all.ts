import { counterName } from '../store.ts';
import { type LeasableCounter, type SliceChange, reslice } from './rules.ts';
import type { Slice, SliceUse } from './slice.ts';

/** What a flush finds under lock. */
export interface Found<C extends LeasableCounter> {
  /** What is left of slices, by epoch; one that was posted is absent, and so is one of which nothing was left. */
  readonly left: ReadonlyMap<bigint, bigint>;
  readonly counters: ReadonlyMap<string, C>;
  /** What of posted slices was not taken back yet, by epoch. */
  readonly postings: ReadonlyMap<bigint, bigint>;
}

export interface Resliced<C extends LeasableCounter> {
  readonly slice: Slice;
  readonly counter: C;
  readonly change: SliceChange;
}

/**
 * Books all reports of a flush, one after another: a slice may share its counter with one that the process had before.
 * @throws Error when a counter is missing: booking without it would lose money
 */
export function resliceAll<C extends LeasableCounter>(
  reports: ReadonlyMap<Slice, SliceUse>,
  { left, counters: found, postings }: Found<C>,
): Resliced<C>[] {
  const counters = new Map(found);
  return [...reports].map(([slice, use]) => {
    const name = counterName(slice.key);
    const counter = counters.get(name);
    if (!counter) throw new Error(`budget ${slice.key.budgetId} has no counter for "${slice.key.windowKey}"`);
    const granted = grantedNow(slice, left);
    const held = granted === null ? slice.keep() : use.held;
    const change = reslice(counter, { ...use, held, granted, takeable: postings.get(slice.epoch) ?? 0n });
    counters.set(name, {
      ...counter,
      posted: counter.posted + change.posted,
      held: counter.held + change.held,
      leased: counter.leased + change.leased,
    });
    return { slice, counter, change };
  });
}

/** Null where the slice was posted. One of which nothing was left has no row, and may be leased anew. */
function grantedNow(slice: Slice, left: ReadonlyMap<bigint, bigint>): bigint | null {
  if (slice.isLost) return null;
  return slice.granted === 0n ? 0n : (left.get(slice.epoch) ?? null);
}
