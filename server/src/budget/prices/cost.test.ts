import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Term, listPrice } from '../../llm/terms.ts';
import { noUsage } from '../../llm/usage.ts';
import { cost, isPriced, totalTokens } from './cost.ts';
import { freePrice } from './declared-price.ts';
import { makePrice, scaled } from './price.ts';
import { declaredPrice, publicPrice } from './testing/prices.ts';

const term = (value: string): Term => ({ field: 'service_tier', value });

describe('cost', () => {
  it('rounds up once, at the end: parts of a nano-USD add up before', () => {
    const third = { ...freePrice.base, input: 333_334n, output: 333_333n, cacheRead: 333_333n };
    const price = makePrice('test', { base: third, tiers: [] });
    expect(cost(price, { ...noUsage, input: 1, output: 1, cacheRead: 1 })).toBe(1n);
    expect(cost(price, { ...noUsage, output: 1 })).toBe(1n);
    expect(cost(price, noUsage)).toBe(0n);
  });

  it('refuses a count that is not whole, instead of rounding it', () => {
    expect(() => cost(publicPrice('openai', 'gpt-4o'), { ...noUsage, input: 0.5 })).toThrow(RangeError);
  });

  it('takes reasoning at its own price, where it has one, and once', () => {
    const price = declaredPrice('openai-compatible', { input: 0n, output: 1_000_000n, reasoning: 4_000_000n });
    expect(cost(price, { ...noUsage, output: 10, reasoning: 4 })).toBe(6n + 16n);
  });

  it('is the dearest that is known for terms of unknown price, and then says that it is not exact', () => {
    const price = publicPrice('openai', 'gpt-5.5');
    const usage = { ...noUsage, output: 1 };
    expect(cost(price, { ...usage, terms: [term('of_tomorrow')] })).toBe(75_000n);
    expect(isPriced(price, { ...usage, terms: [term('of_tomorrow')] })).toBe(false);
    expect(isPriced(price, { ...usage, terms: [term('priority')] })).toBe(true);
    expect(isPriced(price, { ...usage, terms: [term(listPrice)] })).toBe(true);
    // No vendor says what two services at once cost.
    expect(isPriced(price, { ...usage, terms: [term('priority'), term('flex')] })).toBe(false);
  });

  it('multiplies the dearest by all that can make it dearer, where the terms are not known', () => {
    const price = publicPrice('anthropic', 'claude-opus-4-8');
    const usage = { ...noUsage, output: 1 };
    const unknown = { field: 'speed', value: 'of_tomorrow' } as const;
    // $25, times 2 for speed, times 1.1 for the place.
    expect(cost(price, { ...usage, terms: [unknown] })).toBe(55_000n);
    expect(cost(price, { ...usage, terms: [unknown, { field: 'inference_geo', value: 'us' }] })).toBe(55_000n);
  });

  it('is never less for a term more of unknown price', () => {
    const prices = [publicPrice('openai', 'gpt-5.5'), publicPrice('anthropic', 'claude-opus-4-8')];
    const values = fc.subarray(['priority', 'flex', 'fast', 'us', listPrice]);
    fc.assert(
      fc.property(fc.constantFrom(...prices), values, fc.nat(300_000), (price, known, input) => {
        const usage = { ...noUsage, input, output: 1_000 };
        const terms = known.map(term);
        const more = cost(price, { ...usage, terms: [...terms, term('of_tomorrow')] });
        expect(more).toBeGreaterThanOrEqual(cost(price, { ...usage, terms }));
      }),
    );
  });

  it('of a flex call whose price is unknown is at most the list price, as it is documented and was held', () => {
    const price = publicPrice('openai', 'gpt-5.4');
    const usage = { ...noUsage, input: 10, output: 10 };
    expect(cost(price, { ...usage, terms: [term('flex')] })).toBe(cost(price, usage));
    expect(isPriced(price, { ...usage, terms: [term('flex')] })).toBe(false);
  });

  it('is on any terms what a declared price says: its operator knows what there is to pay', () => {
    const price = declaredPrice('openai-compatible', { input: 1n, output: 1n });
    expect(isPriced(price, { ...noUsage, terms: [term('on_demand')] })).toBe(true);
    expect(isPriced(price, { ...noUsage, searches: 1 })).toBe(false);
  });

  const usage = fc.record({
    input: fc.nat(400_000),
    output: fc.integer({ min: 1_000, max: 400_000 }),
    cacheRead: fc.nat(400_000),
    cacheWrite5m: fc.nat(400_000),
    cacheWrite1h: fc.nat(400_000),
    reasoning: fc.nat(1_000),
  });

  it('never falls when any class grows, across tiers too', () => {
    const models = fc.constantFrom(
      publicPrice('anthropic', 'claude-sonnet-4-5'),
      publicPrice('openai', 'gpt-5.4'),
      publicPrice('openai', 'gpt-6-sol'),
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

  it('of a multiple of the price is that multiple of the cost, but for the last nano-USD', () => {
    const price = publicPrice('anthropic', 'claude-opus-4-8');
    fc.assert(
      fc.property(usage, fc.bigInt({ min: 1n, max: 30n }), (used, tenths) => {
        const dearer = makePrice('test', scaled(price, tenths * 100_000_000n));
        expect((cost(price, used) * tenths + 9n) / 10n).toBe(cost(dearer, used));
      }),
    );
  });
});
