import { describe, expect, it } from 'vitest';
import { readUsage as anthropicUsage, createUsageWatcher } from '../../llm/anthropic/usage.ts';
import { readUsage as chatUsage } from '../../llm/chat/usage.ts';
import { readUsage as responsesUsage } from '../../llm/responses/usage.ts';
import type { Usage } from '../../llm/usage.ts';
import { cost } from './cost.ts';
import { publicPrice } from './testing/prices.ts';

/** The cost of what a vendor's answer reports, as the vendor reports it, in nano-USD. */
function costOf(vendor: string, model: string, usage: Usage | null, day = '2026-11-22'): bigint {
  if (!usage) throw new Error('the usage cannot be read');
  return cost(publicPrice(vendor, model, Date.parse(day)), usage);
}

const anthropic = (model: string, usage: object, day?: string) =>
  costOf('anthropic', model, anthropicUsage({ type: 'message', usage }), day);
const chat = (vendor: string, model: string, usage: object, rest: object = {}) =>
  costOf(vendor, model, chatUsage({ object: 'chat.completion', usage, ...rest }));
const responses = (model: string, usage: object, rest: object = {}) =>
  costOf('openai', model, responsesUsage({ object: 'response', usage, ...rest }));

// platform.claude.com/docs/en/about-claude/pricing, "Model pricing": USD per million tokens.
describe('Anthropic', () => {
  it.each<[model: string, usage: object, nanoUsd: bigint]>([
    // Haiku 4.5: $1 in, $1.25 and $2 written, $0.10 read, $5 out.
    ['claude-haiku-4-5-20251001', { input_tokens: 1_000, output_tokens: 500 }, 3_500_000n],
    ['claude-haiku-4-5', { input_tokens: 0, output_tokens: 0, cache_read_input_tokens: 1 }, 100n],
    // Opus 5.5: $4, $5, $8, $0.20, $20.
    [
      'claude-opus-5-5',
      {
        input_tokens: 7,
        output_tokens: 11,
        cache_read_input_tokens: 13,
        cache_creation_input_tokens: 20,
        cache_creation: { ephemeral_5m_input_tokens: 17, ephemeral_1h_input_tokens: 3 },
      },
      7n * 4_000n + 11n * 20_000n + 13n * 200n + 17n * 5_000n + 3n * 8_000n,
    ],
    // Fable 5.1: its cache is read at a fortieth of the input, $0.25.
    ['claude-fable-5-1', { input_tokens: 1, output_tokens: 0, cache_read_input_tokens: 100_001 }, 25_010_250n],
    // "Prompt caching" counts a prompt by three fields that do not overlap.
    [
      'claude-sonnet-4-6',
      { input_tokens: 21, output_tokens: 393, cache_creation_input_tokens: 188_086, cache_read_input_tokens: 0 },
      21n * 3_000n + 393n * 15_000n + 188_086n * 3_750n,
    ],
  ])('%s %j costs %s', (model, usage, nanoUsd) => {
    expect(anthropic(model, usage)).toBe(nanoUsd);
  });

  // "Long context pricing" of Sonnet 4.5: above 200,000 tokens of prompt, however they came, all of the call costs
  // $6 in, $22.50 out, $7.50 and $12 written, $0.60 read.
  it.each<[usage: object, nanoUsd: bigint]>([
    [{ input_tokens: 200_000, output_tokens: 1 }, 200_000n * 3_000n + 15_000n],
    [{ input_tokens: 200_001, output_tokens: 1 }, 200_001n * 6_000n + 22_500n],
    [{ input_tokens: 1, output_tokens: 1, cache_read_input_tokens: 200_000 }, 6_000n + 22_500n + 200_000n * 600n],
    [{ input_tokens: 1, output_tokens: 0, cache_creation_input_tokens: 200_000 }, 6_000n + 200_000n * 7_500n],
  ])('Sonnet 4.5 with a long prompt: %j costs %s', (usage, nanoUsd) => {
    expect(anthropic('claude-sonnet-4-5', usage)).toBe(nanoUsd);
  });

  it('charged Opus 4.6 more for a long prompt until 13 March 2026, and no longer', () => {
    const usage = { input_tokens: 200_001, output_tokens: 10 };
    expect(anthropic('claude-opus-4-6', usage, '2026-03-12')).toBe(200_001n * 10_000n + 10n * 37_500n);
    expect(anthropic('claude-opus-4-6', usage, '2026-03-13')).toBe(200_001n * 5_000n + 10n * 25_000n);
  });

  // "Fast mode": Opus 4.8 at $10 and $50; "Data residency": 1.1 times everything in the US; both at once multiply.
  it('charges for speed and place what the answer says was given, not what was asked for', () => {
    const usage = { input_tokens: 1_000, output_tokens: 100, cache_read_input_tokens: 10 };
    const list = 1_000n * 5_000n + 100n * 25_000n + 10n * 500n;
    expect(anthropic('claude-opus-4-8', { ...usage, speed: 'standard', inference_geo: 'global' })).toBe(list);
    expect(anthropic('claude-opus-4-8', { ...usage, speed: 'fast' })).toBe(2n * list);
    expect(anthropic('claude-opus-4-8', { ...usage, inference_geo: 'us' })).toBe((list * 11n) / 10n);
    expect(anthropic('claude-opus-4-8', { ...usage, speed: 'fast', inference_geo: 'us' })).toBe((list * 22n) / 10n);
  });

  // "Web search tool": $10 for 1,000 searches, beside the tokens.
  it('charges each search that it made', () => {
    const usage = { input_tokens: 105, output_tokens: 6_039, server_tool_use: { web_search_requests: 3 } };
    expect(anthropic('claude-haiku-4-5', usage)).toBe(105n * 1_000n + 6_039n * 5_000n + 30_000_000n);
  });
});

// developers.openai.com/api/docs/pricing, and openai.com/api-priority-processing for the priority tier.
describe('OpenAI', () => {
  it('counts the cached tokens within the prompt: GPT-4o at $2.50 in, $1.25 cached, $10 out', () => {
    // openai.com/index/api-prompt-caching: 1,920 of 2,006 tokens came from the cache.
    const usage = { prompt_tokens: 2_006, completion_tokens: 300, prompt_tokens_details: { cached_tokens: 1_920 } };
    expect(chat('openai', 'gpt-4o-2024-11-20', usage)).toBe(86n * 2_500n + 1_920n * 1_250n + 300n * 10_000n);
  });

  it('counts reasoning within the output: o3 at $2 in, $8 out', () => {
    const usage = { input_tokens: 75, output_tokens: 1_186, output_tokens_details: { reasoning_tokens: 1_024 } };
    expect(responses('o3', usage)).toBe(75n * 2_000n + 1_186n * 8_000n);
  });

  it('charges all of a long prompt more: GPT-5.5 at $5 and $30, from 272,000 tokens $10 and $45', () => {
    const usage = (input: number) => ({
      input_tokens: input,
      output_tokens: 1_000,
      input_tokens_details: { cached_tokens: 271_000 },
    });
    expect(responses('gpt-5.5', usage(271_999))).toBe(999n * 5_000n + 271_000n * 500n + 1_000n * 30_000n);
    expect(responses('gpt-5.5', usage(272_000))).toBe(1_000n * 10_000n + 271_000n * 1_000n + 1_000n * 45_000n);
  });

  it('charges writes to the cache, those for twelve hours twice: GPT-6 Sol at $2 in, $2.50 and $5 written', () => {
    const usage = {
      input_tokens: 1_000,
      output_tokens: 0,
      input_tokens_details: {
        cached_tokens: 100,
        cache_write_tokens: 600,
        cache_write_tokens_details: { ttl_12h_tokens: 200 },
      },
    };
    expect(responses('gpt-6-sol', usage)).toBe(300n * 2_000n + 100n * 200n + 400n * 2_500n + 200n * 5_000n);
  });

  it('charges the tier that served: GPT-5.5 at $12.50, $1.25, $75 by priority; GPT-5 at half by flex', () => {
    const usage = { prompt_tokens: 1_000, completion_tokens: 100, prompt_tokens_details: { cached_tokens: 400 } };
    const priority = 600n * 12_500n + 400n * 1_250n + 100n * 75_000n;
    const list = 600n * 5_000n + 400n * 500n + 100n * 30_000n;
    expect(chat('openai', 'gpt-5.5', usage, { service_tier: 'priority' })).toBe(priority);
    // Above its ramp rate OpenAI serves a priority call by default, says so, and bills it so.
    expect(chat('openai', 'gpt-5.5', usage, { service_tier: 'default' })).toBe(list);
    expect(chat('openai', 'gpt-5', usage, { service_tier: 'flex' })).toBe(
      600n * 625n + 400n * 62n + 200n + 100n * 5_000n,
    );
  });

  it('has prices below a nano-USD a token: GPT-5 nano cached at $0.005', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 0, prompt_tokens_details: { cached_tokens: 3 } };
    expect(chat('openai', 'gpt-5-nano', usage)).toBe(15n);
    expect(chat('openai', 'gpt-5-nano', usage, { service_tier: 'flex' })).toBe(8n);
  });
});

// ai.google.dev/gemini-api/docs/pricing
describe('Gemini', () => {
  it('charges all of a long prompt more: 2.5 Pro at $1.25 and $10, above 200,000 tokens $2.50 and $15', () => {
    const usage = (prompt: number) => ({ prompt_tokens: prompt, completion_tokens: 10, total_tokens: prompt + 10 });
    expect(chat('gemini', 'gemini-2.5-pro', usage(200_000))).toBe(200_000n * 1_250n + 10n * 10_000n);
    expect(chat('gemini', 'gemini-2.5-pro', usage(200_001))).toBe(200_001n * 2_500n + 10n * 15_000n);
  });

  it('bills thinking as output, which its OpenAI surface shows in the total alone', () => {
    const usage = { prompt_tokens: 50, completion_tokens: 10, total_tokens: 80 };
    expect(chat('gemini', 'gemini-2.5-flash', usage)).toBe(50n * 300n + 30n * 2_500n);
  });
});

describe('what other gateways have counted wrong', () => {
  const write = { cache_creation_input_tokens: 1_000 };

  it('cached tokens are not billed a second time as input, nor at the price of input', () => {
    const usage = { prompt_tokens: 10_000, completion_tokens: 0, prompt_tokens_details: { cached_tokens: 10_000 } };
    expect(chat('openai', 'gpt-4o-mini', usage)).toBe(750_000n);
    expect(anthropic('claude-haiku-4-5', { input_tokens: 0, output_tokens: 0, cache_read_input_tokens: 10_000 })).toBe(
      1_000_000n,
    );
  });

  it("Anthropic's input is not lessened by what came from the cache", () => {
    const usage = { input_tokens: 3, output_tokens: 0, cache_read_input_tokens: 50_000 };
    expect(anthropic('claude-haiku-4-5', usage)).toBe(3_000n + 5_000_000n);
  });

  it('a write to the cache is not billed both by its total and by its split, nor an hour as five minutes', () => {
    const none = { input_tokens: 0, output_tokens: 0 };
    expect(anthropic('claude-haiku-4-5', { ...none, ...write })).toBe(1_250_000n);
    const split = { ephemeral_5m_input_tokens: 400, ephemeral_1h_input_tokens: 600 };
    expect(anthropic('claude-haiku-4-5', { ...none, ...write, cache_creation: split })).toBe(500_000n + 1_200_000n);
  });

  it('reasoning is not added to the output that includes it', () => {
    const usage = {
      prompt_tokens: 0,
      completion_tokens: 1_000,
      total_tokens: 1_000,
      completion_tokens_details: { reasoning_tokens: 900 },
    };
    expect(chat('openai', 'gpt-5', usage)).toBe(10_000_000n);
  });

  it('the totals that a stream tells again and again are not added up', () => {
    const watcher = createUsageWatcher();
    const event = (type: string, rest: object) => watcher.event(type, JSON.stringify({ type, ...rest }));
    event('message_start', { message: { usage: { input_tokens: 25, output_tokens: 1, ...write } } });
    event('message_delta', { delta: {}, usage: { input_tokens: 25, output_tokens: 10, ...write } });
    event('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 15 } });
    event('message_stop', {});
    expect(costOf('anthropic', 'claude-haiku-4-5', watcher.usage())).toBe(25n * 1_000n + 15n * 5_000n + 1_250_000n);
  });

  it('a length tier is chosen by the whole prompt, not by what was not cached', () => {
    const usage = { input_tokens: 10, output_tokens: 0, cache_read_input_tokens: 199_991 };
    expect(anthropic('claude-sonnet-4-5', usage)).toBe(10n * 6_000n + 199_991n * 600n);
  });
});
