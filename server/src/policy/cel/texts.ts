import { Failure, isList, isMap, type Value } from './values.ts';

const outOfRange = new Failure('the position lies outside of the text');

/** The number of code points of a text, or of entries. */
export function size(value: Value): bigint | undefined {
  if (typeof value === 'string') return BigInt(countCodePoints(value));
  if (isList(value)) return BigInt(value.length);
  return isMap(value) ? BigInt(Object.keys(value).length) : undefined;
}

function countCodePoints(text: string): number {
  let count = text.length;
  for (let index = 1; index < text.length; index += 1)
    if (isLow(text.charCodeAt(index)) && isHigh(text.charCodeAt(index - 1))) count -= 1;
  return count;
}

function isHigh(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

function isLow(unit: number): boolean {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

/** The letters of ASCII alone: the other case of another letter can have another length. */
export function lowerAscii(text: string): string {
  return otherCase(text, 0x41, 0x5a);
}

export function upperAscii(text: string): string {
  return otherCase(text, 0x61, 0x7a);
}

const caseBit = 0x20;

function otherCase(text: string, first: number, last: number): string {
  const bytes = Buffer.from(text, 'utf16le');
  for (let index = 0; index < bytes.length; index += 2) {
    const low = bytes[index] ?? 0;
    if (bytes[index + 1] === 0 && low >= first && low <= last) bytes[index] = low ^ caseBit;
  }
  return bytes.toString('utf16le');
}

/** A part by code points, from the first position to before the second. */
export function substring(text: string, from: bigint, to: bigint | null): string | Failure {
  const start = unitsOf(text, from);
  const end = to === null ? text.length : unitsOf(text, to);
  return start === undefined || end === undefined || start > end ? outOfRange : text.slice(start, end);
}

/** The UTF-16 units before a position in code points; undefined beyond the end. */
function unitsOf(text: string, position: bigint): number | undefined {
  if (position < 0n || position > BigInt(text.length)) return undefined;
  let units = 0;
  for (let left = Number(position); left > 0; left -= 1) {
    if (units >= text.length) return undefined;
    units += (text.codePointAt(units) ?? 0) > 0xffff ? 2 : 1;
  }
  return units;
}

/** Where a text occurs first, in code points; -1 where it does not. */
export function indexOf(text: string, sought: string): bigint {
  const index = text.indexOf(sought);
  return index <= 0 ? BigInt(index) : BigInt(countCodePoints(text.slice(0, index)));
}
