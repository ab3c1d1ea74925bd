import { randomUUID } from 'node:crypto';
import { backslash, quote } from './json-text.ts';

/**
 * JSON without loss. A JSON number may hold more than a double does (a 64-bit identifier in tool arguments, say), and
 * JSON.parse would round it silently. Such numbers are kept as their source text by JSON.rawJSON
 * (TC39 "JSON.parse source text access"), so that JSON.stringify writes them back digit by digit.
 */

declare global {
  // What TypeScript's libraries do not declare yet.
  interface JSON {
    rawJSON(text: string): unknown;
    isRawJSON(value: unknown): boolean;
  }
}

// No number without one of these can be more than a double: 16 digits in a row, or an exponent of three digits.
const maybeInexact = /\d[\d.]{15}|[eE][+-]?\d{3}/;

/** Whole numbers (RFC 8259, section 6), but only those that may be inexact. */
const suspects = /(?=[-+.\deE]{16}|[-.\d]*[eE][+-]?\d{3})-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/**
 * Parses JSON text. A reviver would make the parsing of all of it thirty times slower for one inexact number, so these go
 * through JSON.parse as lists that hold their text, under a mark that no stranger can know.
 * @throws SyntaxError
 */
export function parseExactJson(text: string): unknown {
  if (!maybeInexact.test(text)) return JSON.parse(text);
  const mark = randomUUID();
  const marked = markInexact(text, mark);
  const value: unknown = JSON.parse(marked);
  return marked === text ? value : unmark(value, mark);
}

/** A list, since a string could stand where a number cannot: as a name. */
function markInexact(text: string, mark: string): string {
  const parts: string[] = [];
  let kept = 0;
  for (let at = 0; at < text.length;) {
    const end = stringStart(text, at);
    const between = text.slice(at, end);
    if (maybeInexact.test(between)) {
      const marked = between.replace(suspects, (number) => (isExact(number) ? number : `["${mark}${number}"]`));
      parts.push(text.slice(kept, at), marked);
      kept = end;
    }
    at = stringEnd(text, end);
  }
  return parts.join('') + text.slice(kept);
}

function stringStart(text: string, from: number): number {
  const at = text.indexOf('"', from);
  return at < 0 ? text.length : at;
}

/** Past the string that opens at `from`. */
function stringEnd(text: string, from: number): number {
  for (let i = from + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === backslash) i++;
    else if (code === quote) return i + 1;
  }
  return text.length;
}

function isExact(source: string): boolean {
  const value = Number(source);
  return String(value) === source || Number.isSafeInteger(value) || (Number.isFinite(value) && source.length < 17);
}

/** `value` with its marked numbers in place, changed as it stands. */
function unmark(value: unknown, mark: string): unknown {
  if (Array.isArray(value)) {
    const [first] = value as unknown[];
    if (typeof first === 'string' && first.startsWith(mark)) return JSON.rawJSON(first.slice(mark.length));
    for (let i = 0; i < value.length; i++) value[i] = unmark(value[i], mark);
  } else if (typeof value === 'object' && value !== null) {
    const object = value as Record<string, unknown>;
    for (const name in object) object[name] = unmark(object[name], mark);
  }
  return value;
}
