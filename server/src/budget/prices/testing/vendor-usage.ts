import fc from 'fast-check';
import type { RequestFacts } from '../../../llm/facts.ts';
import { type Term, listPrice } from '../../../llm/terms.ts';
import { type Usage, noUsage } from '../../../llm/usage.ts';
import type { ModelLimits } from '../model-limits.ts';
import { type Price, makePrice } from '../price.ts';
import { PriceBook } from '../price-book.ts';
import type { PlannedCall } from '../planned-call.ts';
import { at, declaredPrice, publicPrice } from './prices.ts';

/** A call, and what its provider may report and bill for it by its own documentation. */
export interface Billed {
  readonly call: PlannedCall;
  readonly usage: Usage;
  /** What no usage reports. */
  readonly feesUsd: bigint;
}

/** What a vendor documents of how it counts; written from the documentation, not from the bound that is tested by it. */
interface Vendor {
  readonly kind: string;
  readonly model: string;
  readonly price: Price;
  /** The longest prompt that the model takes, with every beta. */
  readonly promptMax: number;
  readonly imageTokensMax: number;
  readonly messageTokens: number;
  /** The system prompt that tools bring with them, and each tool that the vendor defines. */
  readonly toolsTokens: number;
  readonly builtInToolTokens: number;
  /** How often a loop of server tools reads the prompt (once, and up to ten times more); 0 where such calls are refused. */
  readonly rounds: number;
  readonly embeds?: boolean;
}

const anthropic = { kind: 'anthropic', imageTokensMax: 4_784, messageTokens: 4, toolsTokens: 804, rounds: 11 };
const openai = { kind: 'openai', imageTokensMax: 24_600, messageTokens: 4, toolsTokens: 12, rounds: 0 };
const builtIn = { builtInToolTokens: 735 };
const own = declaredPrice('openai-compatible', {
  input: 250_000_000n,
  output: 1_000_000_000n,
  reasoning: 9_000_000_000n,
});

function vendors(): Vendor[] {
  const claude = (model: string, promptMax: number): Vendor => ({
    ...anthropic,
    ...builtIn,
    model,
    promptMax,
    price: publicPrice('anthropic', model),
  });
  const gpt = (model: string, promptMax: number): Vendor => ({
    ...openai,
    ...builtIn,
    model,
    promptMax,
    price: publicPrice('openai', model),
  });
  const gemini = (model: string, promptMax: number): Vendor => ({
    ...small,
    kind: 'gemini',
    model,
    promptMax,
    price: publicPrice('gemini', model),
  });
  const small = { ...openai, ...builtIn, imageTokensMax: 48_169 };
  return [
    claude('claude-haiku-4-5', 200_000),
    claude('claude-sonnet-4-5', 1_000_000),
    claude('claude-opus-4-8', 1_000_000),
    gpt('gpt-4o', 128_000),
    gpt('gpt-4o-mini', 128_000),
    gpt('gpt-5.4', 1_050_000),
    gpt('gpt-6-sol', 1_050_000),
    {
      ...small,
      kind: 'openai',
      model: 'text-embedding-3-small',
      promptMax: 300_000,
      embeds: true,
      price: publicPrice('openai', 'text-embedding-3-small'),
    },
    gemini('gemini-2.5-flash', 1_048_576),
    gemini('gemini-3.5-flash', 1_048_576),
    { ...small, kind: 'azure', model: 'my-deployment', promptMax: 2_000_000, price: own },
    {
      ...small,
      kind: 'openai-compatible',
      model: 'qwen',
      promptMax: 2_000_000,
      price: makePrice('test', own, { imageUsd: 3_000_000n }),
    },
    { ...small, kind: 'sim', model: 'sim-1', promptMax: 2_000_000, price: own },
  ].map((vendor) => (vendor.model === 'gpt-4o-mini' ? { ...vendor, imageTokensMax: 48_169 } : vendor));
}

/** Any count up to the most, and the most itself as often: a bound is tried where it is tight. */
function upTo(most: number): fc.Arbitrary<number> {
  return fc.oneof(fc.constant(most), fc.nat(most));
}

const media = fc.record({ images: fc.nat(20), documents: fc.nat(2), inlineBytes: fc.constant(0) });

/** Vectors are of text alone, and a document is bounded by nothing but a context that is known. */
function mediaFor(
  { kind, embeds }: Vendor,
  { images, documents, inlineBytes }: RequestFacts['media'],
): RequestFacts['media'] {
  if (embeds) return { images: 0, documents: 0, inlineBytes };
  return { images, documents: kind === 'anthropic' || kind === 'openai' ? documents : 0, inlineBytes };
}

function requests(vendor: Vendor): fc.Arbitrary<RequestFacts> {
  const { kind, rounds, embeds, price } = vendor;
  // One service at a time: nobody offers two.
  const services = fc.option(fc.constantFrom(...price.services.keys(), listPrice));
  const generates = embeds ? 0 : 1;
  return fc
    .record({
      textBytes: fc.oneof(fc.nat(10_000), upTo(1_500_000)),
      messageCount: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 2_000 })),
      toolCount: fc.nat(30),
      builtInTools: fc.nat(3),
      media,
      maxOutputTokens: fc.nat(60_000),
      choices: kind === 'anthropic' ? fc.constant(1) : fc.integer({ min: 1, max: 5 }),
      longCacheTtl: fc.boolean(),
      search: fc.option(fc.nat(8)),
      runsCode: fc.boolean(),
      service: services,
      factors: fc.subarray([...price.factors.keys()]),
    })
    .map(({ textBytes, search, runsCode, service, factors, ...rest }) => ({
      model: 'm',
      modelRange: { start: 0, end: 0 },
      otherModels: [],
      stream: false,
      thinkingTokens: 0,
      usageRequested: true,
      unbounded: [],
      mayReason: true,
      ...rest,
      bodyBytes: textBytes,
      maxOutputTokens: rest.maxOutputTokens * generates,
      choices: generates ? rest.choices : 1,
      media: mediaFor(vendor, rest.media),
      serverTools:
        rounds === 0
          ? []
          : [
              ...(search === null ? [] : [{ type: 'web_search_20250305', maxUses: search }]),
              ...(runsCode ? [{ type: 'code_execution_20250825', maxUses: null }] : []),
            ],
      terms: [...(service === null ? [] : [service]), ...factors].map((value): Term => ({
        field: fieldOf(value),
        value,
      })),
    }));
}

function fieldOf(value: string): Term['field'] {
  if (value === 'us') return 'inference_geo';
  return value === 'fast' ? 'speed' : 'service_tier';
}

/** What the provider may answer: any split in classes, any of the terms that apply or the usual ones, up to every maximum. */
function answers(vendor: Vendor, facts: RequestFacts, standing: readonly Term[]): fc.Arbitrary<Omit<Billed, 'call'>> {
  const { messageCount, toolCount, builtInTools, serverTools, choices, maxOutputTokens } = facts;
  // A tokenizer that starts from bytes has at most one token for each.
  const once = Math.min(
    vendor.promptMax,
    facts.media.documents > 0 || serverTools.length > 0
      ? vendor.promptMax
      : facts.bodyBytes +
          vendor.messageTokens * messageCount +
          (toolCount > 0 ? vendor.toolsTokens : 0) +
          vendor.builtInToolTokens * builtInTools +
          vendor.imageTokensMax * facts.media.images,
  );
  const promptMost = once * (serverTools.length > 0 ? vendor.rounds : 1);
  const possible = [
    ...facts.terms,
    ...standing.filter(({ field }) => facts.terms.every((term) => term.field !== field)),
  ];
  const searchesMost = serverTools.reduce(
    (sum, { type, maxUses }) => sum + (type.startsWith('web') ? (maxUses ?? 0) : 0),
    0,
  );
  return fc
    .record({
      prompt: upTo(promptMost),
      shares: fc.oneof(
        fc.constantFrom([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]),
        fc.array(fc.nat(100), { minLength: 4, maxLength: 4 }),
      ),
      output: upTo((maxOutputTokens ?? 0) * choices),
      reasoningShare: fc.constantFrom(0, 0.5, 1),
      searches: upTo(searchesMost),
      terms: fc.oneof(fc.constant(possible), fc.subarray(possible)),
    })
    .map(({ prompt, shares, output, reasoningShare, searches, terms }) => ({
      usage: {
        ...split(prompt, shares, facts.longCacheTtl),
        output,
        reasoning: Math.floor(output * reasoningShare),
        ...(searchesMost > 0 && { searches }),
        terms: terms.filter(({ value }) => value !== listPrice),
      },
      feesUsd:
        BigInt(facts.media.images) * vendor.price.imageUsd +
        (serverTools.some(({ type }) => type.startsWith('code')) ? 50_000_000n : 0n),
    }));
}

function split(prompt: number, shares: readonly number[], longTtl: boolean): Usage {
  const sum = shares.reduce((a, b) => a + b, 0) || 1;
  const [, read = 0, written = 0, late = 0] = shares.map((share) => Math.floor((prompt * share) / sum));
  const cacheWrite1h = longTtl ? late : 0;
  return {
    ...noUsage,
    input: prompt - read - written - cacheWrite1h,
    cacheRead: read,
    cacheWrite5m: written,
    cacheWrite1h,
  };
}

const book = new PriceBook();

/** Calls of every kind of provider, each with what it may be billed. */
export function billed(): fc.Arbitrary<Billed> {
  return fc.constantFrom(...vendors()).chain((vendor) => {
    const known = book.limits(at(vendor.kind), vendor.model);
    const limits: ModelLimits = { ...known, contextTokens: vendor.embeds ? null : known.contextTokens };
    const standing: fc.Arbitrary<readonly Term[]> = vendor.price.services.has('priority')
      ? fc.constantFrom([], [{ field: 'service_tier', value: 'priority' }])
      : fc.constant([]);
    return fc.tuple(requests(vendor), standing).chain(([facts, standingTerms]) =>
      answers(vendor, facts, standingTerms).map((answer) => ({
        ...answer,
        call: {
          kind: vendor.kind,
          facts,
          outputLimitName: 'max_tokens',
          price: vendor.price,
          limits,
          standingTerms,
          budgets: [{ name: 'team', unit: 'usd' }],
        },
      })),
    );
  });
}
