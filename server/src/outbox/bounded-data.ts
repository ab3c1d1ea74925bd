import { eventBytesMax } from '../base/webhook-limits.ts';

// Texts that people wrote may be long: they are cut to the first of these that makes the whole fit.
const charsMax = [2_000, 500, 100, 20] as const;
const itemsMax = 50;

/**
 * The data of an event as JSON of at most `eventBytesMax` bytes. Data that is too large is told in part: long texts end in
 * an ellipsis, lists after some items.
 * @throws Error where it cannot be made to fit, which no data of the catalogue reaches
 */
export function boundedData(data: Readonly<Record<string, unknown>>): string {
  for (const chars of charsMax) {
    const json = JSON.stringify(data, (_name, value: unknown) => bounded(value, chars));
    if (Buffer.byteLength(json) <= eventBytesMax) return json;
  }
  throw new Error('The data of an event does not fit into a message, however its texts are cut.');
}

function bounded(value: unknown, chars: number): unknown {
  if (typeof value === 'string') return cut(value.toWellFormed(), chars);
  return Array.isArray(value) ? value.slice(0, itemsMax) : value;
}

function cut(text: string, chars: number): string {
  if (text.length <= chars) return text;
  // Not within a character of two units.
  return `${text.slice(0, chars - 1).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
