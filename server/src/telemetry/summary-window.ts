import type { Resolution } from './rollup-sql.ts';

/** Epoch milliseconds from `from` on and before `to`. */
export interface Window {
  readonly from: number;
  readonly to: number;
}

/** A part of a window, made of whole buckets of one resolution. */
export interface Piece extends Window {
  readonly resolution: Resolution;
}

/** Since when the sums of a resolution are there, in epoch milliseconds: a midnight (UTC), or -Infinity. Days are for ever. */
export type Kept = Readonly<Record<Exclude<Resolution, 'day'>, number>>;

export const bucketMs: Readonly<Record<Resolution, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

const coarser = { minute: 'hour', hour: 'day', day: null } as const;

/** The window in whole minutes and, where an end of it lies further back than these are kept, in whole hours or days. */
export function wholeWindow({ from, to }: Window, kept: Kept): Window {
  let [first, end] = [floor(from, bucketMs.minute), ceil(to, bucketMs.minute)];
  for (const resolution of ['minute', 'hour'] as const) {
    const outer = bucketMs[coarser[resolution]];
    if (first < kept[resolution]) first = floor(first, outer);
    if (floor(end, outer) < kept[resolution]) end = ceil(end, outer);
  }
  return { from: first, to: end };
}

/** A whole window in as few pieces as there are: minutes and hours at its ends, days between; none coarser than said. */
export function piecesOf(window: Window, coarsest: Resolution, resolution: Resolution = 'minute'): Piece[] {
  const next = resolution === coarsest ? null : coarser[resolution];
  const { from, to } = window;
  const inner = next && { from: ceil(from, bucketMs[next]), to: floor(to, bucketMs[next]) };
  if (next === null || inner === null || inner.from >= inner.to) return [{ resolution, from, to }];
  const ends = { before: { resolution, from, to: inner.from }, after: { resolution, from: inner.to, to } };
  return [ends.before, ...piecesOf(inner, coarsest, next), ends.after].filter((piece) => piece.from < piece.to);
}

function floor(ms: number, unit: number): number {
  return Math.floor(ms / unit) * unit;
}

function ceil(ms: number, unit: number): number {
  return Math.ceil(ms / unit) * unit;
}
