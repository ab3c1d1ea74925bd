import { touchedCountersMax } from '../base/limits.ts';
import type { CounterKey } from './store.ts';

/** What was noted since the last look. */
export interface Touched {
  readonly keys: readonly CounterKey[];
  /** There were more than could be kept: whoever looks must look at all counters. */
  readonly overflowed: boolean;
}

/** The counters on which something was posted lately, so that the notices need not read all of them. */
export class TouchedCounters {
  #windows = new Map<string, Set<string>>();
  #size = 0;
  #overflowed = false;

  /** Runs once for each budget of each settlement: a counter that is known already costs two lookups and no memory. */
  note(budgetId: string, windowKey: string): void {
    const windows = this.#windows.get(budgetId);
    if (windows?.has(windowKey)) return;
    if (this.#size === touchedCountersMax) {
      this.#overflowed = true;
      return;
    }
    this.#size += 1;
    if (windows) windows.add(windowKey);
    else this.#windows.set(budgetId, new Set([windowKey]));
  }

  /** What was noted since the last time, which is then forgotten. */
  take(): Touched {
    const keys = [...this.#windows].flatMap(([budgetId, windows]) =>
      [...windows].map((windowKey) => ({ budgetId, windowKey })),
    );
    const overflowed = this.#overflowed;
    this.#windows = new Map();
    this.#size = 0;
    this.#overflowed = false;
    return { keys, overflowed };
  }
}
