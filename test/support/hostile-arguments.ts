import {
  argumentDepthMax,
  argumentEntriesMax,
  argumentsSizeMax,
  argumentTextBytesMax,
} from '../../server/src/base/limits.ts';

const text = 'a'.repeat(argumentTextBytesMax);
const entries = <T>(make: (index: number) => T) =>
  Array.from({ length: argumentEntriesMax }, (_, index) => make(index));
/** Each entry as long as all of them can be together. */
const share = Math.floor(argumentsSizeMax / argumentEntriesMax) - 17;

/**
 * What callers send who want conditions to take long, by name. Every one has the members that the conditions of
 * test/vectors/hostile-conditions.json ask for: `a`, `b` (texts), `n` (a number), `list`, `other` (lists), `map`, `deep`.
 */
export const hostileArguments: Readonly<Record<string, () => Record<string, unknown>>> = {
  nothing: () => ({}),
  /** Texts that are all the same letter but in the middle: the slowest to look for in each other. */
  repetition: () => ({
    a: text,
    b: `${'a'.repeat(1_000)}b${'a'.repeat(1_000)}`,
    n: 1,
    list: [text, text],
    map: { a: text },
  }),
  /** Two texts of one length that differ at their ends. */
  late_difference: () => ({ a: text, b: `${text.slice(1)}b`, list: entries(() => 'a'.repeat(share)), n: -1 }),
  /** Every character outside of ASCII, and every other one outside of the first plane. */
  unicode: () => ({ a: '😀é'.repeat(700), b: 'ſK'.repeat(800), list: entries(() => '😀'.repeat(share >> 2)), n: 0.5 }),
  /** Characters that patterns with \b and (?m) look around at. */
  borders: () => ({ a: 'a \n'.repeat(1_365), b: '1-'.repeat(2_000), list: entries(() => 'a \n'.repeat(share / 3)) }),
  /** As many entries as there may be, each as long as it may be. */
  wide: () => ({
    list: entries((index) => `${index}`.padEnd(share >> 1, 'x')),
    other: entries((index) => `${index}`.padEnd(share >> 1, 'y')),
  }),
  wide_map: () => ({ map: Object.fromEntries(entries((index) => [`${index}`.padStart(200, 'k'), index])), n: 1 }),
  /** Lists of maps, alike until their last member. */
  records: () => ({
    list: entries((index) => ({ name: 'bash', kind: 'function', last: index })),
    other: entries(() => ({ name: 'bash', kind: 'function', last: -1 })),
  }),
  /** Alike until the very last value, and as large as both can be. */
  alike: () => ({
    list: entries((index) => numbers(index === argumentEntriesMax - 1 ? 1 : 0)),
    other: entries(() => numbers(0)),
  }),
  alike_maps: () => ({
    deep: named(() => ({ a: 0, b: 0, c: 0, d: 0 })),
    other: named((index) => ({ a: 0, b: 0, c: 0, d: index === argumentEntriesMax - 1 ? 1 : 0 })),
  }),
  many_values: () => ({ list: entries(() => entries(() => null)), other: entries(() => entries(() => null)) }),
  many_numbers: () => ({ list: entries((index) => index / 3), other: entries((index) => index), n: 1e300 }),
  deep: () => ({
    deep: nested(argumentDepthMax - 1),
    other: nested(argumentDepthMax - 1),
    list: entries(() => nested(4)),
  }),
  /** Nothing has the type that conditions expect: every access fails. */
  wrong_types: () => ({ a: 1, b: null, n: 'x', list: 'list', other: false, map: [], deep: 0 }),
  wrong_entries: () => ({
    a: [text],
    b: {},
    n: [],
    list: entries((index) => [index, 'x', null, {}, true, 0.1][index % 6]),
    map: [1],
  }),
  /** Names that mean something to JavaScript. */
  prototypes: () =>
    JSON.parse(
      '{"__proto__":{"a":1},"constructor":"x","hasOwnProperty":1,"toString":null,"a":"__proto__","map":{"__proto__":1}}',
    ) as Record<string, unknown>,
};

function numbers(last: number): readonly number[] {
  return [0.5, 0.5, 0.5, 0.5, 0.5, last];
}

function named(make: (index: number) => unknown): unknown {
  return Object.fromEntries(entries((index) => [`k${index}`, make(index)]));
}

function nested(depth: number): unknown {
  return depth === 0 ? 'end' : { next: nested(depth - 1), list: [nested(depth - 1)] };
}
