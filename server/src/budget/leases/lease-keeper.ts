import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Clock } from '../../base/clock.ts';
import { flushEveryMs, flushRowsMax, leaseMs } from '../../base/limits.ts';
import type { Logger } from '../../base/log.ts';
import { isUnavailable } from '../../pg/errors.ts';
import type { LedgerRow } from '../ledger-row.ts';
import type { TouchedCounters } from '../touched-counters.ts';
import { commitFlush } from './flush.ts';
import type { Flush, LeaseBook } from './lease-book.ts';

export interface LeaseKeeperOptions {
  readonly pool: Pool;
  readonly instanceId: string;
  readonly book: LeaseBook;
  readonly clock: Clock;
  readonly touched: TouchedCounters;
  /** Takes a ledger row that the database refused among others. */
  readonly writeAlone: (row: LedgerRow) => void;
  readonly log: Logger;
}

/** Flushes the lease book again and again: what was spent is written, and slices are renewed, sized and given back. */
export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  readonly #stop = new AbortController();
  /** Flushes that are tried before any other: one that may or may not be committed, under its number, and parts of one that was refused. */
  readonly #open: { readonly no: bigint | null; readonly flush: Flush }[] = [];
  #flushNo = 0n;
  #running: Promise<void> | undefined;
  /** Ends a pause early. */
  #wake = new AbortController();
  /** Who waits for a flush that has not begun yet. */
  #waiting: (() => void)[] = [];

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Flushes without a pause. Resolves once a flush that began after this was called is over, however it went. */
  flushed(): Promise<void> {
    if (this.#stop.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#wake.abort();
    });
  }

  /** Gives all slices back, and writes what there is to write, for `graceMs` at most. */
  async stop(graceMs: number): Promise<void> {
    const { book, clock, log } = this.#options;
    book.close();
    this.#stop.abort();
    await this.#running;
    const until = clock.monotonic() + graceMs;
    while ((await this.#flush()) && clock.monotonic() < until) {
      if (this.#open.length > 0) await sleep(flushEveryMs);
    }
    if (this.#open.length > 0 || book.takeFlush(flushRowsMax)) {
      log.error(
        'Calls of the last moment could not be written: what was leased for them is posted when its time is over.',
      );
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const pause = AbortSignal.any([signal, this.#wake.signal]);
      // Rows that wait are those that a crash would lose.
      const isBehind = this.#options.book.isOpen && this.#options.book.unflushedRows >= flushRowsMax;
      if (!isBehind) await sleep(flushEveryMs, undefined, { signal: pause }).catch(() => undefined);
      this.#wake = new AbortController();
      const waiting = this.#waiting.splice(0);
      await this.#flush();
      for (const resolve of waiting) resolve();
    }
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** @returns whether there was anything to do */
  async #flush(): Promise<boolean> {
    const { pool, instanceId, book, touched } = this.#options;
    const open = this.#open.shift();
    const flush = open?.flush ?? book.takeFlush(flushRowsMax);
    if (flush === null) return false;
    const no = open?.no ?? (this.#flushNo += 1n);
    try {
      const left = await commitFlush(pool, instanceId, no, flush);
      book.isOpen = true;
      for (const [slice, { spent }] of flush.reports) {
        slice.flushed(left.get(slice) ?? null, flush.askedAt + leaseMs);
        if (spent > 0n) touched.note(slice.key.budgetId, slice.key.windowKey);
      }
      for (const { key } of flush.counted) touched.note(key.budgetId, key.windowKey);
      book.tidy();
    } catch (error) {
      if (isUnavailable(error)) this.#wait(no, flush, error);
      else this.#divide(flush, error);
    }
    return true;
  }

  /** Nobody may spend what nobody could write down. */
  #wait(no: bigint, flush: Flush, error: unknown): void {
    const { book, log } = this.#options;
    this.#open.unshift({ no, flush });
    if (!book.isOpen) return;
    book.isOpen = false;
    log.warn({ err: error, rows: flush.rows.length }, 'Leases wait for the database: calls take the strict path.');
  }

  /** Something in it offends the database: its neighbours must not wait for it. */
  #divide(flush: Flush, error: unknown): void {
    const { book, log, writeAlone } = this.#options;
    if (flush.rows.length > 0) {
      for (const row of flush.rows) writeAlone(row);
      this.#open.unshift({ no: null, flush: { ...flush, rows: [] } });
      return;
    }
    const halves = book.divide(flush);
    if (halves) {
      this.#open.unshift(...halves.map((half) => ({ no: null, flush: half })));
      return;
    }
    // Its lease is posted whole when its time is over.
    for (const slice of flush.reports.keys()) slice.flushed(null, -Infinity);
    const what = [...flush.reports].map(([{ key }, { spent }]) => ({ ...key, spent: spent.toString() }));
    log.error(
      { err: error, slices: what, counted: flush.counted.length },
      'What was spent was refused by the database.',
    );
  }
}
