import { PriceBook } from '../../../budget/prices/price-book.ts';
import { fullCapabilities } from '../../../llm/capabilities.ts';
import { Breaker } from '../breaker.ts';
import { createSimProvider } from '../providers/sim/provider.ts';
import { RetryBudget } from '../retry-budget.ts';
import type { Route, Target } from '../routing.ts';
import { targetPrices } from '../target-prices.ts';

/** A clock that stands still until it is moved. */
export class ManualClock {
  ms = 0;

  now(): number {
    return this.ms;
  }

  monotonic(): number {
    return this.ms;
  }
}

export function testTarget(known: Partial<Target> = {}): Target {
  const breaker = new Breaker(new ManualClock());
  return {
    provider: createSimProvider('sim'),
    model: null,
    weight: 1,
    prices: targetPrices(new PriceBook(), 'sim', { kind: 'sim' }, {}),
    capabilities: fullCapabilities,
    deadlines: { connectMs: 1_000, firstByteMs: 1_000, idleMs: 1_000, totalMs: 1_000 },
    breaker: () => breaker,
    ...known,
  };
}

export function testRoute(known: Partial<Route> = {}): Route {
  return {
    name: 'any',
    lossy: 'refuse',
    trim: 'refuse',
    maxTokens: 'refuse',
    onFailure: 'next',
    attemptsMax: 3,
    retries: new RetryBudget(new ManualClock()),
    cacheTtlS: null,
    targets: [testTarget()],
    ...known,
  };
}
