import fc from 'fast-check';
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, it, test } from 'vitest';
import { PortcullisError } from '../../base/errors.ts';
import { callTokensMax } from '../../base/limits.ts';
import { maxAmount } from '../../base/money.ts';
import type { RequestFacts } from '../../llm/facts.ts';
import { type Term, listPrice } from '../../llm/terms.ts';
import { noUsage } from '../../llm/usage.ts';
import type { ModelLimits } from './model-limits.ts';
import { makePrice } from './price.ts';
import { PriceBook } from './price-book.ts';
import { at, declaredPrice } from './testing/prices.ts';
import type { PlannedCall } from './planned-call.ts';
import { worstCase } from './worst-case.ts';

const book = new PriceBook();
const now = Date.parse('2026-11-22');
const money = { name: 'team', unit: 'usd' } as const;
const tokens = { name: 'tokens', unit: 'tokens' } as const;
const requests = { name: 'requests', unit: 'requests' } as const;

const facts: RequestFacts = {
  model: 'm',
  modelRange: { start: 0, end: 0 },
  otherModels: [],
  stream: false,
  maxOutputTokens: 100,
  thinkingTokens: 0,
  choices: 1,
  usageRequested: true,
  bodyBytes: 1_000,
  messageCount: 0,
  toolCount: 0,
  builtInTools: 0,
  media: { images: 0, documents: 0, inlineBytes: 0 },
  serverTools: [],
  unbounded: [],
  terms: [],
  longCacheTtl: false,
  mayReason: false,
};

function planned(
  kind: string,
  model: string,
  known: Partial<RequestFacts> = {},
  rest: Partial<PlannedCall> = {},
): PlannedCall {
  return {
    kind,
    facts: { ...facts, ...known },
    outputLimitName: 'max_tokens',
    price: book.price(at(kind), model, now),
    limits: book.limits(at(kind), model),
    standingTerms: [],
    budgets: [money],
    ...rest,
  };
}

/** What is held for a call; nothing where it is refused. */
function heldOrRefused(call: PlannedCall): bigint {
  try {
    return worstCase(call).usd;
  } catch (error) {
    if (error instanceof PortcullisError && error.code === 'invalid_argument') return 0n;
    throw error;
  }
}

const haiku = (known: Partial<RequestFacts> = {}, rest: Partial<PlannedCall> = {}) =>
  worstCase(planned('anthropic', 'claude-haiku-4-5', known, rest));

describe('the worst case', () => {
  it('bounds text by its bytes, at the dearest class that applies', () => {
    // 1,000 bytes and 64 tokens of overhead, all written to the cache at $1.25, and 100 tokens out at $5.
    expect(haiku()).toEqual({
      usd: 1_064n * 1_250n + 100n * 5_000n,
      feesUsd: 0n,
      tokens: 1_164n,
      usage: { ...noUsage, cacheWrite5m: 1_064, output: 100 },
      bounded: true,
    });
    expect(haiku({ longCacheTtl: true }).usd).toBe(1_064n * 2_000n + 100n * 5_000n);
  });

  it('counts what the provider adds for messages and tools', () => {
    const plain = haiku().tokens;
    expect(haiku({ messageCount: 10 }).tokens - plain).toBe(160n);
    expect(haiku({ toolCount: 2 }).tokens - plain).toBe(1_024n + 128n);
    expect(haiku({ toolCount: 1, builtInTools: 1 }).tokens - plain).toBe(1_024n + 64n + 4_096n);
  });

  it('counts an image by its maximum, not by the bytes of its base64', () => {
    const media = { ...facts.media, images: 2, inlineBytes: 3_000_000 };
    expect(haiku({ bodyBytes: 3_001_000, media }).tokens - haiku().tokens).toBe(2n * 4_784n);
  });

  it('is never more than the context, which is also the worst of a document', () => {
    expect(haiku({ bodyBytes: 5_000_000 }).usage.cacheWrite5m).toBe(200_000);
    const media = { ...facts.media, documents: 1, inlineBytes: 14 };
    expect(haiku({ media }).usage.cacheWrite5m).toBe(200_000);
  });

  it('takes the dearer tier as soon as the prompt can reach it', () => {
    const call = (bodyBytes: number) =>
      worstCase(planned('anthropic', 'claude-sonnet-4-5', { bodyBytes }, { limits: wide }));
    const wide: ModelLimits = { contextTokens: 1_000_000, maxOutputTokens: 64_000, imageTokens: 4_784 };
    expect(call(199_936).usd).toBe(200_000n * 3_750n + 100n * 15_000n);
    expect(call(199_937).usd).toBe(200_001n * 7_500n + 100n * 22_500n);
  });

  it('does not believe a context above which the price sheet has a tier: a beta header asks for the longer one', () => {
    const limits: ModelLimits = { contextTokens: 200_000, maxOutputTokens: 64_000, imageTokens: 4_784 };
    const worst = worstCase(planned('anthropic', 'claude-sonnet-4-5', { bodyBytes: 900_000 }, { limits }));
    expect(worst.usage.cacheWrite5m).toBeGreaterThan(900_000);
    expect(worst.usd).toBeGreaterThan(900_000n * 7_500n);
  });

  it('multiplies the answer by the choices asked for, and takes the cap of the model where none is asked', () => {
    expect(worstCase(planned('openai', 'gpt-4o', { choices: 3 })).usage.output).toBe(300);
    expect(worstCase(planned('openai', 'gpt-4o', { maxOutputTokens: null })).usage.output).toBe(16_384);
  });

  it('counts each round of server tools as a whole context, and their fees at their most uses', () => {
    const worst = haiku({
      serverTools: [
        { type: 'web_search_20250305', maxUses: 8 },
        { type: 'code_execution_20250825', maxUses: null },
      ],
    });
    expect(worst.usage.cacheWrite5m).toBe(11 * 200_000);
    // Searches are reported, and settled at what they were; the hours of a container are not.
    expect(worst.usage.searches).toBe(8);
    expect(worst.feesUsd).toBe(50_000_000n);
    expect(worst.usd).toBe(2_200_000n * 1_250n + 100n * 5_000n + 8n * 10_000_000n + worst.feesUsd);
  });

  it('counts what an image costs by the piece, where it does', () => {
    const price = makePrice('test', declaredPrice('openai', { input: 0n, output: 1n }), { imageUsd: 7n });
    const media = { ...facts.media, images: 3 };
    expect(worstCase(planned('openai', 'gpt-4o', { media, maxOutputTokens: 0 }, { price }))).toMatchObject({
      usd: 21n,
      feesUsd: 21n,
    });
  });
});

describe('the terms of service', () => {
  const tier = (value: string): Term => ({ field: 'service_tier', value });
  const plain = worstCase(planned('openai', 'gpt-5')).usd;
  const usd = (known: Partial<RequestFacts>, rest: Partial<PlannedCall> = {}) =>
    worstCase(planned('openai', 'gpt-5', known, rest)).usd;

  it('hold the price of those that are asked for, and not less than the list price', () => {
    expect(usd({ terms: [tier('priority')] })).toBe(2n * plain);
    expect(worstCase(planned('openai', 'gpt-5', { terms: [tier('priority')] })).usage.terms).toEqual([
      tier('priority'),
    ]);
    // A flex call may be served as any other.
    expect(usd({ terms: [tier('flex')] })).toBe(plain);
  });

  it('are those of the account where the call does not say', () => {
    const standingTerms = [tier('priority')];
    expect(usd({}, { standingTerms })).toBe(2n * plain);
    expect(usd({ terms: [tier(listPrice)] }, { standingTerms })).toBe(plain);
  });

  it('multiply each other', () => {
    const opus = (terms: Term[]) => worstCase(planned('anthropic', 'claude-opus-4-8', { terms })).usd;
    const fast: Term = { field: 'speed', value: 'fast' };
    const us: Term = { field: 'inference_geo', value: 'us' };
    expect(opus([fast])).toBe(2n * opus([]));
    expect(opus([fast, us])).toBe((opus([]) * 22n) / 10n);
  });

  it.each<[string, string, Term, string]>([
    ['openai', 'gpt-5-nano', tier('priority'), 'service_tier'],
    ['openai', 'gpt-5', tier('ultrafast'), 'service_tier'],
    ['anthropic', 'claude-haiku-4-5', { field: 'speed', value: 'fast' }, 'speed'],
    ['anthropic', 'claude-opus-4-8', { field: 'inference_geo', value: 'mars' }, 'inference_geo'],
  ])('of unknown price are refused by name: %s %s %j', (kind, model, term, param) => {
    const call = (budgets: PlannedCall['budgets']) => worstCase(planned(kind, model, { terms: [term] }, { budgets }));
    expect(() => call([money])).toThrow(expect.objectContaining({ members: { param, rule: 'unbounded' } }));
    expect(() => call([money])).toThrow(`what "${term.value}" costs`);
    // A budget in tokens does not care, and takes nothing from one that does.
    expect(call([tokens]).bounded).toBe(true);
    expect(() => call([tokens, money])).toThrow('Budget "team"');
  });

  it('of unknown price are let pass where they are documented to be no dearer', () => {
    const flex = worstCase(planned('gemini', 'gemini-2.5-flash', { terms: [tier('flex')] }));
    expect(flex.usd).toBe(worstCase(planned('gemini', 'gemini-2.5-flash')).usd);
  });
});

describe('what nothing bounds is refused by name', () => {
  it.each<[string, Partial<RequestFacts>, string]>([
    [
      'a field that the facts name',
      { unbounded: ['messages[3].content[0].source.url', 'speed'] },
      'messages[3].content[0].source.url',
    ],
    [
      'a search without a number',
      { serverTools: [{ type: 'web_search_20250305', maxUses: null }] },
      'tools.web_search_20250305.max_uses',
    ],
  ])('%s', (_, known, param) => {
    expect(() => haiku(known)).toThrow(
      expect.objectContaining({ code: 'invalid_argument', members: { param, rule: 'unbounded' } }),
    );
    expect(() => haiku(known)).toThrow(`Budget "team" counts this call, and nothing bounds what "${param}" can use`);
  });

  it.each<[string, Partial<RequestFacts>, string]>([
    ['no output limit, and no cap of the model', { maxOutputTokens: null }, 'max_output_tokens'],
    ['a document, and no known context', { media: { ...facts.media, documents: 1 } }, 'document'],
    [
      'a server tool of a vendor whose uses nobody bounds',
      { serverTools: [{ type: 'web_search', maxUses: null }] },
      'web_search',
    ],
  ])('%s', (_, known, param) => {
    const price = declaredPrice('openai-compatible', { input: 1n, output: 1n });
    const call = () =>
      worstCase(planned('openai-compatible', 'qwen3:8b', known, { price, outputLimitName: 'max_output_tokens' }));
    expect(call).toThrow(expect.objectContaining({ members: expect.objectContaining({ param }) }));
  });

  it('only where a budget needs the bound', () => {
    const wild = { unbounded: ['x'], maxOutputTokens: null, serverTools: [{ type: 'y', maxUses: null }] };
    const local = (rest: Partial<PlannedCall>) => worstCase(planned('openai-compatible', 'qwen3:8b', wild, rest));
    const free = declaredPrice('openai-compatible', 'free');
    expect(local({ price: free, budgets: [money, requests] })).toMatchObject({ usd: 0n, bounded: false });
    expect(local({ price: null, budgets: [requests] })).toMatchObject({ usd: 0n, bounded: false });
    expect(() => local({ price: free, budgets: [tokens] })).toThrow('Budget "tokens"');
    expect(() => local({ price: declaredPrice('x', { input: 0n, output: 1n }), budgets: [money] })).toThrow(
      'Budget "team"',
    );
  });

  it('and so are more answers than OpenAI documents', () => {
    const call = (choices: number, budgets = [money]) =>
      worstCase(planned('openai', 'gpt-4o', { choices }, { budgets }));
    expect(call(128).usage.output).toBe(12_800);
    expect(() => call(129)).toThrow(expect.objectContaining({ members: { param: 'n', rule: 'unbounded' } }));
    expect(call(129, []).bounded).toBe(false);
  });

  it('so that no worst case is more than the ledger can hold', () => {
    const dear = declaredPrice('openai-compatible', { input: 10n ** 13n, output: 10n ** 13n });
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.boolean(), (maxOutputTokens, choices, isCounted) => {
        const rest = { price: dear, budgets: isCounted ? [money] : [] };
        const usd = heldOrRefused(planned('openai-compatible', 'm', { maxOutputTokens, choices }, rest));
        expect(usd * 1_000n).toBeLessThanOrEqual(maxAmount);
      }),
    );
  });

  it('and so is an answer too long to be counted', () => {
    const call = (maxOutputTokens: number) =>
      planned(
        'openai',
        'gpt-4o',
        { maxOutputTokens, choices: 2 },
        { price: null, limits: book.limits(at('none'), '') },
      );
    expect(() => worstCase(call(Number.MAX_SAFE_INTEGER))).toThrow('max_tokens times n');
    expect(() => worstCase(call(callTokensMax / 2))).toThrow('max_tokens times n');
    expect(worstCase(call(2 ** 31 - 1)).usage.output).toBe(2 ** 32 - 2);
  });
});

test('no text has more tokens than its JSON has bytes', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' })), (text) => {
      expect(countTokens(text)).toBeLessThanOrEqual(Buffer.byteLength(JSON.stringify(text)));
    }),
    { numRuns: 300 },
  );
});
