/** What one instruction of a pattern says about characters: the part of the library's that is needed here. */
export interface RuneTest {
  readonly op: number;
  readonly runes: readonly number[];
  readonly arg: number;
  matchRune(rune: number): boolean;
}

/** Characters that no instruction of a pattern tells apart. */
interface CharacterClass {
  readonly kind: number;
  readonly sample: number;
}

export interface Alphabet {
  readonly classes: readonly CharacterClass[];
  /** The kinds that occur among the classes. */
  readonly kinds: readonly number[];
  /** The class of each character up to 127. */
  readonly ascii: Uint16Array;
  /** Where ranges begin, in order, and the class of each. */
  readonly starts: Uint32Array;
  readonly classOfRange: Uint16Array;
}

// What stands before or after a position, as far as assertions (^, $, \b) look.
const otherKind = 0;
const wordKind = 1;
const newlineKind = 2;
export const startOfText = 3;
export const endOfText = 4;

/** The assertions that hold between two characters, as a set of bits: RE2's numbers for them. */
export function contextBetween(before: number, after: number): number {
  let context = 0;
  if (before === startOfText) context |= 4;
  if (before === startOfText || before === newlineKind) context |= 1;
  if (after === endOfText) context |= 8;
  if (after === endOfText || after === newlineKind) context |= 2;
  return context | ((before === wordKind) === (after === wordKind) ? 32 : 16);
}

const foldsCase = 1;
const wordRanges = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a];

/** Divides all characters into the classes that these tests tell apart, and, where there are assertions, by kind. */
export function alphabetOf(tests: readonly RuneTest[], assertions: boolean, spend: (steps: number) => void): Alphabet {
  const borders = new Set([0, 128]);
  for (const test of tests) {
    const ranges = rangesOf(test);
    spend(ranges.length);
    for (const [low, high] of ranges) borders.add(low).add(high + 1);
  }
  if (assertions) {
    borders.add(0x0a).add(0x0b);
    for (const [low, high] of pairs(wordRanges)) borders.add(low).add(high + 1);
  }
  const starts = [...borders].sort((a, b) => a - b);
  const classes: CharacterClass[] = [];
  const numbers = new Map<string, number>();
  const classOfRange = starts.map((sample) => {
    spend(tests.length + 1);
    const kind = assertions ? kindOf(sample) : otherKind;
    const key = `${kind}:${tests.map((test) => (test.matchRune(sample) ? 1 : 0)).join('')}`;
    const number = numbers.get(key) ?? classes.push({ kind, sample }) - 1;
    numbers.set(key, number);
    return number;
  });
  const alphabet = {
    classes,
    kinds: [...new Set(classes.map(({ kind }) => kind))],
    starts: Uint32Array.from(starts),
    classOfRange: Uint16Array.from(classOfRange),
    ascii: new Uint16Array(128),
  };
  for (let unit = 0; unit < 128; unit += 1) alphabet.ascii[unit] = classOf(alphabet, unit);
  return alphabet;
}

/** The class of a character, by halving the ranges. */
export function classOf({ starts, classOfRange }: Alphabet, rune: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= rune) low = middle;
    else high = middle;
  }
  return classOfRange[low] ?? 0;
}

/** The ranges that a test has, as [first, last]; a test without any takes every character, or all but the newline. */
function rangesOf({ runes, arg }: RuneTest): readonly (readonly [number, number])[] {
  const [only] = runes;
  if (only === undefined) return [[0x0a, 0x0a]];
  if (runes.length > 1) return pairs(runes);
  return (arg & foldsCase) === 0 ? [[only, only]] : sameLetter(only).map((rune) => [rune, rune] as const);
}

/** A letter in both cases, with the two beyond ASCII that fold to letters of ASCII: the Kelvin sign, the long s. */
function sameLetter(rune: number): readonly number[] {
  if (rune >= 128 && rune !== 0x212a && rune !== 0x17f) throw new UnsupportedFold();
  const letter = String.fromCodePoint(rune).toLowerCase();
  const both = [letter, letter.toUpperCase()].map((text) => text.codePointAt(0) ?? rune);
  return [rune, ...both, 0x212a, 0x17f];
}

/** A pattern that ignores the case of a letter beyond ASCII. */
export class UnsupportedFold extends Error {}

function kindOf(rune: number): number {
  if (rune === 0x0a) return newlineKind;
  return pairs(wordRanges).some(([low, high]) => low <= rune && rune <= high) ? wordKind : otherKind;
}

function pairs(flat: readonly number[]): readonly (readonly [number, number])[] {
  return Array.from({ length: flat.length >> 1 }, (_, index) => [flat[2 * index] ?? 0, flat[2 * index + 1] ?? 0]);
}
