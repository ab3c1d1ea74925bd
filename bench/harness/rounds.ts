import { median } from './statistics.ts';

/**
 * One side over the other, round by round, of which the median is the figure: what else the machine did in a round, it
 * did to both. NaN when no round has both.
 */
export function over(a: readonly number[], b: readonly number[]): number {
  return median(paired(a, b).map(([one, other]) => one / other));
}

/** One side less the other, compared as in `over`. */
export function minus(a: readonly number[], b: readonly number[]): number {
  return median(paired(a, b).map(([one, other]) => one - other));
}

/** The rounds that both sides have. */
function paired(a: readonly number[], b: readonly number[]): [number, number][] {
  return a.flatMap((one, index) => (b[index] === undefined ? [] : [[one, b[index]]]));
}
