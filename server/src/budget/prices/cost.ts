import type { NanoUsd } from '../../base/money.ts';
import type { Usage } from '../../llm/usage.ts';
import { type Price, type Rates, type TokenPrices, possibleRates, ratesOn } from './price.ts';

const perMillion = 1_000_000n;

/** All tokens of the prompt: what length tiers are chosen by. */
function promptTokens(usage: Usage): number {
  return usage.input + usage.cacheRead + usage.cacheWrite5m + usage.cacheWrite1h;
}

/** All tokens of a call: what budgets in tokens count. Reasoning is within output. */
export function totalTokens(usage: Usage): bigint {
  return BigInt(promptTokens(usage) + usage.output);
}

/** The prices of a call whose prompt has `prompt` tokens: the whole call takes those of the highest tier passed. */
export function pricesFor({ base, tiers }: Rates, prompt: number): TokenPrices {
  return tiers.findLast((tier) => prompt > tier.aboveInputTokens)?.prices ?? base;
}

/** What `usage` costs at these prices, in nano-USD **times a million**. @throws RangeError for a count that is not whole */
export function tokenCost(prices: TokenPrices, usage: Usage): bigint {
  return (
    BigInt(usage.input) * prices.input +
    BigInt(usage.output - usage.reasoning) * prices.output +
    BigInt(usage.reasoning) * prices.reasoning +
    BigInt(usage.cacheRead) * prices.cacheRead +
    BigInt(usage.cacheWrite5m) * prices.cacheWrite5m +
    BigInt(usage.cacheWrite1h) * prices.cacheWrite1h
  );
}

/**
 * What `usage` costs in nano-USD, exactly: on the terms that it was served on, searches included; rounded up to the next
 * whole nano-USD once, at the end. On terms that the price does not know (see `isPriced`) it is the dearest that it does.
 * @throws RangeError when a count is not a whole number
 */
export function cost(price: Price, usage: Usage): NanoUsd {
  const prompt = promptTokens(usage);
  const most = possibleRates(price, usage.terms ?? [])
    .map((each) => tokenCost(pricesFor(each, prompt), usage))
    .reduce((one, other) => (one > other ? one : other));
  return (most + perMillion - 1n) / perMillion + BigInt(usage.searches ?? 0) * (price.searchUsd ?? 0n);
}

/** Whether `cost` is what the price says, and not only the nearest to it: false for terms or searches of unknown price. */
export function isPriced(price: Price, { terms = [], searches = 0 }: Usage): boolean {
  // A price that names no terms at all holds for all of them: its operator declared what there is to pay.
  const anyTerms = price.services.size === 0 && price.factors.size === 0;
  return (anyTerms || ratesOn(price, terms) !== null) && (searches === 0 || price.searchUsd !== null);
}
