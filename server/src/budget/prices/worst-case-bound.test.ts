import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import type { RequestFacts } from '../../llm/facts.ts';
import { cost, totalTokens } from './cost.ts';
import type { Price } from './price.ts';
import { type Billed, billed } from './testing/vendor-usage.ts';
import type { PlannedCall } from './planned-call.ts';
import { worstCase } from './worst-case.ts';

/** Whether what is held for `bound` covers what is billed. */
function covers(bound: PlannedCall, { call, usage, feesUsd }: Billed): boolean {
  const worst = worstCase(bound);
  if (!call.price) throw new Error('the call has no price');
  return cost(call.price, usage) + feesUsd <= worst.usd && totalTokens(usage) <= worst.tokens;
}

const runs = { numRuns: 2_000 };

test('nothing that a provider may bill by its documentation is more than what was held for it', () => {
  fc.assert(
    fc.property(billed(), (sample) => {
      expect(covers(sample.call, sample)).toBe(true);
    }),
    runs,
  );
});

/** A bound that leaves out one part of the call must be found out, or the property above shows nothing. */
describe('the property finds a bound that leaves out', () => {
  const without = (change: (facts: RequestFacts) => Partial<RequestFacts>) => (call: PlannedCall) => ({
    ...call,
    facts: { ...call.facts, ...change(call.facts) },
  });
  const priced = (change: (price: Price) => Partial<Price>) => (call: PlannedCall) => ({
    ...call,
    price: call.price && { ...call.price, ...change(call.price) },
  });

  it.each<[string, (call: PlannedCall) => PlannedCall]>([
    ['half of the text', without(({ bodyBytes }) => ({ bodyBytes: Math.floor(bodyBytes / 2) }))],
    ['images', without(({ media }) => ({ media: { ...media, images: 0 } }))],
    ['documents', without(({ media }) => ({ media: { ...media, documents: 0 } }))],
    ['the prompt that tools bring', without(() => ({ toolCount: 0 }))],
    ['what the provider defines tools by', without(() => ({ builtInTools: 0 }))],
    ['what each message adds', without(() => ({ messageCount: 0 }))],
    ['all answers but one', without(() => ({ choices: 1 }))],
    ['the longer life of cache entries', without(() => ({ longCacheTtl: false }))],
    ['server tools', without(() => ({ serverTools: [] }))],
    ['searches', without(({ serverTools }) => ({ serverTools: serverTools.map((tool) => ({ ...tool, maxUses: 0 })) }))],
    ['the terms that are asked for', without(() => ({ terms: [] }))],
    ['the terms of the account', (call) => ({ ...call, standingTerms: [] })],
    [
      'length tiers',
      priced(({ services }) => ({
        tiers: [],
        services: new Map([...services].map(([name, rates]) => [name, { ...rates, tiers: [] }])),
      })),
    ],
    ['the price of reasoning', priced(({ base }) => ({ base: { ...base, reasoning: base.output } }))],
    ['the price of cache writes', priced(({ base }) => ({ base: { ...base, cacheWrite5m: base.input } }))],
    ['the price of an image', priced(() => ({ imageUsd: 0n }))],
    ['the longest context', (call) => ({ ...call, limits: { ...call.limits, contextTokens: 100_000 } })],
  ])('%s', (_, weakened) => {
    const found = fc.check(
      fc.property(billed(), (sample) => covers(weakened(sample.call), sample)),
      { numRuns: 20_000, endOnFailure: true },
    );
    expect(found.failed).toBe(true);
    // By what it covers, not by an error.
    expect(found.errorInstance).toMatchObject({ message: 'Property failed by returning false' });
  });
});
