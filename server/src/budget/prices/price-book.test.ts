import { describe, expect, it, test } from 'vitest';
import { findProvider } from '@pydantic/genai-prices';
import { PriceBook } from './price-book.ts';
import { at } from './testing/prices.ts';

const book = new PriceBook();
const now = Date.parse('2026-11-22');
const usd = 1_000_000_000n;

describe('a public price', () => {
  it('is exact where the vendor writes decimals', () => {
    expect(book.price(at('openai'), 'gpt-5.6-terra', Date.parse('2026-07-01'))?.base.cacheWrite5m).toBe(3_125_000_000n);
    expect(book.price(at('openai'), 'gpt-4.1-nano', now)?.base).toEqual({
      input: 100_000_000n,
      output: 400_000_000n,
      reasoning: 400_000_000n,
      cacheRead: 25_000_000n,
      // OpenAI bills no writes to this model's cache: at most they are input.
      cacheWrite5m: 100_000_000n,
      cacheWrite1h: 100_000_000n,
    });
  });

  it('names the library and its version', () => {
    expect(book.price(at('anthropic'), 'claude-haiku-4-5', now)?.version).toMatch(/^genai-prices \d+\.\d+\.\d+$/);
  });

  it('is the one of its day', () => {
    expect(book.price(at('openai'), 'o3', Date.parse('2025-06-09'))?.base.input).toBe(10n * usd);
    expect(book.price(at('openai'), 'o3', Date.parse('2025-06-10'))).toMatchObject({
      base: { input: 2n * usd },
      version: expect.stringMatching(/ of 2025-06-10$/),
    });
    expect(book.price(at('anthropic'), 'claude-opus-4-6', Date.parse('2026-03-01'))?.tiers).toMatchObject([
      { aboveInputTokens: 200_000, prices: { input: 10n * usd, output: 37_500_000_000n, cacheWrite1h: 20n * usd } },
    ]);
    expect(book.price(at('anthropic'), 'claude-opus-4-6', now)?.tiers).toEqual([]);
  });

  it.each([
    ['anthropic', 'claude-sonnet-4-20250514'],
    ['anthropic', 'claude-opus-4-1-20250805'],
    ['anthropic', 'claude-3-5-haiku-latest'],
    ['anthropic', 'claude-haiku-4-5@20251001'],
    ['openai', 'gpt-4o-2024-05-13'],
    ['openai', 'gpt-5-mini-2025-08-07'],
    ['openai', 'text-embedding-3-small'],
    ['gemini', 'gemini-2.5-flash'],
    ['gemini', 'gemini-3-pro-preview'],
    ['gemini', 'gemini-embedding-001'],
  ])('is found for %s %s', (vendor, model) => {
    expect(book.price(at(vendor), model, now)).not.toBeNull();
  });

  it.each([
    // The library would price it as claude-sonnet-5, whose name it begins with.
    ['anthropic', 'claude-sonnet-5-5'],
    ['anthropic', 'claude-haiku-4-5-turbo'],
    ['openai', 'gpt-5-nano-next'],
    ['openai', 'GPT-4o'],
    ['openai', 'ft:gpt-4o-2024-08-06:acme::1'],
    // Billed by classes that token usage does not have.
    ['openai', 'gpt-4o-search-preview'],
    ['openai', 'gpt-4o-mini-search-preview-2025-03-11'],
    ['openai', 'gpt-audio'],
    ['openai', 'gpt-image-1'],
    ['openai', 'whisper-1'],
    ['openai', 'omni-moderation-latest'],
    ['gemini', 'gemini-2.5-flash-image'],
    ['gemini', 'gemini-live-2.5-flash'],
    // Aliases that Google moves from one model to the next.
    ['gemini', 'gemini-pro-latest'],
    ['gemini', 'gemini-flash-latest'],
    // A deployment's name says neither which model it is nor what it costs where it is.
    ['azure', 'o1'],
    ['azure', 'text-embedding-3-small'],
    ['sim', 'sim-1'],
    ['openai', '__proto__'],
  ])('is unknown, never free, for %s %s', (vendor, model) => {
    expect(book.price(at(vendor), model, now)).toBeNull();
  });

  it('tells a dated model of its own from the family', () => {
    expect(book.price(at('openai'), 'gpt-4o-2024-05-13', now)?.base.input).toBe(5n * usd);
    expect(book.price(at('openai'), 'gpt-4o-2024-11-20', now)?.base.input).toBe(2_500_000_000n);
  });

  it('knows that Anthropic bills a one-hour cache write twice the input where the sheet does not say', () => {
    expect(book.price(at('anthropic'), 'claude-2', now)?.base).toEqual({
      input: 8n * usd,
      output: 24n * usd,
      reasoning: 24n * usd,
      cacheRead: 8n * usd,
      cacheWrite5m: 10n * usd,
      cacheWrite1h: 16n * usd,
    });
  });
});

test('every model that the libraries carry for the vendors can be read, and no name stands for two', () => {
  for (const [vendor, providerId] of [
    ['anthropic', 'anthropic'],
    ['openai', 'openai'],
    ['gemini', 'google'],
  ] as const) {
    const models = findProvider({ providerId })?.models ?? [];
    expect(models.length).toBeGreaterThan(20);
    const ids = models.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    const priced = ids.filter((id) => book.price(at(vendor), id, now) !== null);
    expect(priced.length).toBeGreaterThan(20);
    for (const id of priced) {
      const price = book.price(at(vendor), id, now);
      // What a worst case relies on: a dearer tier is dearer in every class.
      for (const { prices } of price?.tiers ?? []) {
        expect(prices.input).toBeGreaterThanOrEqual(price?.base.input ?? 0n);
        expect(prices.output).toBeGreaterThanOrEqual(price?.base.output ?? 0n);
      }
    }
  }
});

describe('limits of a model', () => {
  it.each([
    ['openai', 'gpt-4o', 16_384, 128_000],
    ['openai', 'gpt-5-2025-08-07', 128_000, 400_000],
    // Two sources differ: an upper bound takes the larger.
    ['openai', 'gpt-4.1', 32_768, 1_047_576],
    // No output cap is published here: the answer cannot be longer than the context.
    ['anthropic', 'claude-haiku-4-5', 200_000, 200_000],
    ['openai-compatible', 'qwen3:8b', null, null],
    ['sim', 'sim-1', 100_000, null],
  ])('%s %s writes at most %s of %s tokens', (vendor, model, maxOutputTokens, contextTokens) => {
    expect(book.limits(at(vendor), model)).toMatchObject({ maxOutputTokens, contextTokens });
  });
});
