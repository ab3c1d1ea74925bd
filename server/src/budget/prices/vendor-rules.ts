import { type NanoUsd, nanoPerUsd, parseUsd } from '../../base/money.ts';
import { nameSet } from '../../llm/body-fields.ts';
import { type Price, type Rates, type TokenPrices, scaled } from './price.ts';

/** What a price sheet says of the classes; what it leaves out follows from the vendor's rules. */
export type KnownClasses = { readonly [Name in keyof TokenPrices]?: NanoUsd | undefined } & {
  readonly input: NanoUsd;
  readonly output: NanoUsd;
};

/**
 * Every class: Anthropic bills cache writes at 1.25 (five minutes) and 2 times (one hour) the input, and OpenAI a write for
 * twelve hours, where it bills writes at all, at twice the usual one. Elsewhere a cached token costs an input token at most.
 */
export function complete(vendor: string, known: KnownClasses): TokenPrices {
  const { input, output } = known;
  const anthropic = vendor === 'anthropic';
  const cacheWrite5m = known.cacheWrite5m ?? (anthropic ? (input * 5n + 3n) / 4n : input);
  const long = vendor === 'openai' && known.cacheWrite5m !== undefined ? cacheWrite5m * 2n : cacheWrite5m;
  return {
    input,
    output,
    reasoning: known.reasoning ?? output,
    cacheRead: known.cacheRead ?? input,
    cacheWrite5m,
    cacheWrite1h: known.cacheWrite1h ?? (anthropic ? input * 2n : long),
  };
}

const tenthMore: bigint = (nanoPerUsd * 11n) / 10n;

/** Anthropic: $10 for 1,000 searches, whichever the model (platform.claude.com/docs, "Pricing", web search). */
const anthropicSearchUsd: NanoUsd = 10_000_000n;

/** Anthropic's fast mode multiplies all prices of a model (platform.claude.com/docs, "Fast mode"). */
const fastTimes: ReadonlyMap<string, string> = new Map([
  ['claude-opus-4-6', '6'],
  ['claude-opus-4-7', '6'],
  ['claude-opus-4-8', '2'],
  ['claude-opus-5', '2'],
  ['claude-opus-5-5', '2'],
]);

/** OpenAI's priority tier (openai.com/api-priority-processing); models whose sheet is rounded otherwise are left out. */
const priorityTimes: ReadonlyMap<string, string> = new Map([
  ['gpt-4.1', '1.75'],
  ['gpt-4.1-mini', '1.75'],
  ['gpt-5', '2'],
  ['gpt-5-mini', '1.8'],
  ['gpt-5.1', '2'],
  ['gpt-5.2', '2'],
  ['gpt-5.4', '2'],
  ['gpt-5.4-mini', '2'],
  ['gpt-5.5', '2.5'],
]);

/** OpenAI's flex tier is half the price (developers.openai.com, "Pricing"), but for what is rounded there. */
const flexRounded = new Set(['gpt-5.4', 'o4-mini']);

/**
 * OpenAI's endpoints of regions cost a tenth more for models from 5 March 2026 on (developers.openai.com, "Data residency"):
 * for all but these, which are older.
 */
const beforeRegions = nameSet(`
  chatgpt-4o codex-mini gpt-3.5-turbo gpt-4 gpt-4-turbo gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4o gpt-4o-mini
  gpt-5 gpt-5-codex gpt-5-mini gpt-5-nano gpt-5-pro gpt-5.1 gpt-5.1-codex gpt-5.1-codex-mini gpt-5.2 gpt-5.2-codex
  gpt-5.2-pro gpt-5.3 gpt-5.3-codex o1 o1-mini o1-preview o1-pro o3 o3-deep-research o3-mini o3-pro o4-mini
  o4-mini-deep-research text-embedding-3-large text-embedding-3-small text-embedding-ada-002
`);

/** A model's name without its date. Google's `gemini-pro-latest` is whatever is newest, not what was called `gemini-pro`. */
export function undated(vendor: string, model: string): string {
  if (vendor !== 'anthropic' && vendor !== 'openai') return model;
  return model.replace(/(?:[-@]\d{8}|-\d{4}-\d{2}-\d{2}|-latest)$/, '');
}

/** What the vendor documents of `model` beside its price sheet: other terms, and fees. */
export function documentedTerms(
  vendor: string,
  model: string,
  rates: Rates,
): Pick<Price, 'services' | 'factors' | 'regional' | 'searchUsd'> {
  const services = new Map<string, Rates>();
  const factors = new Map<string, bigint>();
  if (vendor === 'openai') {
    const priority = priorityTimes.get(model);
    if (priority !== undefined) services.set('priority', scaled(rates, parseUsd(priority)));
    if (!flexRounded.has(model)) services.set('flex', scaled(rates, nanoPerUsd / 2n));
  } else if (vendor === 'anthropic') {
    const fast = fastTimes.get(model);
    if (fast !== undefined) factors.set('fast', parseUsd(fast));
    // A model that cannot be held to a place refuses to be (platform.claude.com/docs, "Data residency").
    factors.set('us', tenthMore);
  }
  const isDearerInRegions = vendor === 'openai' && !beforeRegions.has(undated(vendor, model));
  return {
    services,
    factors,
    regional: isDearerInRegions ? tenthMore : nanoPerUsd,
    searchUsd: vendor === 'anthropic' ? anthropicSearchUsd : null,
  };
}
