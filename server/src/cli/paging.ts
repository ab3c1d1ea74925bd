import { pageSizeMax } from '../base/limits.ts';

interface PageRequest {
  readonly pageSize: number;
  readonly pageToken: string;
}

interface PageAnswer {
  readonly nextPageToken: string;
}

/** Reads pages until there are `limit` items or no more. The answer is that of the last page, with all the items. */
export async function readPages<A extends PageAnswer, T>(
  limit: number,
  read: (page: PageRequest) => Promise<A>,
  itemsOf: (answer: A) => T[],
): Promise<A> {
  const first = await read({ pageSize: Math.min(limit, pageSizeMax), pageToken: '' });
  const items = itemsOf(first);
  let answer = first;
  while (answer.nextPageToken !== '' && items.length < limit) {
    answer = await read({ pageSize: Math.min(limit - items.length, pageSizeMax), pageToken: answer.nextPageToken });
    items.push(...itemsOf(answer));
  }
  return { ...first, nextPageToken: answer.nextPageToken };
}

/** The first listed item that `wanted` accepts. */
export async function findListed<A extends PageAnswer, T>(
  read: (page: PageRequest) => Promise<A>,
  itemsOf: (answer: A) => T[],
  wanted: (item: T) => boolean,
): Promise<T | undefined> {
  for (let pageToken = ''; ;) {
    const answer = await read({ pageSize: pageSizeMax, pageToken });
    const found = itemsOf(answer).find(wanted);
    if (found !== undefined || answer.nextPageToken === '') return found;
    pageToken = answer.nextPageToken;
  }
}
