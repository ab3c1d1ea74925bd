import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { type MatchLogic, type ModelInfo, type ModelPrice, findProvider } from '@pydantic/genai-prices';
import { type NanoUsd, parseUsd } from '../../base/money.ts';
import { type Price, type TokenPrices, makePrice } from './price.ts';
import type { Sheet } from './sheets.ts';
import { complete, documentedTerms } from './vendor-rules.ts';

/**
 * Vendors whose public prices the library has, under its names; every other provider declares its own. Azure does: a
 * deployment's name is its owner's choice, and its price depends on its region and type.
 */
const pricedVendors = { anthropic: 'anthropic', openai: 'openai', gemini: 'google' };
type PricedVendor = keyof typeof pricedVendors;

export interface PublicModel {
  readonly sheets: readonly Sheet[];
  readonly contextTokens: number | null;
}

const classKeys = {
  input: 'input_mtok',
  output: 'output_mtok',
  cacheRead: 'cache_read_mtok',
  cacheWrite5m: 'cache_write_mtok',
  cacheWrite1h: 'cache_write_1h_mtok',
} as const satisfies Partial<Record<keyof TokenPrices, keyof ModelPrice>>;

// Fees of server tools stand beside the token prices. A model with any other key (audio, images, hours) is billed by
// something that usage does not count, so the book does not pretend to know its price.
const searchKey = 'web_searches_kcount';
const countedKeys = new Set<string>([...Object.values(classKeys), searchKey, 'storage_searches_kcount']);

// Gemini takes sound and films at prices of their own, but no call that has any is bounded (llm/chat/facts.ts), so none is
// made where money is counted.
const besideKeys: Readonly<Record<PricedVendor, ReadonlySet<string>>> = {
  anthropic: new Set(),
  openai: new Set(),
  gemini: new Set(['input_audio_mtok', 'cache_audio_read_mtok', 'input_video_mtok']),
};

// Google sells other houses' models under another API than the one that is meant here.
const ownModels: Readonly<Record<PricedVendor, RegExp>> = { anthropic: /./, openai: /./, gemini: /^gem(?:ini|ma)-/ };

// Models that search in every call and bill each search: token prices are not their price.
const searches = /-search-(?:preview|api)/;

const library = '@pydantic/genai-prices';

/** The vendors' public prices, as the library carries them: by vendor, by every name that stands for one model alone. */
export function readPublicPrices(): ReadonlyMap<string, ReadonlyMap<string, PublicModel>> {
  const source = `genai-prices ${libraryVersion()}`;
  const vendors = Object.keys(pricedVendors) as PricedVendor[];
  return new Map(vendors.map((vendor) => [vendor, readVendor(vendor, source)]));
}

function readVendor(vendor: PricedVendor, source: string): Map<string, PublicModel> {
  const models = new Map<string, PublicModel>();
  for (const info of findProvider({ providerId: pricedVendors[vendor] })?.models ?? []) {
    const sheets = ownModels[vendor].test(info.id) ? readSheets(vendor, info, source) : null;
    if (sheets === null) continue;
    const model = { sheets, contextTokens: info.context_window ?? null };
    for (const name of [info.id, ...literalNames(info.match)]) if (!searches.test(name)) models.set(name, model);
  }
  return models;
}

function readSheets(vendor: PricedVendor, info: ModelInfo, source: string): Sheet[] | null {
  const sheets: Sheet[] = [];
  for (const { constraint, prices } of Array.isArray(info.prices) ? info.prices : [{ prices: info.prices }]) {
    if (constraint && constraint.type !== 'start_date') return null;
    const date = constraint?.start_date;
    const version = date === undefined ? source : `${source} of ${date}`;
    const price = readPrice(vendor, info.id, version, prices);
    if (price === null) return null;
    sheets.push({ from: date === undefined ? 0 : Date.parse(date), price });
  }
  return sheets;
}

function readPrice(vendor: PricedVendor, model: string, version: string, prices: ModelPrice): Price | null {
  if (!Object.keys(prices).every((key) => countedKeys.has(key) || besideKeys[vendor].has(key))) return null;
  const starts = new Set<number>();
  for (const value of Object.values(prices))
    if (typeof value === 'object') for (const { start } of value.tiers) starts.add(start);
  const base = readClasses(vendor, prices, 0);
  if (base === null) return null;
  const tiers = [...starts]
    .toSorted((a, b) => a - b)
    .map((start) => ({ aboveInputTokens: start, prices: readClasses(vendor, prices, start + 1) ?? base }));
  const rates = { base, tiers };
  const documented = documentedTerms(vendor, model, rates);
  const perThousand = prices[searchKey];
  const searchUsd = typeof perThousand === 'number' ? parseUsd(String(perThousand)) / 1_000n : documented.searchUsd;
  return makePrice(version, rates, { ...documented, searchUsd });
}

/** The prices of each class for a prompt of so many tokens; null without a price for input. */
function readClasses(vendor: string, prices: ModelPrice, prompt: number): TokenPrices | null {
  const read = (name: keyof typeof classKeys): NanoUsd | undefined => {
    const value = prices[classKeys[name]];
    if (value === undefined) return undefined;
    const usd =
      typeof value === 'number' ? value : (value.tiers.findLast(({ start }) => prompt > start)?.price ?? value.base);
    // The shortest decimal text of a float is what the vendor's sheet says; arithmetic on it is never done.
    return parseUsd(String(usd));
  };
  const input = read('input');
  if (input === undefined) return null;
  return complete(vendor, {
    input,
    output: read('output') ?? input,
    cacheRead: read('cacheRead'),
    cacheWrite5m: read('cacheWrite5m'),
    cacheWrite1h: read('cacheWrite1h'),
  });
}

function literalNames(match: MatchLogic): string[] {
  if ('or' in match) return match.or.flatMap(literalNames);
  if ('equals' in match) return [match.equals];
  if ('starts_with' in match) return [match.starts_with];
  return [];
}

function libraryVersion(): string {
  const entry = createRequire(import.meta.url).resolve(library);
  const manifest = JSON.parse(readFileSync(new URL('../package.json', pathToFileURL(entry)), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
