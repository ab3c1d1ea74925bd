import { PortcullisError } from '../base/errors.ts';
import { pageSizeDefault, pageSizeMax } from '../base/limits.ts';

/** What a caller asks of a list: how many, and below which id (null: from the newest). */
export interface PageRequest {
  /** 0 is the default size. */
  readonly pageSize: number;
  readonly cursor: string | null;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Where the next page begins; null when this was the last. */
  readonly nextCursor: string | null;
}

/**
 * Reads one page, newest first. One row more than asked for tells whether there is a next page.
 * @throws PortcullisError invalid_argument for a page size out of bounds
 */
export async function readPage<T extends { readonly id: string }>(
  { pageSize, cursor }: PageRequest,
  select: (beforeId: string | null, limit: number) => Promise<readonly T[]>,
): Promise<Page<T>> {
  if (!Number.isInteger(pageSize) || pageSize < 0 || pageSize > pageSizeMax) {
    throw new PortcullisError('invalid_argument', `page_size must be a whole number from 0 to ${pageSizeMax}.`, {
      param: 'page_size',
    });
  }
  const size = pageSize === 0 ? pageSizeDefault : pageSize;
  const rows = await select(cursor, size + 1);
  const items = rows.slice(0, size);
  return { items, nextCursor: rows.length > size ? (items.at(-1)?.id ?? null) : null };
}
