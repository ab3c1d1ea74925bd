import { type Dialect, dialects } from '../../server/src/llm/dialect.ts';

/** A caller's dialect, and that of the provider that answers. */
export interface Direction {
  readonly from: Dialect;
  readonly to: Dialect;
}

export const directions: readonly Direction[] = dialects.flatMap((from) =>
  dialects.filter((to) => to !== from).map((to) => ({ from, to })),
);

/** Members of a body, in the words of a vendor's reference. */
export type Members = Readonly<Record<string, unknown>>;

/** What becomes of a feature in one direction. */
export type Outcome =
  /** The other side says the same: read there, it is the same canonical content. */
  | { readonly kind: 'mapped'; readonly sent?: Members }
  /** The other side says it in other words, or says less of it; nothing is lost without this note. */
  | { readonly kind: 'adapted'; readonly how: string; readonly sent?: Members }
  /** Left out and listed in `portcullis-dropped`. `how` where a part of it was said. */
  | { readonly kind: 'hint'; readonly dropped: readonly string[]; readonly how?: string; readonly sent?: Members }
  /** `dropped`: what a route with `lossy: allow` drops and lists instead; null where it refuses too. */
  | { readonly kind: 'refused'; readonly message: string; readonly dropped: readonly string[] | null };

/** What is expected of one caller: the same of both providers, or by the provider's dialect. */
export type ByProvider = Outcome | Partial<Readonly<Record<Dialect, Outcome>>>;

/** Said for every caller alike, or by the caller's dialect. */
export type Expected = Outcome | Partial<Readonly<Record<Dialect, ByProvider>>>;

export const mapped: Outcome = { kind: 'mapped' };

export function adapted(how: string, sent?: Members): Outcome {
  return { kind: 'adapted', how, ...(sent && { sent }) };
}

export function hint(...dropped: readonly string[]): Outcome {
  return { kind: 'hint', dropped };
}

/** A part is listed as dropped; the rest is said otherwise. */
export function partly(dropped: readonly string[], how: string, sent?: Members): Outcome {
  return { kind: 'hint', dropped, how, ...(sent && { sent }) };
}

/** Refused by name, and dropped by a route with `lossy: allow`; `reason` goes between the name and the advice. */
export function refused(param: string, reason = 'has no counterpart in the dialect on the other side'): Outcome {
  return refusedWith([param], reason);
}

/** Of several fields the first is named; `lossy: allow` drops them all. */
export function refusedWith(
  [first = '', ...others]: readonly string[],
  reason = 'has no counterpart in the dialect on the other side',
): Outcome {
  const message = `"${first}" ${reason}: remove it, or set \`lossy: allow\` on the route to have it dropped.`;
  return { kind: 'refused', message, dropped: [first.replaceAll(/\[\d+\]/g, ''), ...others] };
}

/** Refused with this whole sentence, on every route. */
export function alwaysRefused(message: string): Outcome {
  return { kind: 'refused', message, dropped: null };
}

/** Null where nothing is expected: the caller's dialect cannot say it. */
export function outcomeFor(expected: Expected, { from, to }: Direction): Outcome | null {
  if ('kind' in expected) return expected;
  const ofCaller = expected[from];
  if (ofCaller === undefined || 'kind' in ofCaller) return ofCaller ?? null;
  return ofCaller[to] ?? null;
}
