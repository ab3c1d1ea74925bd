import { PortcullisError } from '../../base/errors.ts';
import { callTokensMax } from '../../base/limits.ts';
import { type NanoUsd, maxAmount } from '../../base/money.ts';
import type { RequestFacts, ServerTool } from '../../llm/facts.ts';
import { noUsage, type Usage } from '../../llm/usage.ts';
import type { WorstCase } from '../model.ts';
import { totalTokens } from './cost.ts';
import { dearest } from './dearest.ts';
import type { ModelLimits } from './model-limits.ts';
import type { PlannedCall } from './planned-call.ts';
import { type Price, isFree } from './price.ts';
import { isSearch, refuseUnbounded } from './refuse-unbounded.ts';

/** Of a call that vendors do not bill, such as counting tokens. */
export const freeOfCharge: WorstCase = { usd: 0n, feesUsd: 0n, tokens: 0n, usage: noUsage, bounded: false };

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
  const { kind, facts, price, limits, outputLimitName: param } = call;
  const needy = budgetsInNeed(call);
  for (const budget of needy) refuseUnbounded(budget, call);
  const overhead = kind === 'anthropic' ? overheads.anthropic : overheads.other;
  const known = { ...limits, contextTokens: knownContext(limits, price) };
  const input = inputTokens(facts, known, overhead);
  const output = outputTokens(facts, known) * facts.choices;
  if (input + output > callTokensMax) throw uncountable(param);
  const { usd, usage } = dearest(call, { ...noUsage, input, output, ...searchesOf(call, overhead) });
  const feesUsd = price === null ? 0n : feesOf(call, price);
  // A thousand such holds still fit into one counter.
  if ((usd + feesUsd) * 1_000n > maxAmount) throw uncountable(param);
  return { usd: usd + feesUsd, feesUsd, tokens: totalTokens(usage), usage, bounded: needy.length > 0 };
}

function uncountable(param: string): PortcullisError {
  return new PortcullisError('invalid_argument', `${param} times n is more than can be counted.`, { param });
}

/** The budgets that must know how much the call can use: those in tokens, and those in money unless the call is free. */
function budgetsInNeed({ budgets, price }: PlannedCall): PlannedCall['budgets'] {
  const costs = price !== null && !isFree(price);
  return budgets.filter(({ unit }) => unit === 'tokens' || (unit === 'usd' && costs));
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
