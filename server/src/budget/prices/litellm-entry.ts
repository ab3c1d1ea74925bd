import { priceMultiplierMax, usdPerMillionTokensMax, usdPerUseMax } from '../../base/limits.ts';
import type { NanoUsd } from '../../base/money.ts';
import { type NumberRange, exactNumber } from './exact-number.ts';
import { isBeside, isPriceKey, parseClassKey, regionalKey } from './litellm-keys.ts';
import { LiteLlmSheet } from './litellm-rates.ts';
import type { ModelLimits } from './model-limits.ts';
import { type Price, type Rates, makePrice } from './price.ts';
import { documentedTerms } from './vendor-rules.ts';

/** What an entry of the file comes to: a price, or why it has none. */
export type EntryPrice = { readonly price: Price } | { readonly why: string };

export type Entry = Readonly<Record<string, unknown>>;

const textModes: ReadonlySet<unknown> = new Set([undefined, 'chat', 'responses', 'completion', 'embedding']);

/** Nano-USD per million tokens are ten to the fifteenth times USD per token. */
const perToken: NumberRange = { digits: 15, max: usdPerMillionTokensMax / 1_000_000 };
const perUse: NumberRange = { digits: 9, max: usdPerUseMax };
const multiplier: NumberRange = { digits: 9, min: 1, max: priceMultiplierMax };

/**
 * The price of one entry in LiteLLM's format (`model_prices_and_context_window.json`). An entry that is billed by anything
 * that usage does not count has no price: it is unknown, never free.
 * @throws MalformedPrice naming the key
 */
export function readEntry(vendor: string, model: string, version: string, entry: Entry): EntryPrice {
  const { mode } = entry;
  if (!textModes.has(mode)) return { why: `mode ${JSON.stringify(mode)} is not billed by tokens of text` };
  const uncounted = Object.entries(entry).find(([key, value]) => !isCounted(key, value, entry));
  if (uncounted) return { why: `${uncounted[0]} is a price that usage does not count by` };
  const prices = new Map(
    Object.entries(entry).flatMap(([key, value]) =>
      parseClassKey(key) && !isBeside(key) ? [[key, perMillion(key, value)] as const] : [],
    ),
  );
  if (mode === 'embedding') copyInput(prices);
  const sheet = new LiteLlmSheet(vendor, prices);
  const rates = entry['tiered_pricing'] === undefined ? sheet.list() : readRanges(vendor, entry['tiered_pricing']);
  if (rates === null) return { why: 'it lacks input_cost_per_token or output_cost_per_token' };
  const price = makePrice(version, rates, readTerms(vendor, model, rates, sheet, entry));
  if ([price, ...price.services.values()].some((each) => costsNothing(each, mode !== 'embedding')))
    return { why: 'it says that input or output costs nothing: if that is so, declare its `price`' };
  return { price };
}

/** A zero is what is written where nobody looked the price up. Of output it is one where there is any: not of vectors. */
function costsNothing({ base, tiers }: Rates, hasOutput: boolean): boolean {
  const all = [base, ...tiers.map(({ prices }) => prices)];
  return all.some(({ input, output }) => input === 0n || (hasOutput && output === 0n));
}

/** Whether a member is no price, or one that is counted by, or one that makes no call dearer. */
function isCounted(key: string, value: unknown, entry: Entry): boolean {
  if (!isPriceKey(key) || isBeside(key) || regionalKey.test(key) || parseClassKey(key) !== null) return true;
  if (key === 'search_context_cost_per_query' || key === 'tiered_pricing' || key === 'input_cost_per_image')
    return true;
  // Images in tokens of the price of text are tokens; and a zero is how this format says that there is no such price.
  return value === 0 || (key === 'input_cost_per_image_token' && value === entry['input_cost_per_token']);
}

/** Of vectors nothing is generated, so that nobody states its price. */
function copyInput(prices: Map<string, NanoUsd>): void {
  const input = prices.get('input_cost_per_token');
  if (input !== undefined && !prices.has('output_cost_per_token')) prices.set('output_cost_per_token', input);
}

function readTerms(
  vendor: string,
  model: string,
  rates: Rates,
  sheet: LiteLlmSheet,
  entry: Entry,
): Omit<Price, keyof Rates | 'version'> {
  const documented = documentedTerms(vendor, model, rates);
  const services = new Map(documented.services);
  for (const name of sheet.services) {
    const own = sheet.service(name);
    if (own) services.set(name, own);
  }
  const specific = objectOf(entry['provider_specific_entry']);
  const factors = new Map(documented.factors);
  for (const name of ['fast', 'us']) {
    const times = specific[name];
    if (times !== undefined) factors.set(name, exactNumber(`provider_specific_entry.${name}`, times, multiplier));
  }
  return {
    services,
    factors,
    searchUsd: dearestSearch(entry['search_context_cost_per_query']) ?? documented.searchUsd,
    regional: dearestRegion(entry) ?? documented.regional,
    imageUsd: exactNumber('input_cost_per_image', entry['input_cost_per_image'] ?? 0, perUse),
  };
}

/** What endpoints of regions multiply prices by. Where regions differ, which they do at no vendor, it is the dearest. */
function dearestRegion(entry: Entry): bigint | null {
  const times = Object.entries(entry).flatMap(([key, value]) =>
    regionalKey.test(key) ? [exactNumber(key, value, multiplier)] : [],
  );
  return times.reduce<bigint | null>((most, each) => (most === null || each > most ? each : most), null);
}

/** Searches are priced by how much they bring back; answers do not say how much that was. */
function dearestSearch(sizes: unknown): NanoUsd | null {
  let dearest = 0n;
  for (const [size, value] of Object.entries(objectOf(sizes))) {
    const usd = exactNumber(`search_context_cost_per_query.${size}`, value, perUse);
    if (usd > dearest) dearest = usd;
  }
  return dearest === 0n ? null : dearest;
}

/** `tiered_pricing`: prices by ranges of the prompt's length; null where it is by anything else. */
function readRanges(vendor: string, list: unknown): Rates | null {
  if (!Array.isArray(list)) return null;
  const ranges = list.map(objectOf).map((entry) => ({
    start: Array.isArray(entry['range']) ? (entry['range'][0] as unknown) : null,
    rates: new LiteLlmSheet(vendor, rangePrices(entry)).list(),
  }));
  const tiers: { readonly aboveInputTokens: number; readonly prices: Rates['base'] }[] = [];
  for (const { start, rates } of ranges) {
    if (typeof start !== 'number' || !Number.isSafeInteger(start) || rates === null) return null;
    tiers.push({ aboveInputTokens: start, prices: rates.base });
  }
  const [first, ...rest] = tiers.toSorted((a, b) => a.aboveInputTokens - b.aboveInputTokens);
  return first?.aboveInputTokens === 0 ? { base: first.prices, tiers: rest } : null;
}

function rangePrices(entry: Entry): Map<string, NanoUsd> {
  return new Map(
    Object.entries(entry)
      .filter(([key]) => parseClassKey(key) !== null)
      .map(([key, value]) => [key, perMillion(`tiered_pricing.${key}`, value)]),
  );
}

function perMillion(key: string, value: unknown): NanoUsd {
  return exactNumber(key, value, perToken);
}

/** How much fits into the model, where the entry says so. What it calls input is the longest prompt. */
export function readLimits(entry: Entry): Pick<ModelLimits, 'contextTokens' | 'maxOutputTokens'> {
  const count = (key: string) => {
    const value = entry[key];
    return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : null;
  };
  const maxOutputTokens = count('max_output_tokens');
  const input = count('max_input_tokens');
  return { maxOutputTokens, contextTokens: input === null ? null : Math.max(input, maxOutputTokens ?? 0) };
}

export function objectOf(value: unknown): Entry {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Entry) : {};
}
