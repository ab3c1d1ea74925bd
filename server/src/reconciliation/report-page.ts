import { z } from 'zod';
import { invalid } from '../identity/input.ts';
import { dayOf } from './calendar-day.ts';

/** What is known of a page before it is read. */
export interface PageContext {
  /** What the page is called in refusals: a file, or the path that was fetched. */
  readonly at: string;
  /** Whose bill it is. */
  readonly provider: string;
  /** Only lines of this workspace or project of the vendor's count; null is all. */
  readonly account: string | null;
  /** Known to be a report of costs, also where nothing was billed. */
  readonly costs: boolean;
  /** Whether lines of the day count. */
  readonly wanted: (day: string) => boolean;
  /** Is told each line's kind and bucket. */
  readonly seen: (kind: string, bucket: Bucket) => void;
}

/** A span of time of a report; epoch milliseconds. */
export interface Bucket {
  readonly at: string;
  readonly start: number;
  readonly end: number;
}

/** A count in a document whose numbers are texts. */
export const digits = z.string().regex(/^\d{1,15}$/);

/** A page of time buckets, as both vendors have them. */
export function pageSchema<T extends z.ZodType>(bucket: T) {
  const schema = z.object({ data: z.array(bucket), has_more: z.boolean(), next_page: z.string().nullish() });
  return (at: string, page: unknown): { readonly data: z.output<T>[]; readonly next: string | null } => {
    const { data, has_more: more, next_page: next } = once(schema, at, page);
    if (!more) return { data, next: null };
    if (!next) throw refuse(at, 'says that more pages follow, and does not name the next');
    return { data, next };
  };
}

/** @throws PortcullisError invalid_argument naming the path of what does not fit */
export function once<T extends z.ZodType>(schema: T, at: string, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = (issue?.path ?? [])
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('');
  throw refuse(`${at}${path}`, `is not as the vendor documents it (${issue?.message ?? 'unreadable'})`);
}

/** The day (UTC) that a bucket lies in. @throws PortcullisError invalid_argument when it lies in none, or in two */
export function dayOfBucket({ at, start, end }: Bucket): string {
  if (!(start >= Date.UTC(2020, 0)) || !(end > start) || end > Date.UTC(2100, 0)) {
    throw refuse(at, 'has no span of time that a bill can be of');
  }
  const day = dayOf(start);
  if (dayOf(end - 1) !== day) throw refuse(at, 'spans more than one day (UTC): ask for buckets of one day');
  return day;
}

/** Finds the same bucket told by two pages: given twice, a page would be counted twice. */
export class SeenBuckets {
  readonly #pages = new Map<string, object>();

  /** @param page stands for the page that the line is on */
  see(page: object, kind: string, { at, start }: Bucket): void {
    const key = `${kind} ${start}`;
    const before = this.#pages.get(key);
    if (before === undefined) this.#pages.set(key, page);
    else if (before !== page)
      throw refuse(at, `tells the ${kind} of ${dayOf(start)} a second time: was a page given twice?`);
  }
}

export function refuse(at: string, why: string) {
  return invalid(at, `${at} ${why}.`);
}
