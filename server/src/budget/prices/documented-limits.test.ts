import { expect, test } from 'vitest';
import type { RequestFacts } from '../../llm/facts.ts';
import { PriceBook } from './price-book.ts';
import { at } from './testing/prices.ts';
import { worstCase } from './worst-case.ts';

/** The longest prompt and the longest answer that the vendors document, in tokens: read there, not in the libraries. */
const documented: readonly [vendor: string, model: string, input: number, output: number][] = [
  // platform.claude.com/docs/en/about-claude/models/overview
  ['anthropic', 'claude-haiku-4-5', 200_000, 64_000],
  ['anthropic', 'claude-sonnet-4-5', 1_000_000, 64_000],
  ['anthropic', 'claude-opus-4-8', 1_000_000, 128_000],
  // developers.openai.com/api/docs/models
  ['openai', 'gpt-4o', 128_000, 16_384],
  ['openai', 'gpt-4.1', 1_047_576, 32_768],
  ['openai', 'gpt-5', 400_000, 128_000],
  ['openai', 'gpt-5.4', 1_050_000, 128_000],
  ['openai', 'gpt-5.5', 1_050_000, 128_000],
  ['openai', 'gpt-6-sol', 1_050_000, 128_000],
  ['openai', 'o3', 200_000, 100_000],
  // ai.google.dev/gemini-api/docs/models: two limits, the answer's apart from the prompt's
  ['gemini', 'gemini-2.0-flash', 1_048_576, 8_192],
  ['gemini', 'gemini-2.5-pro', 1_048_576, 65_536],
  ['gemini', 'gemini-2.5-flash', 1_048_576, 65_536],
  ['gemini', 'gemini-2.5-flash-lite', 1_048_576, 65_536],
  ['gemini', 'gemini-2.5-flash-preview-tts', 8_192, 16_384],
  ['gemini', 'gemini-3-flash-preview', 1_048_576, 65_536],
  ['gemini', 'gemini-3.5-flash', 1_048_576, 65_536],
  ['gemini', 'gemini-3.8-flash', 1_048_576, 65_536],
];

const facts: RequestFacts = {
  model: 'm',
  modelRange: { start: 0, end: 0 },
  otherModels: [],
  stream: false,
  maxOutputTokens: 4_000_000,
  thinkingTokens: 0,
  choices: 1,
  usageRequested: true,
  bodyBytes: 4_000_000,
  messageCount: 0,
  toolCount: 0,
  builtInTools: 0,
  media: { images: 0, documents: 0, inlineBytes: 0 },
  serverTools: [],
  unbounded: [],
  terms: [],
  longCacheTtl: false,
  mayReason: true,
};

const book = new PriceBook();

test.each(documented)('%s %s: no less is held than its longest prompt and answer', (kind, model, input, output) => {
  const price = book.price(at(kind), model, Date.parse('2026-11-22'));
  const { usage } = worstCase({
    kind,
    facts,
    price,
    outputLimitName: 'max_tokens',
    limits: book.limits(at(kind), model),
    standingTerms: [],
    budgets: [{ name: 'team', unit: 'usd' }],
  });
  expect(price).not.toBeNull();
  expect(usage.input + usage.cacheRead + usage.cacheWrite5m + usage.cacheWrite1h).toBeGreaterThanOrEqual(input);
  expect(usage.output).toBeGreaterThanOrEqual(output);
});
