import { PortcullisError } from '../../base/errors.ts';
import type { NanoUsd } from '../../base/money.ts';
import type { RequestFacts, ServerTool } from '../../llm/facts.ts';
import { noUsage, type Usage } from '../../llm/usage.ts';
import { cost, totalTokens } from './cost.ts';
import type { Budget, Price, TokenPrices, WorstCase } from '../model.ts';
import type { ModelLimits } from './price-book.ts';

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

// Anthropic: $10 per 1,000 searches; $0.05 per hour of a container, which no single request outlives.
const searchFeeUsd: NanoUsd = 10_000_000n;
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
  const feesUsd =
    price === null || isFree(price) || kind !== 'anthropic' ? 0n : serverToolFees(facts.serverTools, overhead);
  const { usd, usage } = dearest(price, input, output, facts.longCacheTtl);
  return { usd: usd + feesUsd, feesUsd, tokens: totalTokens(usage), usage, bounded: needy !== undefined };
}

/** A budget that must know how much the call can use: one in tokens, or one in money unless the call is free. */
function budgetInNeed({ budgets, price }: PlannedCall): PlannedCall['budgets'][number] | undefined {
  const costs = price !== null && !isFree(price);
  return budgets.find(({ unit }) => unit === 'tokens' || (unit === 'usd' && costs));
}

function refuseUnbounded(budget: { readonly name: string }, { facts, limits, kind }: PlannedCall): void {
  const { unbounded, serverTools, media, maxOutputTokens } = facts;
  const refuse = (param: string, advice: string) => {
    const detail = `Budget "${budget.name}" counts this call, and nothing bounds what "${param}" can use: ${advice}.`;
    return new PortcullisError('invalid_argument', detail, { param, rule: 'unbounded' });
  };
  const [field] = unbounded;
  if (field !== undefined) throw refuse(field, 'leave it out, or have an operator take the call out of that budget');
  const tool = serverTools.find(({ maxUses }) => maxUses === null);
  if (tool && kind !== 'anthropic') throw refuse(tool.type, 'leave that tool out');
  if (tool && isSearch(tool)) throw refuse(`tools.${tool.type}.max_uses`, 'set it');
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

function serverToolFees(tools: readonly ServerTool[], { rounds }: Overhead): NanoUsd {
  const searches = tools.filter(isSearch).reduce((sum, { maxUses }) => sum + (maxUses ?? rounds), 0);
  const runsCode = tools.some(({ type }) => type.startsWith('code_execution'));
  return BigInt(searches) * searchFeeUsd + (runsCode ? containerFeeUsd : 0n);
}

function isSearch({ type }: ServerTool): boolean {
  return type.startsWith('web_search');
}

/** All input in one class: at the prices of whichever length tier a prompt of up to `input` tokens makes dearest. */
function dearest(
  price: Price | null,
  input: number,
  output: number,
  longCacheTtl: boolean,
): { usd: NanoUsd; usage: Usage } {
  const plain = { ...noUsage, input, output };
  if (price === null) return { usd: 0n, usage: plain };
  const usages = [plain, { ...noUsage, output, cacheRead: input }, { ...noUsage, output, cacheWrite5m: input }];
  if (longCacheTtl) usages.push({ ...noUsage, output, cacheWrite1h: input });
  const reachable = [
    price.base,
    ...price.tiers.filter((tier) => input > tier.aboveInputTokens).map((tier) => tier.prices),
  ];
  const highest = reachable.reduce(highestOf);
  return usages
    .map((usage) => ({ usage, usd: cost({ ...price, base: highest, tiers: [] }, usage) }))
    .reduce((most, one) => (one.usd > most.usd ? one : most));
}

function highestOf(one: TokenPrices, other: TokenPrices): TokenPrices {
  const higher = (a: NanoUsd, b: NanoUsd) => (a > b ? a : b);
  return {
    input: higher(one.input, other.input),
    output: higher(one.output, other.output),
    cacheRead: higher(one.cacheRead, other.cacheRead),
    cacheWrite5m: higher(one.cacheWrite5m, other.cacheWrite5m),
    cacheWrite1h: higher(one.cacheWrite1h, other.cacheWrite1h),
  };
}

function isFree({ base, tiers }: Price): boolean {
  return [base, ...tiers.map(({ prices }) => prices)].every((prices) =>
    Object.values(prices).every((usd) => usd === 0n),
  );
}
