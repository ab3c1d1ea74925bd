import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { type MatchLogic, type ModelInfo, type ModelPrice, findProvider } from '@pydantic/genai-prices';
import * as openaiModels from 'gpt-tokenizer/models';
import { type NanoUsd, formatUsd, parseUsd } from '../../base/money.ts';
import type { Price, TokenPrices } from '../model.ts';

/**
 * Vendors whose public prices the book has, under the library's names; every other provider declares its own. Azure does:
 * a deployment's name is its owner's choice, and its price depends on its region and type.
 */
const pricedVendors = { anthropic: 'anthropic', openai: 'openai', gemini: 'google' };
type PricedVendor = keyof typeof pricedVendors;

/** A price from the configuration: free, or nano-USD per million tokens by class. */
export type DeclaredPrice =
  | 'free'
  | {
      readonly input: NanoUsd;
      readonly output: NanoUsd;
      readonly cache_read?: NanoUsd | undefined;
      readonly cache_write_5m?: NanoUsd | undefined;
      readonly cache_write_1h?: NanoUsd | undefined;
    };

/** One dated price sheet of a model; it applies from `from` (epoch milliseconds) until the next one. */
interface Sheet {
  readonly from: number;
  readonly price: Price;
}

interface BookModel {
  readonly sheets: readonly Sheet[];
  readonly contextTokens: number | null;
}

type TokenClass = keyof TokenPrices;

const classKeys: Readonly<Record<TokenClass, string>> = {
  input: 'input_mtok',
  output: 'output_mtok',
  cacheRead: 'cache_read_mtok',
  cacheWrite5m: 'cache_write_mtok',
  cacheWrite1h: 'cache_write_1h_mtok',
};

// Fees of server tools stand beside the token prices. A model with any other key (audio, images, hours) is billed by
// something that usage does not count, so the book does not pretend to know its price.
const countedKeys = new Set([...Object.values(classKeys), 'web_searches_kcount', 'storage_searches_kcount']);

// Gemini takes sound and films at prices of their own, but no call that has any is bounded (llm/chat/facts.ts), so none is
// made where money is counted.
const besideKeys: Readonly<Record<PricedVendor, ReadonlySet<string>>> = {
  anthropic: new Set(),
  openai: new Set(),
  gemini: new Set(['input_audio_mtok', 'cache_audio_read_mtok', 'input_video_mtok']),
};

// Models that search in every call and bill each search: token prices are not their price.
const searches = /-search-(?:preview|api)/;

const library = '@pydantic/genai-prices';
const bookVersion = `genai-prices ${libraryVersion()}`;

/** What a vendor says that a model can take and give, in tokens; null where it is unknown. */
export interface ModelLimits {
  /** Prompt and answer together. */
  readonly contextTokens: number | null;
  /** The answer, when the caller sets no limit. */
  readonly maxOutputTokens: number | null;
  /** One image, whatever its size. */
  readonly imageTokens: number;
}

/**
 * Vendors scale images down to a maximum of tokens. Anthropic: 4,784 (92 by 52 patches of the largest native size).
 * OpenAI: 2,833 and 8 tiles of 5,667 for gpt-4o-mini; elsewhere 10,000 patches at the highest factor, 2.46. Servers that
 * speak as OpenAI does are taken for the dearest of these.
 */
function imageTokensOf(vendor: string, model: string): number {
  if (vendor === 'anthropic') return 4_784;
  return vendor === 'openai' && !model.startsWith('gpt-4o-mini') ? 24_600 : 48_169;
}

/** The simulated model's longest answer, when it is not an echo. */
const simOutputTokens = 100_000;

/**
 * The vendors' public prices and limits, as the libraries carry them. Names match exactly, or exactly without their date
 * (`-20250929`, `-2025-08-07`, `@20250929`) or `-latest`: a prefix never prices a newer model by an older one.
 */
export class PriceBook {
  readonly #models: ReadonlyMap<string, ReadonlyMap<string, BookModel>> = new Map(
    (Object.keys(pricedVendors) as PricedVendor[]).map((vendor) => [vendor, readBook(vendor)]),
  );

  /** The price of a vendor's model at a time (epoch milliseconds); null when it is unknown, which is never free. */
  price(vendor: string, model: string, atMs: number): Price | null {
    return this.#find(vendor, model)?.sheets.findLast((sheet) => sheet.from <= atMs)?.price ?? null;
  }

  limits(vendor: string, model: string): ModelLimits {
    const openai =
      vendor === 'openai' ? (openaiLimits.get(model) ?? openaiLimits.get(undated(vendor, model))) : undefined;
    // Where two sources disagree, an upper bound believes the larger.
    const contextTokens = Math.max(this.#find(vendor, model)?.contextTokens ?? 0, openai?.contextTokens ?? 0) || null;
    const maxOutputTokens = openai?.maxOutputTokens ?? (vendor === 'sim' ? simOutputTokens : contextTokens);
    return { contextTokens, maxOutputTokens, imageTokens: imageTokensOf(vendor, model) };
  }

  #find(vendor: string, model: string): BookModel | undefined {
    const models = this.#models.get(vendor);
    return models?.get(model) ?? models?.get(undated(vendor, model));
  }
}

/**
 * A price from the configuration. Classes that it leaves out take what the vendor's rule makes of its input price:
 * Anthropic bills cache writes at 1.25 (five minutes) and 2 times (one hour) the input; elsewhere a cached token costs
 * an input token at most.
 */
export function declaredPrice(vendor: string, declared: DeclaredPrice): Price {
  if (declared === 'free') {
    const nothing = { input: 0n, output: 0n, cacheRead: 0n, cacheWrite5m: 0n, cacheWrite1h: 0n };
    return { version: 'free', base: nothing, tiers: [] };
  }
  const prices = complete(vendor, {
    input: declared.input,
    output: declared.output,
    cacheRead: declared.cache_read,
    cacheWrite5m: declared.cache_write_5m,
    cacheWrite1h: declared.cache_write_1h,
  });
  const { input, output, cacheRead, cacheWrite5m, cacheWrite1h } = prices;
  const text = [input, output, cacheRead, cacheWrite5m, cacheWrite1h].map(formatUsd).join(' ');
  return { version: `declared ${text}`, base: prices, tiers: [] };
}

/** Google's `gemini-pro-latest` is whatever model is the newest, not one that was called `gemini-pro`. */
function undated(vendor: string, model: string): string {
  if (vendor === 'gemini') return model;
  return model.replace(/(?:[-@]\d{8}|-\d{4}-\d{2}-\d{2}|-latest)$/, '');
}

const openaiLimits = new Map(
  Object.entries(openaiModels).map(([name, model]) => [
    name,
    {
      contextTokens: 'context_window' in model ? model.context_window : null,
      maxOutputTokens: 'max_output_tokens' in model ? model.max_output_tokens : null,
    },
  ]),
);

function readBook(vendor: PricedVendor): Map<string, BookModel> {
  const models = new Map<string, BookModel>();
  for (const info of findProvider({ providerId: pricedVendors[vendor] })?.models ?? []) {
    const sheets = readSheets(vendor, info);
    if (sheets === null) continue;
    const model = { sheets, contextTokens: info.context_window ?? null };
    for (const name of [info.id, ...literalNames(info.match)]) if (!searches.test(name)) models.set(name, model);
  }
  return models;
}

function readSheets(vendor: PricedVendor, info: ModelInfo): Sheet[] | null {
  const sheets: Sheet[] = [];
  for (const { constraint, prices } of Array.isArray(info.prices) ? info.prices : [{ prices: info.prices }]) {
    if (constraint && constraint.type !== 'start_date') return null;
    const date = constraint?.start_date;
    const version = date === undefined ? bookVersion : `${bookVersion} of ${date}`;
    const price = readPrice(vendor, version, prices);
    if (price === null) return null;
    sheets.push({ from: date === undefined ? 0 : Date.parse(date), price });
  }
  return sheets;
}

function readPrice(vendor: PricedVendor, version: string, prices: ModelPrice): Price | null {
  if (!Object.keys(prices).every((key) => countedKeys.has(key) || besideKeys[vendor].has(key))) return null;
  const starts = new Set<number>();
  for (const value of Object.values(prices))
    if (typeof value === 'object') for (const { start } of value.tiers) starts.add(start);
  const base = readClasses(vendor, prices, 0);
  if (base === null) return null;
  const tiers = [...starts]
    .toSorted((a, b) => a - b)
    .map((start) => {
      const above = readClasses(vendor, prices, start + 1) ?? base;
      return { aboveInputTokens: start, prices: above };
    });
  return { version, base, tiers };
}

/** The prices of each class for a prompt of so many tokens; null without a price for input. */
function readClasses(vendor: string, prices: ModelPrice, prompt: number): TokenPrices | null {
  const read = (tokenClass: TokenClass): NanoUsd | undefined => {
    const value = prices[classKeys[tokenClass]];
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

function complete(
  vendor: string,
  known: {
    readonly input: NanoUsd;
    readonly output: NanoUsd;
    readonly cacheRead: NanoUsd | undefined;
    readonly cacheWrite5m: NanoUsd | undefined;
    readonly cacheWrite1h: NanoUsd | undefined;
  },
): TokenPrices {
  const { input, output } = known;
  const anthropic = vendor === 'anthropic';
  const cacheWrite5m = known.cacheWrite5m ?? (anthropic ? (input * 5n + 3n) / 4n : input);
  return {
    input,
    output,
    cacheRead: known.cacheRead ?? input,
    cacheWrite5m,
    cacheWrite1h: known.cacheWrite1h ?? (anthropic ? input * 2n : cacheWrite5m),
  };
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
