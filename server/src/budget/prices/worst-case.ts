import { PortcullisError } from '../../base/errors.ts';
import type { NanoUsd } from '../../base/money.ts';
import type { RequestFacts, ServerTool } from '../../llm/facts.ts';
import { type Term, listPrice } from '../../llm/terms.ts';
import { noUsage, type Usage } from '../../llm/usage.ts';
import type { Budget, WorstCase } from '../model.ts';
import { tokenCost, totalTokens } from './cost.ts';
import type { ModelLimits } from './model-limits.ts';
import { type Price, type Rates, type TokenPrices, highestOf, isFree, ratesOn } from './price.ts';

/** Of a call that vendors do not bill, such as counting tokens. */
export const freeOfCharge: WorstCase = { usd: 0n, feesUsd: 0n, tokens: 0n, usage: noUsage, bounded: false };

/** A call whose cost is to be bounded. */
export interface PlannedCall {
  /** The kind of its provider: what that kind adds to a prompt is known. */
  readonly kind: string;
  readonly facts: RequestFacts;
  /** Null where nobody knows it: the call then counts in tokens and requests alone. */
  readonly price: Price | null;
  readonly limits: ModelLimits;
  /** What the provider's account is set to serve on, where a request does not say. */
  readonly standingTerms: readonly Term[];
  /** Those that count the call. */
  readonly budgets: readonly Pick<Budget, 'name' | 'unit'>[];
}

/** Tokens that a provider adds to a prompt beyond the text of the body, from above. */
interface Overhead {
  readonly request: number;
  readonly message: number;
  /** Once, when there are any tools. */
  readonly tools: number;
  readonly tool: number;
  /** A tool whose definition is the provider's own. */
  readonly builtInTool: number;
  /** How often the provider calls its model for one request that has server tools. */
  readonly rounds: number;
}

// Anthropic documents 159 to 530 tokens of system prompt for tools (newer tokenizers count about a third more), 245 to
// 735 for each tool that it defines, and a loop of 10 rounds for server tools. OpenAI documents 3 or 4 tokens a message.
const overheads: Readonly<Record<'anthropic' | 'other', Overhead>> = {
  anthropic: { request: 64, message: 16, tools: 1_024, tool: 64, builtInTool: 4_096, rounds: 11 },
  other: { request: 256, message: 16, tools: 256, tool: 64, builtInTool: 4_096, rounds: 1 },
};

// Anthropic: $0.05 per hour of a container, which no single request outlives.
const containerFeeUsd: NanoUsd = 50_000_000n;

/**
 * An upper bound of what a call can cost, without tokenizing anything: every tokenizer in use is byte-level BPE, so a text
 * has at most as many tokens as bytes. No prompt is longer than the model's context; images and what the provider adds
 * count by their documented maxima; all of it at the dearest class and length tier that can apply.
 * @throws PortcullisError invalid_argument, naming the field, when a budget needs a bound and there is none
 */
export function worstCase(call: PlannedCall): WorstCase {
  const { kind, facts, price, limits } = call;
  const needy = budgetInNeed(call);
  if (needy) refuseUnbounded(needy, call);
  const overhead = kind === 'anthropic' ? overheads.anthropic : overheads.other;
  const known = { ...limits, contextTokens: knownContext(limits, price) };
  const input = inputTokens(facts, known, overhead);
  const output = outputTokens(facts, known) * facts.choices;
  if (!Number.isSafeInteger(input + output)) {
    throw new PortcullisError('invalid_argument', 'max_tokens times n is more than can be counted.', {
      param: 'max_tokens',
    });
  }
  const { usd, usage } = dearest(call, { ...noUsage, input, output, ...searchesOf(call, overhead) });
  const feesUsd = price === null ? 0n : feesOf(call, price);
  return { usd: usd + feesUsd, feesUsd, tokens: totalTokens(usage), usage, bounded: needy !== undefined };
}

/** A budget that must know how much the call can use: one in tokens, or one in money unless the call is free. */
function budgetInNeed({ budgets, price }: PlannedCall): PlannedCall['budgets'][number] | undefined {
  const costs = price !== null && !isFree(price);
  return budgets.find(({ unit }) => unit === 'tokens' || (unit === 'usd' && costs));
}

function refuseUnbounded(budget: PlannedCall['budgets'][number], call: PlannedCall): void {
  const { facts, limits, kind, price } = call;
  const { unbounded, serverTools, media, maxOutputTokens } = facts;
  const refuse = (param: string, advice: string) => {
    const detail = `Budget "${budget.name}" counts this call, and nothing bounds what "${param}" can use: ${advice}.`;
    return new PortcullisError('invalid_argument', detail, { param, rule: 'unbounded' });
  };
  const [field] = unbounded;
  if (field !== undefined) throw refuse(field, 'leave it out, or have an operator take the call out of that budget');
  const term = budget.unit === 'usd' ? unpricedTerm(call) : undefined;
  if (term) throw refuse(term.field, `nobody knows here what "${term.value.slice(0, 100)}" costs, so leave it out`);
  const tool = serverTools.find(({ maxUses }) => maxUses === null);
  if (tool && kind !== 'anthropic') throw refuse(tool.type, 'leave that tool out');
  if (tool && isSearch(tool)) throw refuse(`tools.${tool.type}.max_uses`, 'set it');
  const search = budget.unit === 'usd' && price?.searchUsd === null ? serverTools.find(isSearch) : undefined;
  if (search) throw refuse(search.type, 'nobody knows here what a search costs, so leave that tool out');
  const wholePrompt = media.documents > 0 ? 'document' : serverTools[0]?.type;
  if (wholePrompt !== undefined && limits.contextTokens === null)
    throw refuse(wholePrompt, "the model's context is unknown");
  if (maxOutputTokens === null && limits.maxOutputTokens === null) {
    throw refuse('max_tokens', 'set it, or have an operator declare max_output_tokens for this model');
  }
}

// Anthropic documents one longer context, of a million tokens, which a beta header of the client asks for.
const longContextTokens = 1_000_000;

/** A length tier that begins where the context is said to end tells that the model can be asked for a longer one. */
function knownContext({ contextTokens }: ModelLimits, price: Price | null): number | null {
  if (contextTokens === null) return null;
  const longer = price?.tiers.some(({ aboveInputTokens }) => aboveInputTokens >= contextTokens) ?? false;
  return longer ? Math.max(contextTokens, longContextTokens) : contextTokens;
}

function inputTokens(facts: RequestFacts, limits: ModelLimits, overhead: Overhead): number {
  const { bodyBytes, messageCount, toolCount, builtInTools, serverTools, media } = facts;
  const context = limits.contextTokens ?? Infinity;
  const said =
    bodyBytes -
    media.inlineBytes +
    overhead.request +
    overhead.message * messageCount +
    (toolCount > 0 ? overhead.tools : 0) +
    overhead.tool * toolCount +
    overhead.builtInTool * builtInTools +
    limits.imageTokens * media.images;
  // Neither the pages of a compressed document nor the results of server tools are bounded by anything but the context.
  const prompt =
    (media.documents > 0 || serverTools.length > 0) && context < Infinity ? context : Math.min(said, context);
  return serverTools.length > 0 ? prompt * overhead.rounds : prompt;
}

function outputTokens({ maxOutputTokens }: RequestFacts, limits: ModelLimits): number {
  if (maxOutputTokens === null) return limits.maxOutputTokens ?? 0;
  return Math.min(maxOutputTokens, limits.contextTokens ?? Infinity);
}

function searchesOf({ facts, kind }: PlannedCall, { rounds }: Overhead): Pick<Usage, 'searches'> {
  const tools = kind === 'anthropic' ? facts.serverTools.filter(isSearch) : [];
  if (tools.length === 0) return {};
  return { searches: tools.reduce((sum, { maxUses }) => sum + (maxUses ?? rounds), 0) };
}

/** What no usage reports. */
function feesOf({ facts, kind }: PlannedCall, price: Price): NanoUsd {
  const runsCode = kind === 'anthropic' && !isFree(price) && facts.serverTools.some(runsInContainer);
  return BigInt(facts.media.images) * price.imageUsd + (runsCode ? containerFeeUsd : 0n);
}

function runsInContainer({ type }: ServerTool): boolean {
  return type.startsWith('code_execution');
}

function isSearch({ type }: ServerTool): boolean {
  return type.startsWith('web_search');
}

/** Flex is documented to be never dearer than the list price, whatever exactly it costs. */
const neverDearer: ReadonlySet<string> = new Set(['flex']);

/** On which terms the call may be served: those that it asks for, else those that the account is set to. */
function termsOf({ facts, standingTerms }: PlannedCall): Term[] {
  const standing = standingTerms.filter(({ field }) => facts.terms.every((term) => term.field !== field));
  return [...facts.terms, ...standing].filter(({ value }) => value !== listPrice);
}

function unpricedTerm(call: PlannedCall): Term | undefined {
  const { price } = call;
  if (price === null) return undefined;
  const terms = termsOf(call);
  const alone = terms.find((term) => !neverDearer.has(term.value) && ratesOn(price, [term]) === null);
  return alone ?? (ratesOn(price, priced(price, terms)) === null ? terms[0] : undefined);
}

function priced(price: Price, terms: readonly Term[]): Term[] {
  return terms.filter((term) => ratesOn(price, [term]) !== null);
}

/**
 * All input in one class, at the prices of whichever length tier a prompt of up to `input` tokens makes dearest, on whichever
 * of the possible terms are dearest: a provider may serve on less than was asked for.
 */
function dearest(call: PlannedCall, plain: Usage): { usd: NanoUsd; usage: Usage } {
  const { price } = call;
  if (price === null) return { usd: 0n, usage: plain };
  const { input, output } = plain;
  const none = { ...plain, input: 0 };
  const splits = [plain, { ...none, cacheRead: input }, { ...none, cacheWrite5m: input }];
  if (call.facts.longCacheTtl) splits.push({ ...none, cacheWrite1h: input });
  const usages = splits.flatMap((split) => [split, { ...split, reasoning: output }]);
  const searchesUsd = BigInt(plain.searches ?? 0) * (price.searchUsd ?? 0n);
  let most = { usd: -1n, usage: plain };
  for (const terms of subsets(priced(price, termsOf(call)))) {
    const rates = ratesOn(price, terms);
    if (rates === null) continue;
    const prices = highestReachable(rates, input);
    for (const usage of usages) {
      const usd = roundedUp(tokenCost(prices, usage)) + searchesUsd;
      if (usd > most.usd) most = { usd, usage: terms.length > 0 ? { ...usage, terms } : usage };
    }
  }
  return most;
}

function highestReachable({ base, tiers }: Rates, input: number): TokenPrices {
  return tiers
    .filter((tier) => input > tier.aboveInputTokens)
    .reduce((most, tier) => highestOf(most, tier.prices), base);
}

function subsets<T>(items: readonly T[]): T[][] {
  return items.reduce<T[][]>((sets, item) => [...sets, ...sets.map((set) => [...set, item])], [[]]);
}

function roundedUp(millionths: bigint): NanoUsd {
  return (millionths + 999_999n) / 1_000_000n;
}
