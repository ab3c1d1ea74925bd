import { describe, expect, test } from 'vitest';
import { PriceBook } from '../../budget/prices/price-book.ts';
import { PriceFile } from '../../budget/prices/price-file.ts';
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

  test('knows the terms of the account', () => {
    const account_terms = { service_tier: 'fast', inference_geo: 'us' };
    expect(targetPrices(withFile, 'p', { kind: 'openai', account_terms }, {}).standingTerms).toEqual([
      { field: 'service_tier', value: 'priority' },
      { field: 'inference_geo', value: 'us' },
    ]);
  });
});
