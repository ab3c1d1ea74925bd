import { filledAnswerBytesMax } from '../base/limits.ts';
import type { Page } from '../identity/page.ts';
import { behindKind, type ExportKind, type ExportPlace } from './model.ts';

/** A record, and where its kind goes on behind it. */
export interface Told<R> {
  readonly record: R;
  readonly cursor: string;
  /** What it may come to in a message. */
  readonly bytes: number;
}

/** Reads what a kind has behind `cursor` (null: from its begin), newest first. */
export type ReadKind<R> = (cursor: string | null) => Promise<Page<Told<R>>>;

/** What fits in a message, and where to go on behind it. */
export interface ExportPart<R> {
  readonly records: readonly R[];
  readonly place: ExportPlace;
}

/**
 * Walks over all kinds from `place` on, a page at a time: the next one is read when the last part of it was taken. Keys
 * never change and go down, so that a walk that goes on at any of its places tells what the whole one would.
 */
export async function* walk<R>(
  place: ExportPlace,
  readerOf: (kind: ExportKind) => ReadKind<R>,
): AsyncGenerator<ExportPart<R>> {
  for (let at = place; at.kind !== null;) {
    const { kind } = at;
    const { items, nextCursor } = await readerOf(kind)(at.cursor);
    for (const part of messagesOf(items)) {
      const counts = { ...at.counts, [kind]: (at.counts[kind] ?? 0) + part.length };
      at = { ...at, counts, cursor: part.at(-1)?.cursor ?? null };
      const isLast = part.at(-1) === items.at(-1);
      const next = isLast && nextCursor === null ? behindKind(at) : at;
      yield { records: part.map(({ record }) => record), place: next };
    }
    at = nextCursor === null ? behindKind(at) : { ...at, cursor: nextCursor };
  }
}

/** Cuts a page so that each part fits in a message. */
function* messagesOf<R>(items: readonly Told<R>[]): Generator<readonly Told<R>[]> {
  let part: Told<R>[] = [];
  let bytes = 0;
  for (const item of items) {
    if (part.length > 0 && bytes + item.bytes > filledAnswerBytesMax) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(item);
    bytes += item.bytes;
  }
  if (part.length > 0) yield part;
}
