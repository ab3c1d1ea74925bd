import { timeOf } from './time.ts';
import { Failure, Time, type Value } from './values.ts';

const overflow = new Failure('the result lies outside of what 64 bits, or a timestamp, can hold');
const byZero = new Failure('division by zero');

/** CEL's operators: `undefined` where the types have none. Whole numbers have 64 bits and fail beyond them. */
export function add(left: Value, right: Value): Value | undefined {
  if (typeof left === 'bigint' && typeof right === 'bigint') return within64(left + right);
  if (typeof left === 'number' && typeof right === 'number') return left + right;
  if (typeof left === 'string' && typeof right === 'string') return left + right;
  if (!(left instanceof Time && right instanceof Time)) return undefined;
  if (left.kind === 'timestamp' && right.kind === 'timestamp') return undefined;
  const kind = left.kind === 'timestamp' || right.kind === 'timestamp' ? 'timestamp' : 'duration';
  return timeOf(kind, left.ns + right.ns) ?? overflow;
}

export function subtract(left: Value, right: Value): Value | undefined {
  if (typeof left === 'bigint' && typeof right === 'bigint') return within64(left - right);
  if (typeof left === 'number' && typeof right === 'number') return left - right;
  if (!(left instanceof Time && right instanceof Time)) return undefined;
  if (left.kind === 'duration' && right.kind === 'timestamp') return undefined;
  return timeOf(left.kind === right.kind ? 'duration' : 'timestamp', left.ns - right.ns) ?? overflow;
}

export function multiply(left: Value, right: Value): Value | undefined {
  if (typeof left === 'bigint' && typeof right === 'bigint') return within64(left * right);
  return typeof left === 'number' && typeof right === 'number' ? left * right : undefined;
}

export function divide(left: Value, right: Value): Value | undefined {
  if (typeof left === 'bigint' && typeof right === 'bigint') return right === 0n ? byZero : within64(left / right);
  return typeof left === 'number' && typeof right === 'number' ? left / right : undefined;
}

export function remainder(left: Value, right: Value): Value | undefined {
  if (typeof left !== 'bigint' || typeof right !== 'bigint') return undefined;
  return right === 0n ? byZero : left % right;
}

export function negate(value: Value): Value | undefined {
  if (typeof value === 'bigint') return within64(-value);
  return typeof value === 'number' ? -value : undefined;
}

function within64(value: bigint): Value {
  return BigInt.asIntN(64, value) === value ? value : overflow;
}
