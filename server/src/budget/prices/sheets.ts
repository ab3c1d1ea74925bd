import type { Price } from './price.ts';

/** A price that applies from `from` (epoch milliseconds) until the next one of its list. */
export interface Sheet {
  readonly from: number;
  readonly price: Price;
}

/** The price in force at a time; null before the first. */
export function sheetAt(sheets: readonly Sheet[], atMs: number): Price | null {
  return sheets.findLast(({ from }) => from <= atMs)?.price ?? null;
}

/** The day (UTC) of a time, for the names of versions. */
export function dayOf(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10);
}
