import type { NanoUsd } from '../../base/money.ts';
import type { Usage } from '../../llm/usage.ts';
import { tokenCost } from './cost.ts';
import { type PlannedCall, pricedTerms, termsOf } from './planned-call.ts';
import { type Rates, type TokenPrices, highestOf, ratesOn } from './price.ts';

/**
 * All input in one class, at the prices of whichever length tier a prompt of up to `input` tokens makes dearest, on whichever
 * of the possible terms are dearest: a provider may serve on less than was asked for.
 */
export function dearest(call: PlannedCall, plain: Usage): { usd: NanoUsd; usage: Usage } {
  const { price } = call;
  if (price === null) return { usd: 0n, usage: plain };
  const { input, output } = plain;
  const none = { ...plain, input: 0 };
  const splits = [plain, { ...none, cacheRead: input }, { ...none, cacheWrite5m: input }];
  if (call.facts.longCacheTtl) splits.push({ ...none, cacheWrite1h: input });
  const searchesUsd = BigInt(plain.searches ?? 0) * (price.searchUsd ?? 0n);
  let most = { usd: -1n, usage: plain };
  for (const terms of subsets(pricedTerms(price, termsOf(call)))) {
    const rates = ratesOn(price, terms);
    if (rates === null) continue;
    const prices = highestReachable(rates, input);
    const reasoning = prices.reasoning > prices.output ? output : 0;
    for (const split of splits) {
      const usage = { ...split, reasoning };
      const usd = roundedUp(tokenCost(prices, usage)) + searchesUsd;
      if (usd > most.usd) most = { usd, usage: terms.length > 0 ? { ...usage, terms } : usage };
    }
  }
  return most;
}

function highestReachable({ base, tiers }: Rates, input: number): TokenPrices {
  return tiers
    .filter((tier) => input > tier.aboveInputTokens)
    .reduce((most, tier) => highestOf(most, tier.prices), base);
}

function subsets<T>(items: readonly T[]): T[][] {
  return items.reduce<T[][]>((sets, item) => [...sets, ...sets.map((set) => [...set, item])], [[]]);
}

function roundedUp(millionths: bigint): NanoUsd {
  return (millionths + 999_999n) / 1_000_000n;
}
