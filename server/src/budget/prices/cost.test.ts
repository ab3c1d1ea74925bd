import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { noUsage, type Usage } from '../../llm/usage.ts';
import { cost, totalTokens } from './cost.ts';
import { freePrice } from './declared-price.ts';
import { type Price, makePrice } from './price.ts';
import { PriceBook } from './price-book.ts';

const book = new PriceBook();
const at = Date.parse('2026-11-01');

function priceOf(vendor: string, model: string): Price {
  const price = book.price({ kind: vendor, provider: vendor, baseModel: null }, model, at);
  if (!price) throw new Error(`${model} has no price`);
  return price;
}

describe('cost', () => {
  // Worked from the vendors' public price pages; nano-USD.
  it.each<[string, string, Partial<Usage>, bigint]>([
    // $3 / $15 per million: 1,000 in and 500 out are $0.003 + $0.0075.
    ['anthropic', 'claude-sonnet-4-5-20250929', { input: 1_000, output: 500 }, 10_500_000n],
    // Cache read $0.30, write 5 m $3.75, write 1 h $6.
    ['anthropic', 'claude-sonnet-4-5', { cacheRead: 10_000 }, 3_000_000n],
    ['anthropic', 'claude-sonnet-4-5', { cacheWrite5m: 10_000 }, 37_500_000n],
    ['anthropic', 'claude-sonnet-4-5', { cacheWrite1h: 10_000 }, 60_000_000n],
    // Above 200,000 prompt tokens, whatever their class, all of the call is dearer: $6 / $22.50, cache read $0.60.
    ['anthropic', 'claude-sonnet-4-5', { input: 200_000, output: 1 }, 600_015_000n],
    ['anthropic', 'claude-sonnet-4-5', { input: 200_001, output: 1 }, 1_200_028_500n],
    ['anthropic', 'claude-sonnet-4-5', { input: 1, cacheRead: 200_000, output: 0 }, 120_006_000n],
    // $1 / $5.
    ['anthropic', 'claude-haiku-4-5-20251001', { input: 1, output: 1 }, 6_000n],
    // $2.50 / $10, cached $1.25.
    ['openai', 'gpt-4o-2024-11-20', { input: 1_000, cacheRead: 1_000, output: 100 }, 4_750_000n],
    // $0.15 / $0.60, cached $0.075: one cached token is 75 nano-USD.
    ['openai', 'gpt-4o-mini', { cacheRead: 1 }, 75n],
    // $0.05 / $0.40, cached $0.005.
    ['openai', 'gpt-5-nano', { input: 1, cacheRead: 1, output: 1 }, 455n],
    // From 272,000 prompt tokens on: $5 / $22.50 instead of $2.50 / $15.
    ['openai', 'gpt-5.4', { input: 271_999, output: 1_000 }, 694_997_500n],
    ['openai', 'gpt-5.4', { input: 272_000, output: 1_000 }, 1_382_500_000n],
  ])('%s %s %o is %s', (vendor, model, usage, expected) => {
    expect(cost(priceOf(vendor, model), { ...noUsage, ...usage })).toBe(expected);
  });

  it('rounds up once, at the end: parts of a nano-USD add up before', () => {
    const third = { ...freePrice.base, input: 333_334n, output: 333_333n, cacheRead: 333_333n };
    const price = makePrice('test', { base: third, tiers: [] });
    expect(cost(price, { ...noUsage, input: 1, output: 1, cacheRead: 1 })).toBe(1n);
    expect(cost(price, { ...noUsage, output: 1 })).toBe(1n);
    expect(cost(price, noUsage)).toBe(0n);
  });

  it('refuses a count that is not whole, instead of rounding it', () => {
    expect(() => cost(priceOf('openai', 'gpt-4o'), { ...noUsage, input: 0.5 })).toThrow(RangeError);
  });

  const usage = fc.record({
    input: fc.nat(400_000),
    output: fc.nat(400_000),
    cacheRead: fc.nat(400_000),
    cacheWrite5m: fc.nat(400_000),
    cacheWrite1h: fc.nat(400_000),
    reasoning: fc.constant(0),
  });

  it('never falls when any class grows, across tiers too', () => {
    const models = fc.constantFrom(
      priceOf('anthropic', 'claude-sonnet-4-5'),
      priceOf('openai', 'gpt-5.4'),
      priceOf('openai', 'gpt-6-sol'),
    );
    const classes = fc.constantFrom('input', 'output', 'cacheRead', 'cacheWrite5m', 'cacheWrite1h');
    fc.assert(
      fc.property(models, usage, classes, fc.nat(400_000), (price, before, grown, by) => {
        const after = { ...before, [grown]: before[grown] + by };
        expect(cost(price, after)).toBeGreaterThanOrEqual(cost(price, before));
        expect(totalTokens(after)).toBe(totalTokens(before) + BigInt(by));
      }),
    );
  });
});
