import { describe, expect, it } from 'vitest';
import { noUsage } from '../../llm/usage.ts';
import { cost } from './cost.ts';
import { PriceBook } from './price-book.ts';
import { PriceFile } from './price-file.ts';
import { at } from './testing/prices.ts';

const now = Date.parse('2026-11-22');
const usd = 1_000_000_000n;

function read(models: unknown): PriceFile {
  const text = typeof models === 'string' ? models : JSON.stringify(models);
  return new PriceFile({ name: 'models.json', text, sha256: 'abcdef0123456789', changedOn: '2026-11-20' });
}

const tokens = { input_cost_per_token: 1e-6, output_cost_per_token: 4e-6 };
const own = (entry: object) => read({ m: entry }).models.get('m');
const priceOf = (entry: object) => own(entry)?.price ?? null;

describe('an entry of the file', () => {
  it('has every class that the format has, of text and in tokens', () => {
    expect(
      priceOf({
        ...tokens,
        litellm_provider: 'anthropic',
        output_cost_per_reasoning_token: 5e-6,
        cache_read_input_token_cost: 1e-7,
        cache_creation_input_token_cost: 1.25e-6,
        cache_creation_input_token_cost_above_1hr: 2e-6,
      })?.base,
    ).toEqual({
      input: usd,
      output: 4n * usd,
      reasoning: 5n * usd,
      cacheRead: usd / 10n,
      cacheWrite5m: 1_250_000_000n,
      cacheWrite1h: 2n * usd,
    });
  });

  it('names the file, its digest and its day as the version', () => {
    expect(priceOf(tokens)?.version).toBe('file models.json sha256:abcdef012345 of 2026-11-20');
  });

  it('has length tiers; what a tier leaves out rises as its input does', () => {
    const price = priceOf({
      ...tokens,
      cache_read_input_token_cost: 1e-7,
      cache_creation_input_token_cost_above_12hr: 3e-6,
      input_cost_per_token_above_200k_tokens: 2e-6,
      output_cost_per_token_above_200k_tokens: 6e-6,
      cache_creation_input_token_cost_above_12hr_above_200k_tokens: 7e-6,
    });
    expect(price?.tiers).toEqual([
      {
        aboveInputTokens: 200_000,
        prices: {
          input: 2n * usd,
          output: 6n * usd,
          reasoning: 6n * usd,
          cacheRead: usd / 5n,
          cacheWrite5m: 2n * usd,
          cacheWrite1h: 7n * usd,
        },
      },
    ]);
  });

  it('has service tiers, in length tiers too; batches are not for calls', () => {
    const price = priceOf({
      ...tokens,
      cache_read_input_token_cost: 1e-7,
      input_cost_per_token_batches: 5e-7,
      output_cost_per_token_batches: 2e-6,
      input_cost_per_token_priority: 2e-6,
      output_cost_per_token_priority: 8e-6,
      input_cost_per_token_flex: 5e-7,
      output_cost_per_token_flex: 2e-6,
      cache_read_input_token_cost_flex: 6e-8,
      input_cost_per_token_above_272k_tokens: 2e-6,
      output_cost_per_token_above_272k_tokens: 6e-6,
      input_cost_per_token_above_272k_tokens_priority: 4e-6,
      output_cost_per_token_above_272k_tokens_priority: 12e-6,
    });
    expect([...(price?.services.keys() ?? [])]).toEqual(['priority', 'flex']);
    expect(price?.services.get('priority')).toMatchObject({
      base: { input: 2n * usd, output: 8n * usd, cacheRead: usd / 5n },
      tiers: [
        { aboveInputTokens: 272_000, prices: { input: 4n * usd, output: 12n * usd, cacheRead: (usd * 2n) / 5n } },
      ],
    });
    expect(price?.services.get('flex')).toMatchObject({
      base: { input: usd / 2n, output: 2n * usd, cacheRead: 60_000_000n },
      // The format does not say that a long prompt is cheaper by flex: it is not believed to be.
      tiers: [{ prices: { input: 2n * usd, output: 6n * usd } }],
    });
  });

  it('has ranges of the length, in the form that some entries use', () => {
    const price = priceOf({
      tiered_pricing: [
        { range: [0, 32_000], ...tokens },
        { range: [32_000, 128_000], input_cost_per_token: 3e-6, output_cost_per_token: 9e-6 },
      ],
    });
    expect(price).toMatchObject({
      base: { input: usd },
      tiers: [{ aboveInputTokens: 32_000, prices: { input: 3n * usd, output: 9n * usd } }],
    });
  });

  it('has what multiplies a price, and fees for searches and images', () => {
    const price = priceOf({
      ...tokens,
      provider_specific_entry: { us: 1.1, fast: 6 },
      search_context_cost_per_query: { search_context_size_low: 0.01, search_context_size_high: 0.025 },
      input_cost_per_image: 0.0048,
    });
    expect(price?.factors).toEqual(
      new Map([
        ['fast', 6n * usd],
        ['us', 1_100_000_000n],
      ]),
    );
    expect(price).toMatchObject({ searchUsd: 25_000_000n, imageUsd: 4_800_000n });
    if (!price) return;
    const terms = [{ field: 'speed', value: 'fast' } as const, { field: 'inference_geo', value: 'us' } as const];
    expect(cost(price, { ...noUsage, input: 10, searches: 2, terms })).toBe(66_000n + 50_000_000n);
  });

  it('has what a regional endpoint costs, by the dearest region', () => {
    const openai = { ...tokens, litellm_provider: 'openai' };
    expect(priceOf({ ...openai, regional_processing_uplift_multiplier_eu: 1.2 })?.regional).toBe(1_200_000_000n);
    const both = { regional_processing_uplift_multiplier_eu: 1, regional_processing_uplift_multiplier_us: 1.3 };
    expect(priceOf({ ...openai, ...both })?.regional).toBe(1_300_000_000n);
    // What OpenAI documents, where the entry does not say.
    expect(priceOf(openai)?.regional).toBe(1_100_000_000n);
    expect(priceOf(tokens)?.regional).toBe(usd);
  });

  it('needs no price of output where vectors are made', () => {
    expect(priceOf({ mode: 'embedding', input_cost_per_token: 2e-8 })?.base.input).toBe(20_000_000n);
    expect(priceOf({ mode: 'embedding', ...tokens, output_cost_per_token: 0 })?.base.input).toBe(usd);
  });

  it.each([
    [{ ...tokens, mode: 'image_generation' }, 'mode "image_generation" is not billed by tokens of text'],
    [
      { ...tokens, output_cost_per_audio_token: 1e-5 },
      'output_cost_per_audio_token is a price that usage does not count',
    ],
    [{ ...tokens, output_cost_per_image: 0.04 }, 'output_cost_per_image is a price'],
    [{ ...tokens, input_cost_per_request: 0.005 }, 'input_cost_per_request is a price'],
    [{ ...tokens, input_cost_per_image_token: 2e-6 }, 'input_cost_per_image_token is a price'],
    [{ ...tokens, off_peak_pricing: { hours_utc: '22:00-06:00' } }, 'off_peak_pricing is a price'],
    [{ ...tokens, cost_of_tomorrow: 'dear' }, 'cost_of_tomorrow is a price'],
    [{ ...tokens, output_cost_per_token_thinking: 9e-6 }, 'output_cost_per_token_thinking is a price'],
    [
      { ...tokens, input_cost_per_token_offpeak: 1e-7, output_cost_per_token_offpeak: 1e-7 },
      'input_cost_per_token_offpeak is a price',
    ],
    [{ ...tokens, regional_endpoint_uplift_multiplier: 1.1 }, 'regional_endpoint_uplift_multiplier is a price'],
    [{ input_cost_per_token: 0, output_cost_per_token: 4e-6 }, 'it says that input or output costs nothing'],
    [{ ...tokens, input_cost_per_token_above_200k_tokens: 0 }, 'it says that input or output costs nothing'],
    [
      { ...tokens, input_cost_per_token_flex: 0, output_cost_per_token_flex: 2e-6 },
      'it says that input or output costs nothing',
    ],
    [{ input_cost_per_token: 1e-6, output_cost_per_token: 0, mode: 'chat' }, 'it says that input or output costs'],
    [{ input_cost_per_token: 1e-6 }, 'it lacks input_cost_per_token or output_cost_per_token'],
    [{ input_cost_per_token: 0, output_cost_per_token: 0 }, 'it says that input or output costs nothing'],
    [{ tiered_pricing: [{ max_results_range: [0, 5], input_cost_per_query: 0.1 }] }, 'it lacks'],
    [{}, 'it lacks'],
  ])('is unknown, never free, and says why: %j', (entry, why) => {
    expect(own(entry)?.price).toBeNull();
    expect(own(entry)?.why).toContain(why);
  });

  it.each([
    [{ ...tokens, input_cost_per_audio_token: 1e-5 }],
    [{ ...tokens, input_cost_per_image_token: 1e-6 }],
    [{ ...tokens, output_cost_per_image: 0, input_dbu_cost_per_token: 1e-5 }],
    [{ ...tokens, supports_vision: true, source: 'https://example.com', max_tokens: 'many' }],
  ])('may say besides what no call that is counted has: %j', (entry) => {
    expect(priceOf(entry)?.base.input).toBe(usd);
  });
});

describe('a file that does not hold', () => {
  it.each([
    ['{', 'The file of prices models.json is not JSON.'],
    ['[]', 'The file of prices models.json is not an object of models.'],
    [{ m: 7 }, 'has an entry "m" that is not an object.'],
    [{ m: { ...tokens, input_cost_per_token: -1 } }, 'entry "m": input_cost_per_token must be a number'],
    [{ m: { ...tokens, cache_read_input_token_cost: '1e-7' } }, 'entry "m": cache_read_input_token_cost must be'],
    [{ m: { ...tokens, provider_specific_entry: { fast: 'much' } } }, 'entry "m": provider_specific_entry.fast must'],
    [{ m: { tiered_pricing: [{ range: [0, 9], input_cost_per_token: -2 }] } }, 'tiered_pricing.input_cost_per_token'],
    // What is meant for a million tokens, or for a thousand.
    [{ m: { ...tokens, output_cost_per_token: 2.5 } }, 'entry "m": output_cost_per_token must be a number'],
    [{ m: { ...tokens, output_cost_per_token: 0.025 } }, 'from 0 to 0.01'],
    [{ m: { ...tokens, search_context_cost_per_query: { low: 101 } } }, 'search_context_cost_per_query.low must be'],
    [{ m: { ...tokens, provider_specific_entry: { fast: 101 } } }, 'provider_specific_entry.fast must be'],
    ['{"m": {}, "n": {}, "\\u006d": {}}', 'has two entries "m".'],
    ['{"m": {"mode": "chat", "x": [{"mode": 1}, {"mode": 2}], "mode": "chat"}}', 'entry "m": it has "mode" twice.'],
    ['{"m": {"tiered_pricing": [{"range": [0], "range": [1]}]}}', 'entry "m": it has "range" twice.'],
    [Object.fromEntries(Array.from({ length: 20_001 }, (_, i) => [`m${i}`, {}])), 'has more than 20000 models.'],
  ])('is refused, and the entry named', (models, message) => {
    expect(() => read(models)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
    expect(() => read(models)).toThrow(message);
  });

  it('is not one because it has the explanation of the format', () => {
    expect(read({ sample_spec: { input_cost_per_token: 'a number', mode: 'one of' }, m: tokens }).models.size).toBe(1);
  });
});

describe('a name that JavaScript knows', () => {
  const names = ['constructor', 'toString', 'hasOwnProperty', '__proto__', 'valueOf'];

  it.each(names)('is one as any other: %s', (name) => {
    const models = { [name]: { ...tokens, litellm_provider: 'openai' }, m: { ...tokens, litellm_provider: name } };
    const file = read(JSON.stringify(models));
    expect([...file.models.keys()].toSorted()).toEqual([name, 'm'].toSorted());
    const book = new PriceBook(file);
    expect(book.price(at('openai'), name, now)?.base.input).toBe(usd);
    expect(book.price(at('openai'), name, now)?.services.size).toBe(1);
    expect(book.price(at('anthropic'), name, now)).toBeNull();
    expect(book.price(at('openai'), 'm', now)).toBeNull();
  });
});

describe('a model is found in the file', () => {
  const file = read({
    'gpt-9': { ...tokens, litellm_provider: 'openai' },
    'gpt-4o': { input_cost_per_token: 9e-6, output_cost_per_token: 9e-6, litellm_provider: 'openai' },
    'gpt-4.1': { ...tokens, litellm_provider: 'openai', output_cost_per_image: 1 },
    'claude-9': { ...tokens, litellm_provider: 'anthropic', max_input_tokens: 500_000, max_output_tokens: 9_000 },
    'gemini/gemini-9': { ...tokens, litellm_provider: 'gemini' },
    'gemini-9': { ...tokens, litellm_provider: 'vertex_ai-language-models' },
    'azure/gpt-9': { ...tokens, litellm_provider: 'azure' },
    'openrouter/acme/llama-9': { ...tokens, litellm_provider: 'openrouter' },
    'qwen-own': tokens,
    'lab/llama-9': tokens,
  });
  const book = new PriceBook(file);
  const input = (place: Parameters<PriceBook['price']>[0], model: string) => book.price(place, model, now)?.base.input;

  it.each([
    ['openai', 'openai', 'gpt-9'],
    ['openai', 'openai', 'gpt-9-2026-11-01'],
    ['anthropic', 'claude', 'claude-9-20261101'],
    ['gemini', 'google', 'gemini-9'],
    ['openai-compatible', 'lab', 'llama-9'],
    ['openai-compatible', 'openrouter', 'acme/llama-9'],
    ['openai-compatible', 'anywhere', 'qwen-own'],
    ['azure', 'azure', 'qwen-own'],
  ])('at kind %s, provider %s, as %s', (kind, provider, model) => {
    expect(input({ kind, provider, baseModel: null }, model)).toBe(usd);
  });

  it.each([
    // What a vendor of this name charges, another one need not.
    ['openai-compatible', 'lab', 'gpt-9'],
    ['openai', 'openai', 'claude-9'],
    ['openai-compatible', 'openrouter', 'llama-9'],
    // A deployment's name is its owner's choice.
    ['azure', 'azure', 'gpt-9'],
    ['openai', 'openai', '__proto__'],
  ])('but not at kind %s, provider %s, as %s', (kind, provider, model) => {
    expect(input({ kind, provider, baseModel: null }, model)).toBeUndefined();
  });

  it('goes before the public price, which stands where the file knows nothing', () => {
    expect(input(at('openai'), 'gpt-4o')).toBe(9n * usd);
    expect(input(at('openai'), 'gpt-4.1')).toBe(2n * usd);
    expect(input(at('openai'), 'gpt-5')).toBe(1_250_000_000n);
  });

  it('under the model that the target names as its base', () => {
    expect(input({ kind: 'azure', provider: 'azure', baseModel: 'azure/gpt-9' }, 'mine')).toBe(usd);
    expect(input({ kind: 'azure', provider: 'azure', baseModel: 'openai/gpt-5' }, 'mine')).toBe(1_250_000_000n);
    expect(input({ kind: 'openai', provider: 'gpt', baseModel: 'gpt-5' }, 'ft:gpt-5:acme::1')).toBe(1_250_000_000n);
    expect(input({ kind: 'openai', provider: 'gpt', baseModel: 'none' }, 'gpt-5')).toBeUndefined();
  });

  it('with its limits', () => {
    expect(book.limits({ kind: 'azure', provider: 'azure', baseModel: 'openai/gpt-5' }, 'mine')).toMatchObject({
      contextTokens: 400_000,
      maxOutputTokens: 128_000,
    });
    expect(book.limits(at('anthropic'), 'claude-9')).toMatchObject({ contextTokens: 500_000, maxOutputTokens: 9_000 });
    expect(book.limits(at('openai-compatible'), 'qwen-own')).toMatchObject({
      contextTokens: null,
      maxOutputTokens: null,
    });
  });
});
