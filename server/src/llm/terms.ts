/** A condition of service that changes what tokens cost, by the field in which a request asks for it. */
export interface Term {
  readonly field: 'service_tier' | 'speed' | 'inference_geo';
  /** As the provider's answers name it; `listPrice` is the usual one, whatever the provider calls that. */
  readonly value: string;
}

export const listPrice = 'list price';

/** OpenAI's name of the usual tier, Google's, and the one for tokens that were paid in advance. */
const listTiers: ReadonlySet<string> = new Set(['default', 'standard', 'scale']);

/** What an answer says in a field of its own; null where that is no text. */
export function statedTerm(json: unknown): string | null {
  return typeof json === 'string' ? json : null;
}

/** On which terms an answer was served, to be spread into its usage: nothing where it does not say. */
export function servedOn(terms: readonly Term[]): { readonly terms?: readonly Term[] } {
  return terms.length === 0 ? {} : { terms };
}

/**
 * OpenAI's `service_tier`: absent and `auto` leave it to the account's settings, and say nothing. `fast` is an older name of
 * `priority`, and answers say `priority` for both.
 */
export function serviceTier(value: string | null): Term[] {
  if (value === null || value === 'auto') return [];
  const field = 'service_tier';
  if (listTiers.has(value)) return [{ field, value: listPrice }];
  return [{ field, value: value === 'fast' ? 'priority' : value }];
}

/** Anthropic's `speed`, and `inference_geo`, which older models answer with `not_available`. */
export function speedAndGeography(speed: string | null, geography: string | null): Term[] {
  const terms: Term[] = [];
  if (speed !== null) terms.push({ field: 'speed', value: speed === 'standard' ? listPrice : speed });
  if (geography !== null) {
    const isList = geography === 'global' || geography === 'not_available';
    terms.push({ field: 'inference_geo', value: isList ? listPrice : geography });
  }
  return terms;
}
