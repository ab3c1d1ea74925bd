import { Failure, type Value } from './values.ts';

const noNumber = new Failure('the text is no number');
const outOfRange = new Failure('the number lies outside of what 64 bits hold');
// What is longer is no number that anybody means, and would take long to read.
const numberCharsMax = 64;

const whole = /^[+-]?\d{1,19}$/;
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?$/;

/** CEL's conversions, of the types that conditions have; undefined where there is none. */
export function toInt(value: Value): Value | undefined {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number') {
    // 2^63 is the first number that does not fit, and the largest double below it does.
    return value > -(2 ** 63) && value < 2 ** 63 ? BigInt(Math.trunc(value)) : outOfRange;
  }
  if (typeof value !== 'string') return undefined;
  if (!whole.test(value)) return noNumber;
  const number = BigInt(value.replace(/^\+/, ''));
  return BigInt.asIntN(64, number) === number ? number : outOfRange;
}

export function toDouble(value: Value): Value | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'string') return undefined;
  return value.length <= numberCharsMax && decimal.test(value) ? Number(value) : noNumber;
}

export function toText(value: Value): Value | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'bigint' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : undefined;
}
