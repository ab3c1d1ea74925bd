import { argumentEntriesMax, argumentsSizeMax } from '../../base/limits.ts';

/**
 * What something can be at most, in dependence of the item of the loop that it stands in. There is one loop at a time (none within
 * another), and the items of a loop are together no larger than what is looped over: so a loop costs so many times the fixed part, and
 * once the rest for the whole of it.
 */
export interface Bound {
  readonly fixed: number;
  readonly perItemSize: number;
  /** The most that it is for any one item. */
  readonly max: number;
}

export function constant(value: number): Bound {
  return { fixed: value, perItemSize: 0, max: value };
}

export function sum(...bounds: readonly Bound[]): Bound {
  let [fixed, perItemSize, max] = [0, 0, 0];
  for (const bound of bounds) {
    fixed += bound.fixed;
    perItemSize += bound.perItemSize;
    max += bound.max;
  }
  return { fixed, perItemSize, max };
}

export function times(bound: Bound, factor: number): Bound {
  return { fixed: bound.fixed * factor, perItemSize: bound.perItemSize * factor, max: bound.max * factor };
}

export function larger(left: Bound, right: Bound): Bound {
  return {
    fixed: Math.max(left.fixed, right.fixed),
    perItemSize: Math.max(left.perItemSize, right.perItemSize),
    max: Math.max(left.max, right.max),
  };
}

/** One of two of which each is enough: the one that comes to less over a whole loop over arguments. */
export function smaller(left: Bound, right: Bound): Bound {
  return inLargestLoop(left) <= inLargestLoop(right) ? left : right;
}

function inLargestLoop(bound: Bound): number {
  return overLoop(bound, argumentEntriesMax, argumentsSizeMax).max;
}

/** What it is for all items of a loop together: so many items, and their sizes together. */
export function overLoop(bound: Bound, items: number, itemsSize: number): Bound {
  const total = Math.min(bound.fixed * items + bound.perItemSize * itemsSize, bound.max * items);
  return constant(total);
}

/** How large a value can be. */
export interface Extent {
  /** The longest text in it, in UTF-16 units. */
  readonly text: Bound;
  /** All of it: the units of its texts, and {@link valueSize} for each value. */
  readonly size: Bound;
  /** The most entries of a list or map in it. */
  readonly entries: number;
}

export const valueSize = 16;
export const scalar: Extent = { text: constant(0), size: constant(valueSize), entries: 0 };

export function textOf(units: Bound): Extent {
  return { text: units, size: sum(units, constant(valueSize)), entries: 0 };
}

export function largerExtent(left: Extent, right: Extent): Extent {
  return {
    text: larger(left.text, right.text),
    size: larger(left.size, right.size),
    entries: Math.max(left.entries, right.entries),
  };
}

/**
 * What steps cost at worst, in nanoseconds of one core of the machine of docs/benchmarks/policy.md. A step that does little is priced
 * for the first time that it is taken, which is several times slower than all others. `npm run bench -- policy` measures whether they still hold.
 */
export const ns = {
  /** A rule around its condition. */
  rule: 300,
  /** A literal, a variable, a field of a record. */
  read: 20,
  /** An operator or function, without what its arguments' length adds. */
  call: 150,
  /** A member of a map by its name, or an entry of a list. */
  lookup: 150,
  /** One turn of a loop, without its body. */
  turn: 40,
  /** An entry of a list or map that an expression makes; one that is looked at. */
  entry: 60,
  entryRead: 40,
  /** Whole numbers of 64 bits and moments: an allocation each. */
  arithmetic: 200,
  /** Two texts of the same length that differ at their ends, by the unit. */
  equalText: 0.3,
  /** Lists and maps within each other, by the unit of their size: a value has {@link valueSize}. */
  equalValue: 6,
  orderText: 3,
  /** Reading a text once: joining it to another, taking it for a key, comparing its beginning. */
  scanText: 2,
  /** Making a text of another one. */
  rewriteText: 10,
  /** Counting code points. */
  countText: 6,
  /** Looking for a text in another: each unit of that one, and so much more for each unit of the text that is sought. */
  searchText: 8,
  searchAgain: 0.25,
  /** A character given to a pattern. */
  matchText: 20,
  /** A calendar field of a timestamp in UTC, or in a time zone of the IANA database. */
  calendar: 400,
  zone: 20_000,
  /** Reading and writing of numbers as texts, at most 64 characters. */
  convert: 800,
} as const;
