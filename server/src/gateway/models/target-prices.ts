import {
  type DeclaredClasses,
  type DeclaredPrice,
  assumedPrice,
  declaredSheets,
} from '../../budget/prices/declared-price.ts';
import type { ModelLimits } from '../../budget/prices/model-limits.ts';
import type { PriceBook } from '../../budget/prices/price-book.ts';
import { type Price, inRegion } from '../../budget/prices/price.ts';
import { sheetAt } from '../../budget/prices/sheets.ts';
import { type Term, serviceTier, speedAndGeography } from '../../llm/terms.ts';

/** What becomes of a model whose price nobody knows, under a budget in money. */
export type UnknownPrice = 'deny' | { readonly assume: DeclaredClasses };

/** What an entry of the configuration says of prices; a target's goes before its provider's. */
export interface PriceConfig {
  readonly price?: DeclaredPrice | undefined;
  readonly unknown_price?: UnknownPrice | undefined;
}

export interface ProviderPriceConfig extends PriceConfig {
  readonly kind: string;
  readonly base_url?: string | undefined;
  readonly account_terms?:
    | {
        readonly service_tier?: string | undefined;
        readonly inference_geo?: string | undefined;
        readonly region?: string | undefined;
      }
    | undefined;
}

export interface TargetPriceConfig extends PriceConfig {
  readonly base_model?: string | undefined;
}

/** What the models of one target cost. */
export interface TargetPrices {
  /** By the provider's name of the model, at a time in epoch milliseconds; null where nobody knows it. */
  readonly priceOf: (model: string, atMs: number) => Price | null;
  readonly limitsOf: (model: string) => ModelLimits;
  /** The terms that a call is served on where it does not say. */
  readonly standingTerms: readonly Term[];
}

/** OpenAI's endpoints of regions, like eu.api.openai.com (developers.openai.com, "Data residency"). */
const regionalEndpoint = /^https:\/\/[a-z]{2}\.api\.openai\.com(?:[:/]|$)/i;

/**
 * Where the price of a target's model comes from: the target, its provider, the operator's file of prices, the vendor's
 * public prices; else what is assumed for models that nobody knows.
 */
export function targetPrices(
  book: PriceBook,
  name: string,
  provider: ProviderPriceConfig,
  target: TargetPriceConfig,
): TargetPrices {
  const { kind, account_terms: account } = provider;
  const place = { kind, provider: name, baseModel: target.base_model ?? null };
  const usual = kind === 'sim' ? 'free' : undefined;
  const declared = [target.price, provider.price ?? usual].flatMap((price) =>
    price === undefined ? [] : [declaredSheets(kind, price)],
  );
  const isRegional = account?.region !== undefined || regionalEndpoint.test(provider.base_url ?? '');
  const unknown = target.unknown_price ?? provider.unknown_price ?? 'deny';
  const assumed = unknown === 'deny' ? null : assumedPrice(kind, unknown.assume);
  return {
    priceOf(model, atMs) {
      const price = declared.map((sheets) => sheetAt(sheets, atMs)).find((each) => each !== null);
      if (price) return price;
      const listed = book.price(place, model, atMs);
      return listed && isRegional ? inRegion(listed) : (listed ?? assumed);
    },
    limitsOf: (model) => book.limits(place, model),
    standingTerms: [
      ...serviceTier(account?.service_tier ?? null),
      ...speedAndGeography(null, account?.inference_geo ?? null),
    ],
  };
}
