import { describe, expect, test } from 'vitest';
import { cost, isPriced } from '../../budget/prices/cost.ts';
import { PriceBook } from '../../budget/prices/price-book.ts';
import { PriceFile } from '../../budget/prices/price-file.ts';
import type { Term } from '../../llm/terms.ts';
import { noUsage } from '../../llm/usage.ts';
import { type ProviderPriceConfig, type TargetPriceConfig, targetPrices } from './target-prices.ts';

const now = Date.parse('2026-11-22');
const usd = 1_000_000_000n;
const model = 'gpt-5';

const file = new PriceFile({
  name: 'm.json',
  text: JSON.stringify({ [model]: { input_cost_per_token: 3e-6, output_cost_per_token: 3e-6 } }),
  sha256: '0123456789abcdef',
  changedOn: '2026-11-20',
});
const [withFile, withoutFile] = [new PriceBook(file), new PriceBook()];
const price = (amount: bigint) => ({ input: amount * usd, output: amount * usd });

const versionOf = (
  book: PriceBook,
  provider: Partial<ProviderPriceConfig>,
  target: TargetPriceConfig = {},
  name = model,
  atMs = now,
) =>
  targetPrices(book, 'p', { kind: 'openai', ...provider }, target)
    .priceOf(name, atMs)
    ?.version.split(' ')[0];

describe('the price of a target', () => {
  const all = { price: price(1n), unknown_price: { assume: price(5n) } } as const;

  test.each([
    ['its own', withFile, all, { price: price(2n) }, 'declared $2.00'],
    ["its provider's", withFile, all, {}, 'declared $1.00'],
    ["the file's", withFile, { unknown_price: all.unknown_price }, {}, 'file m.json'],
    ['the public one', withoutFile, { unknown_price: all.unknown_price }, {}, 'genai-prices'],
  ])('is %s before the others', (_, book, provider, target, version) => {
    const found = targetPrices(book, 'p', { kind: 'openai', ...provider }, target).priceOf(model, now);
    expect(found?.version).toMatch(version);
  });

  test('is what is assumed, for itself before its provider, where nobody knows the model', () => {
    const assumedBy = (target: TargetPriceConfig) =>
      targetPrices(withFile, 'p', { kind: 'openai', unknown_price: all.unknown_price }, target).priceOf('none', now);
    expect(assumedBy({})?.base.input).toBe(5n * usd);
    expect(assumedBy({ unknown_price: { assume: price(6n) } })?.base.input).toBe(6n * usd);
    expect(assumedBy({ unknown_price: 'deny' })).toBeNull();
    expect(versionOf(withFile, {}, {}, 'none')).toBeUndefined();
  });

  test('falls to the next source before the first date of a list', () => {
    const target = { price: [{ from: now, ...price(9n) }] };
    expect(versionOf(withFile, { price: price(1n) }, target)).toBe('declared');
    expect(versionOf(withFile, {}, target, model, now - 1)).toBe('file');
    expect(versionOf(withoutFile, {}, target, model, now - 1)).toBe('genai-prices');
  });

  test('of the simulated model is nothing, unless one is declared', () => {
    expect(versionOf(withFile, { kind: 'sim' }, {}, 'sim-1')).toBe('free');
    expect(versionOf(withFile, { kind: 'sim', price: price(1n) }, {}, 'sim-1')).toBe('declared');
  });

  describe('at a regional endpoint of OpenAI', () => {
    const at = (
      host: string,
      name: string,
      rest: Partial<ProviderPriceConfig> = {},
      target: TargetPriceConfig = {},
    ) => {
      const provider = { kind: 'openai', base_url: `https://${host}/v1`, ...rest };
      return targetPrices(withoutFile, 'p', provider, target).priceOf(name, now);
    };
    const terms: Term[] = [{ field: 'service_tier', value: 'priority' }];
    const usage = { ...noUsage, input: 1_000, cacheRead: 300_000, output: 10 };

    test.each(['eu', 'us', 'au', 'jp', 'ae'])('%s costs a tenth more, on all terms and at every length', (region) => {
      const [world, there] = [at('api.openai.com', 'gpt-5.4'), at(`${region}.api.openai.com`, 'gpt-5.4')];
      if (!world || !there) throw new Error('there is no price');
      for (const used of [usage, { ...usage, terms }]) {
        expect(cost(there, used) * 10n).toBe(cost(world, used) * 11n);
        expect(isPriced(there, used)).toBe(true);
      }
      expect(there.version).toBe(`${world.version}, regional`);
    });

    test('costs no more for the models from before March 2026', () => {
      for (const name of ['gpt-4o', 'chatgpt-4o-latest', 'gpt-4.1-2025-04-14', 'text-embedding-3-small'])
        expect(at('eu.api.openai.com', name)).toEqual(at('api.openai.com', name));
    });

    test('is known by its host alone, or by what the account is said to be', () => {
      const listed = at('api.openai.com', 'gpt-6-sol')?.base.input;
      expect(listed).toBe(2n * usd);
      for (const host of ['mtls.api.openai.com', 'eu.api.openai.com.example.com', 'gpt.example.com'])
        expect(at(host, 'gpt-6-sol')?.base.input).toBe(listed);
      expect(at('gpt.example.com', 'gpt-6-sol', { account_terms: { region: 'eu' } })?.base.input).toBe(2_200_000_000n);
      const asGpt = { base_model: 'openai/gpt-6-sol' };
      const alike = { kind: 'openai-compatible' };
      expect(at('eu.api.openai.com', 'm', alike, asGpt)?.base.input).toBe(2_200_000_000n);
    });

    test('costs what is declared, where it is', () => {
      expect(at('eu.api.openai.com', 'gpt-6-sol', { price: price(3n) })?.base.input).toBe(3n * usd);
    });
  });

  test('knows the terms of the account', () => {
    const account_terms = { service_tier: 'fast', inference_geo: 'us' };
    expect(targetPrices(withFile, 'p', { kind: 'openai', account_terms }, {}).standingTerms).toEqual([
      { field: 'service_tier', value: 'priority' },
      { field: 'inference_geo', value: 'us' },
    ]);
  });
});
