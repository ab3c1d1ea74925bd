import { escapedByteMax, filledAnswerBytesMax } from '../base/limits.ts';
import { type Page, type PageRequest, readPage } from '../identity/page.ts';

/** Rows of a list that has no more of them than an answer has room for. */
export interface SizedRows<T> {
  readonly items: readonly T[];
  /** How many there are with those that were left out for their size. */
  readonly found: number;
}

// A row without its texts, as JSON.
const rowBytes = 1_000;

/**
 * The rows of `list` down to where the answer is full, but at least one: a page of long texts must not become one that
 * cannot be sent. Texts are measured without being read.
 * @param list a statement with LIMIT whose rows have an `id`, newest first
 * @param texts SQL: its texts that can be long
 */
export function withinAnswer(list: string, texts: readonly string[]): string {
  const size = `${rowBytes} + ${escapedByteMax} * (${texts.map((text) => `octet_length(${text})`).join(' + ')})`;
  return `SELECT * FROM (
      SELECT list.*, count(*) OVER () AS found,
        row_number() OVER newest AS place, sum(${size}) OVER newest AS bytes
      FROM (${list}) AS list WINDOW newest AS (ORDER BY id DESC ROWS UNBOUNDED PRECEDING)
    ) AS sized WHERE bytes <= ${filledAnswerBytesMax} OR place = 1 ORDER BY id DESC`;
}

/** Reads one page, newest first: as many as were asked for, or fewer where they are large. @throws PortcullisError invalid_argument */
export async function readSizedPage<T extends { readonly id: string }>(
  request: PageRequest,
  select: (beforeId: string | null, limit: number) => Promise<SizedRows<T>>,
): Promise<Page<T>> {
  let isCut = false;
  const page = await readPage(request, async (beforeId, limit) => {
    const { items, found } = await select(beforeId, limit);
    isCut = items.length < found;
    return items;
  });
  return isCut ? { ...page, nextCursor: page.items.at(-1)?.id ?? null } : page;
}
