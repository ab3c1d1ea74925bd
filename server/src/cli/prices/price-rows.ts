import { formatUsd } from '../../base/money.ts';
import { type Price, type Rates, type TokenPrices, classNames, scaled } from '../../budget/prices/price.ts';

/** One line of a price: what each class costs on some terms, above some length of prompt. */
export interface PriceRow {
  /** Null: the list price. */
  readonly terms: string | null;
  readonly aboveInputTokens: number;
  readonly prices: TokenPrices;
}

/** All lines of a price: the list price first. */
export function priceRows(price: Price): PriceRow[] {
  const factors = [...price.factors].map(([name, times]) => [name, scaled(price, times)] as const);
  return [[null, price] as const, ...price.services, ...factors].flatMap(([terms, rates]) => lines(terms, rates));
}

function lines(terms: string | null, { base, tiers }: Rates): PriceRow[] {
  return [{ terms, aboveInputTokens: 0, prices: base }, ...tiers.map((tier) => ({ terms, ...tier }))];
}

/** A price for programs: USD as decimal text, for a million tokens, a search, an image. */
export function priceJson(price: Price): object {
  return {
    version: price.version,
    rates: priceRows(price).map(({ terms, aboveInputTokens, prices }) => ({
      terms,
      above_input_tokens: aboveInputTokens,
      usd_per_million_tokens: Object.fromEntries(classNames.map((name) => [jsonNames[name], usd(prices[name])])),
    })),
    multipliers: Object.fromEntries([...price.factors].map(([name, times]) => [name, usd(times)])),
    usd_per_search: price.searchUsd === null ? null : usd(price.searchUsd),
    usd_per_image: usd(price.imageUsd),
  };
}

const jsonNames: Readonly<Record<keyof TokenPrices, string>> = {
  input: 'input',
  output: 'output',
  reasoning: 'reasoning',
  cacheRead: 'cache_read',
  cacheWrite5m: 'cache_write_5m',
  cacheWrite1h: 'cache_write_1h',
};

function usd(amount: bigint): string {
  return formatUsd(amount).slice('$'.length);
}
