/** A value while a condition is evaluated: JSON's, with bigint for CEL's int and number for its double. */
export type Value = null | boolean | bigint | number | string | Time | Failure | readonly Value[] | ValueMap;
export interface ValueMap {
  readonly [key: string]: Value;
}

/** A timestamp (since 1970) or a duration, in nanoseconds. */
export class Time {
  readonly kind: 'timestamp' | 'duration';
  readonly ns: bigint;

  constructor(kind: 'timestamp' | 'duration', ns: bigint) {
    this.kind = kind;
    this.ns = ns;
  }
}

/** CEL's error value. One is made for each place where it can arise, when the condition is compiled: making one costs nothing then. */
export class Failure {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isMap(value: Value): value is ValueMap {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Time) &&
    !(value instanceof Failure)
  );
}

export function isNumber(value: Value): value is number | bigint {
  return typeof value === 'number' || typeof value === 'bigint';
}

/** CEL's equality: numbers by value across types, nothing else across types (language definition, "Equality"). */
export function equal(left: Value, right: Value): boolean {
  if (left === right) return true;
  // oxlint-disable-next-line eqeqeq -- a bigint and a number of the same value
  if (isNumber(left)) return isNumber(right) && left == right;
  if (left instanceof Time) return right instanceof Time && left.kind === right.kind && left.ns === right.ns;
  if (isList(left)) return isList(right) && equalLists(left, right);
  return isMap(left) && isMap(right) && equalMaps(left, right);
}

function equalLists(left: readonly Value[], right: readonly Value[]): boolean {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index += 1)
    if (!equal(left[index] ?? null, right[index] ?? null)) return false;
  return true;
}

function equalMaps(left: ValueMap, right: ValueMap): boolean {
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  for (const key of keys) if (!Object.hasOwn(right, key) || !equal(left[key] ?? null, right[key] ?? null)) return false;
  return true;
}

/** Negative, zero or positive; NaN where a NaN is compared; undefined where the two have no order. */
export function compare(left: Value, right: Value): number | undefined {
  if (isNumber(left) && isNumber(right)) {
    if (left < right) return -1;
    if (left > right) return 1;
    // oxlint-disable-next-line eqeqeq -- a bigint and a number of the same value
    return left == right ? 0 : Number.NaN;
  }
  if (typeof left === 'string' && typeof right === 'string') return compareTexts(left, right);
  if (typeof left === 'boolean' && typeof right === 'boolean') return Number(left) - Number(right);
  if (left instanceof Time && right instanceof Time && left.kind === right.kind) {
    if (left.ns === right.ns) return 0;
    return left.ns < right.ns ? -1 : 1;
  }
  return undefined;
}

/** By code points: JavaScript's own order is by UTF-16 units, which has U+FFFD after U+1F600. */
function compareTexts(left: string, right: string): number {
  if (left === right) return 0;
  const shorter = Math.min(left.length, right.length);
  for (let index = 0; index < shorter; index += 1) {
    const a = left.charCodeAt(index);
    const b = right.charCodeAt(index);
    if (a !== b) return aboveSurrogates(a) - aboveSurrogates(b);
  }
  return left.length - right.length;
}

function aboveSurrogates(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
