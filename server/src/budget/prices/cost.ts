import type { NanoUsd } from '../../base/money.ts';
import type { Usage } from '../../llm/usage.ts';
import type { Price, TokenPrices } from '../model.ts';

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
function pricesFor(price: Price, prompt: number): TokenPrices {
  return price.tiers.findLast((tier) => prompt > tier.aboveInputTokens)?.prices ?? price.base;
}

/**
 * What `usage` costs in nano-USD, exactly; rounded up to the next whole nano-USD once, at the end.
 * @throws RangeError when a count is not a whole number
 */
export function cost(price: Price, usage: Usage): NanoUsd {
  const prices = pricesFor(price, promptTokens(usage));
  const total =
    BigInt(usage.input) * prices.input +
    BigInt(usage.output) * prices.output +
    BigInt(usage.cacheRead) * prices.cacheRead +
    BigInt(usage.cacheWrite5m) * prices.cacheWrite5m +
    BigInt(usage.cacheWrite1h) * prices.cacheWrite1h;
  return (total + perMillion - 1n) / perMillion;
}
