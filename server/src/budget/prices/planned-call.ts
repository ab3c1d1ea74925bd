import type { RequestFacts } from '../../llm/facts.ts';
import { type Term, listPrice } from '../../llm/terms.ts';
import type { Budget } from '../model.ts';
import type { ModelLimits } from './model-limits.ts';
import { type Price, neverDearer, ratesOn } from './price.ts';

/** A call whose cost is to be bounded. */
export interface PlannedCall {
  /** The kind of its provider: what that kind adds to a prompt is known. */
  readonly kind: string;
  readonly facts: RequestFacts;
  /** How the caller's dialect spells the output limit. */
  readonly outputLimitName: string;
  /** Null where nobody knows it: the call then counts in tokens and requests alone. */
  readonly price: Price | null;
  readonly limits: ModelLimits;
  /** What the provider's account is set to serve on, where a request does not say. */
  readonly standingTerms: readonly Term[];
  /** Those that count the call. */
  readonly budgets: readonly Pick<Budget, 'name' | 'unit'>[];
}

/** On which terms the call may be served, if not at the list price: what it asks for, else what the account is set to. */
export function termsOf({ facts, standingTerms }: PlannedCall): Term[] {
  const standing = standingTerms.filter(({ field }) => facts.terms.every((term) => term.field !== field));
  return [...facts.terms, ...standing].filter(({ value }) => value !== listPrice);
}

/** Those of the terms whose price is known. */
export function pricedTerms(price: Price, terms: readonly Term[]): Term[] {
  return terms.filter((term) => ratesOn(price, [term]) !== null);
}

/** A term that may make the call dearer by nobody knows how much. */
export function unpricedTerm(call: PlannedCall): Term | undefined {
  const { price } = call;
  if (price === null) return undefined;
  const terms = termsOf(call);
  const priced = pricedTerms(price, terms);
  const alone = terms.find((term) => !priced.includes(term) && !neverDearer.has(term.value));
  return alone ?? (ratesOn(price, priced) === null ? priced[0] : undefined);
}
