import { type NanoUsd, nanoPerUsd } from '../../base/money.ts';
import { type Term, listPrice } from '../../llm/terms.ts';

/**
 * What tokens cost, in nano-USD per **million**, so that vendors' fractions stay integers; a cost is rounded up to the next
 * nano-USD once, at the end.
 */
export interface TokenPrices {
  readonly input: NanoUsd;
  readonly output: NanoUsd;
  /** The part of the output that is reasoning: most providers bill it as any other. */
  readonly reasoning: NanoUsd;
  readonly cacheRead: NanoUsd;
  readonly cacheWrite5m: NanoUsd;
  readonly cacheWrite1h: NanoUsd;
}

/** Prices on one set of terms. */
export interface Rates {
  readonly base: TokenPrices;
  /** Length tiers, rising: a prompt (all input classes together) above the threshold takes these prices for the whole call. */
  readonly tiers: readonly { readonly aboveInputTokens: number; readonly prices: TokenPrices }[];
}

/** All that is known of what one model costs at one time. `base` and `tiers` are the list price. */
export interface Price extends Rates {
  /** Names the source and its date; stored with every attempt. */
  readonly version: string;
  /** Terms with prices of their own (service tiers, speeds), by the value that answers state. */
  readonly services: ReadonlyMap<string, Rates>;
  /** Terms that multiply all prices (where a model must run, how fast), in billionths. */
  readonly factors: ReadonlyMap<string, bigint>;
  /** What the vendor's endpoint of a region multiplies all prices by, in billionths. */
  readonly regional: bigint;
  /** One search of the provider's; null where nobody knows. */
  readonly searchUsd: NanoUsd | null;
  /** One image of the prompt, beside its tokens. */
  readonly imageUsd: NanoUsd;
}

export const classNames = [
  'input',
  'output',
  'reasoning',
  'cacheRead',
  'cacheWrite5m',
  'cacheWrite1h',
] as const satisfies (keyof TokenPrices)[];

/** A price with nothing but what is given. */
export function makePrice(version: string, { base, tiers }: Rates, rest: Partial<Price> = {}): Price {
  return {
    services: new Map(),
    factors: new Map(),
    regional: nanoPerUsd,
    searchUsd: null,
    imageUsd: 0n,
    ...rest,
    base,
    tiers,
    version,
  };
}

/** One price for every class, made by `of`. */
export function tokenPrices(of: (name: keyof TokenPrices) => NanoUsd): TokenPrices {
  return {
    input: of('input'),
    output: of('output'),
    reasoning: of('reasoning'),
    cacheRead: of('cacheRead'),
    cacheWrite5m: of('cacheWrite5m'),
    cacheWrite1h: of('cacheWrite1h'),
  };
}

/** The rates with every price multiplied by `factor` billionths, rounded up. */
export function scaled({ base, tiers }: Rates, factor: bigint): Rates {
  const times = (prices: TokenPrices) => tokenPrices((name) => (prices[name] * factor + nanoPerUsd - 1n) / nanoPerUsd);
  return { base: times(base), tiers: tiers.map((tier) => ({ ...tier, prices: times(tier.prices) })) };
}

/** The dearer of the two in every class. */
export function highestOf(one: TokenPrices, other: TokenPrices): TokenPrices {
  return tokenPrices((name) => (one[name] > other[name] ? one[name] : other[name]));
}

/** The rates on these terms; null where the price does not say what one of them costs. */
export function ratesOn(price: Price, terms: readonly Term[]): Rates | null {
  let rates: Rates = price;
  let factor = nanoPerUsd;
  for (const { value } of terms) {
    if (value === listPrice) continue;
    const service = price.services.get(value);
    const multiplier = price.factors.get(value);
    // No vendor documents what two services at once would cost.
    if (service && rates === price) rates = service;
    else if (multiplier !== undefined) factor = (factor * multiplier) / nanoPerUsd;
    else return null;
  }
  return factor === nanoPerUsd ? rates : scaled(rates, factor);
}

/** The price at the vendor's endpoint of a region. */
export function inRegion(price: Price): Price {
  const { regional, services, version } = price;
  if (regional === nanoPerUsd) return price;
  const there = new Map([...services].map(([name, rates]) => [name, scaled(rates, regional)]));
  return {
    ...price,
    ...scaled(price, regional),
    services: there,
    regional: nanoPerUsd,
    version: `${version}, regional`,
  };
}

/** Flex is documented to be never dearer than the list price, whatever exactly it costs. */
export const neverDearer: ReadonlySet<string> = new Set(['flex']);

/**
 * The rates on these terms; where the price does not say what one of them costs, all that the price has, with all that
 * makes it dearer.
 */
export function possibleRates(price: Price, terms: readonly Term[]): readonly Rates[] {
  const others = terms.filter(({ value }) => !neverDearer.has(value));
  const rates = ratesOn(price, terms) ?? ratesOn(price, others);
  if (rates) return [rates];
  const dearer = [...price.factors.values()].filter((factor) => factor > nanoPerUsd);
  const times = dearer.reduce((product, factor) => (product * factor) / nanoPerUsd, nanoPerUsd);
  return [price, ...price.services.values()].map((each) => scaled(each, times));
}

/** Whether nothing is to be paid, however much is used. */
export function isFree({ base, tiers, services, searchUsd, imageUsd }: Price): boolean {
  const all = [{ base, tiers }, ...services.values()].flatMap((rates) => [
    rates.base,
    ...rates.tiers.map(({ prices }) => prices),
  ]);
  return !searchUsd && imageUsd === 0n && all.every((prices) => classNames.every((name) => prices[name] === 0n));
}
