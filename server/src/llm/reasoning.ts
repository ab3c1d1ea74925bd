import type { Capabilities } from './capabilities.ts';
import type { Conversation, ReasoningEffort, ReasoningRequest } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import type { Losses } from './losses.ts';

/** What an effort is in tokens, for models that are told a budget. Anthropic's least is 1,024. */
const budgets: Readonly<Record<Exclude<ReasoningEffort, 'none'>, number>> = {
  minimal: 1_024,
  low: 2_048,
  medium: 8_192,
  high: 16_384,
  xhigh: 32_768,
  max: 65_536,
};
const budgetTokensMin = 1_024;

/** With thinking Anthropic takes no lower top_p. */
const thinkingTopPMin = 0.95;

/**
 * The wish to think, in the way that the model is told it. It changes how well a model answers, not what is asked: where
 * it cannot be told, or not together with something that was asked, it is dropped and listed. `conversation` holds no
 * reasoning any more but of the provider that it goes to.
 */
export function fitReasoning(
  conversation: Conversation,
  to: Dialect,
  capabilities: Capabilities,
  losses: Losses,
): ReasoningRequest | null {
  const { reasoning } = conversation;
  if (reasoning === null || (reasoning.effort === 'none' && capabilities.reasoning !== 'none')) return reasoning;
  const fitted = tellable(reasoning, conversation, to, capabilities);
  // Anthropic's models do not think unless they are told to.
  if (fitted === null && (reasoning.effort !== 'none' || to !== 'anthropic')) losses.hint('reasoning');
  return fitted;
}

/** Null where the model cannot be told. */
function tellable(
  reasoning: ReasoningRequest,
  conversation: Conversation,
  to: Dialect,
  { reasoning: kind, maxOutputTokens: cap }: Capabilities,
): ReasoningRequest | null {
  if (kind === 'none' || (to === 'anthropic' && forbidsThinking(conversation))) return null;
  // Only Anthropic's dialect has a word for a budget.
  if (kind === 'effort' || to !== 'anthropic')
    return { ...reasoning, effort: reasoning.effort ?? effortOf(reasoning), budgetTokens: null };
  if (continuesUnsealed(conversation)) return null;
  const budgetTokens = budgetOf(reasoning, Math.min(conversation.maxOutputTokens ?? Infinity, cap ?? Infinity));
  return budgetTokens < budgetTokensMin ? null : { ...reasoning, effort: null, budgetTokens };
}

/** Tokens to think with, out of a limit that the answer shares: what an effort stands for leaves half of it. */
function budgetOf({ budgetTokens, effort }: ReasoningRequest, limit: number): number {
  if (budgetTokens !== null) return Math.min(Math.max(budgetTokens, budgetTokensMin), limit - 1);
  return Math.min(budgets[effort === null || effort === 'none' ? 'medium' : effort], Math.floor(limit / 2));
}

/** No more than high: many a model knows no word beyond it, and refuses what it does not know. */
function effortOf({ budgetTokens }: ReasoningRequest): ReasoningEffort | null {
  if (budgetTokens === null) return null;
  if (budgetTokens <= budgets.low) return 'low';
  return budgetTokens <= budgets.medium ? 'medium' : 'high';
}

/** Anthropic does not think where a call is forced, nor with a temperature or a narrow top_p. */
function forbidsThinking({ toolChoice: { mode }, temperature, topP }: Conversation): boolean {
  const forced = mode === 'required' || mode === 'tool';
  return forced || (temperature !== null && temperature !== 1) || (topP !== null && topP < thinkingTopPMin);
}

/** Anthropic refuses a budget for thinking where the turn that goes on called a tool and did not begin with thinking. */
function continuesUnsealed({ turns }: Conversation): boolean {
  const results = turns.findLast(({ role }) => role === 'user');
  const answered = results?.blocks.some(({ type }) => type === 'tool_result') ?? false;
  return answered && turns.findLast(({ role }) => role === 'assistant')?.blocks[0]?.type !== 'reasoning';
}
