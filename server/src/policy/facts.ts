import {
  argumentDepthMax,
  argumentEntriesMax,
  argumentKeyBytesMax,
  argumentTextBytesMax,
  argumentsSizeMax,
  argumentValueSize,
} from '../base/limits.ts';

/** What rules judge. */
export const actions = ['models.invoke', 'runs.start'] as const;
export type Action = (typeof actions)[number];

export type Argument = null | boolean | number | string | readonly Argument[] | Arguments;
export interface Arguments {
  readonly [name: string]: Argument;
}

/**
 * All that a condition can see of a call, and nothing else: what is recorded of a call is this, so that a simulation judges what was
 * judged. Plain JSON: `JSON.parse(JSON.stringify(facts))` is judged alike (kept as text: jsonb would reorder the members).
 */
export interface Facts {
  readonly action: Action;
  readonly principal: {
    readonly kind: string;
    readonly id: string;
    readonly name: string;
    /** Ids; null where the caller is, or has, none. */
    readonly agent: string | null;
    readonly person: string | null;
    readonly key: string | null;
    readonly teams: readonly string[];
    readonly scopes: readonly string[];
  };
  readonly resource: {
    readonly type: string;
    /** The model as it was asked for, or the workflow of a run. */
    readonly name: string;
    readonly provider: string;
    readonly route: string;
  };
  /** Made by {@link boundArgs}: the caller chose every byte of it. */
  readonly args: Arguments;
  readonly run: { readonly id: string; readonly workflow: string } | null;
  /** Epoch milliseconds. */
  readonly time: number;
}

/**
 * A copy of what a caller sent, cut to what conditions may cost: entries, depth, bytes of a text and of all together. Whether anything
 * was cut is also the member `truncated`, whatever the caller sent under that name. Never throws; anything but an object gives none.
 */
export function boundArgs(value: unknown): { readonly args: Arguments; readonly truncated: boolean } {
  const cut: Cut = { left: argumentsSizeMax, truncated: false };
  const args = isRecord(value) ? copyRecord(value, 1, cut, argumentEntriesMax - 1) : dropped(cut, {});
  const { truncated } = cut;
  return { args: { ...args, truncated }, truncated };
}

/** What may still be copied, and whether something was not. */
interface Cut {
  left: number;
  truncated: boolean;
}

function dropped<T>(cut: Cut, rest: T): T {
  cut.truncated = true;
  return rest;
}

function copy(value: unknown, depth: number, cut: Cut): Argument {
  if (typeof value === 'string') return copyText(value, argumentTextBytesMax, cut);
  if (typeof value === 'number') return copyNumber(value, cut);
  if (typeof value === 'boolean' || value === null) return value;
  if (Array.isArray(value)) return depth > argumentDepthMax ? dropped(cut, []) : copyList(value, depth, cut);
  if (isRecord(value))
    return depth > argumentDepthMax ? dropped(cut, {}) : copyRecord(value, depth, cut, argumentEntriesMax);
  return dropped(cut, null);
}

function copyList(list: readonly unknown[], depth: number, cut: Cut): readonly Argument[] {
  const copied: Argument[] = [];
  for (const element of list) {
    if (copied.length === argumentEntriesMax || !take(cut, argumentValueSize)) return dropped(cut, copied);
    copied.push(copy(element, depth + 1, cut));
  }
  return copied;
}

function copyRecord(record: Readonly<Record<string, unknown>>, depth: number, cut: Cut, entriesMax: number): Arguments {
  const copied: [string, Argument][] = [];
  for (const name in record) {
    if (!Object.hasOwn(record, name)) continue;
    if (copied.length === entriesMax || !take(cut, argumentValueSize)) {
      cut.truncated = true;
      break;
    }
    // A name that is cut would be another name: the member is left out.
    if (name.length > argumentKeyBytesMax || !name.isWellFormed() || !take(cut, Buffer.byteLength(name))) {
      cut.truncated = true;
      continue;
    }
    copied.push([name, copy(record[name], depth + 1, cut)]);
  }
  // Not by assignment: a member `__proto__` is a member like any other.
  return Object.fromEntries(copied);
}

/** JSON has texts that are no Unicode, and no way to say `-0` or infinity that survives being written again. */
function copyText(text: string, bytesMax: number, cut: Cut): string {
  const room = Math.max(0, Math.min(bytesMax, cut.left));
  const kept = cutText(text, room);
  if (kept.length < text.length) cut.truncated = true;
  cut.left -= Buffer.byteLength(kept);
  return kept;
}

/** The longest beginning of whole code points that has at most so many bytes in UTF-8. */
function cutText(text: string, bytesMax: number): string {
  // A UTF-16 unit takes a byte at least: what lies beyond need not be looked at.
  const bytes = Buffer.from(text.slice(0, bytesMax + 1), 'utf8');
  if (bytes.length <= bytesMax && text.length <= bytesMax) return bytes.toString('utf8');
  let end = Math.min(bytesMax, bytes.length);
  // 10xxxxxx continues a code point (RFC 3629, section 3).
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}

function copyNumber(value: number, cut: Cut): number {
  if (Number.isFinite(value)) return value === 0 ? 0 : value;
  cut.truncated = true;
  return value < 0 ? -Number.MAX_VALUE : Number.MAX_VALUE;
}

function take(cut: Cut, size: number): boolean {
  if (cut.left < size) return false;
  cut.left -= size;
  return true;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
