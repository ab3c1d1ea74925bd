import type { Conversation, Turn } from './conversation.ts';
import { type PromptTokens, totalTokens, turnTokens } from './tokens.ts';

/** What was taken out of a conversation. */
export interface Trimmed {
  readonly turns: number;
  /** As far as they can be estimated. */
  readonly tokens: number;
}

export interface TrimmedConversation {
  readonly conversation: Conversation;
  readonly trimmed: Trimmed;
  /** What is left of the prompt. */
  readonly promptTokens: number;
}

/**
 * Of what turns may take of a window, so much goes at a time: as the conversation grows by that much, all its requests
 * are cut in the same place and begin alike, so that the provider finds them in its prompt cache.
 */
const stepShare = 1 / 4;

/**
 * Takes out the oldest turns, whole exchanges at a time, until at most `limitTokens` are left or nothing more may go,
 * and then as many more as make the step full (`stepShare`):
 * first what came before the newest request of a person, each request with all that was answered to it; then, of the
 * work on that newest request, the oldest rounds of calls and results (what a person said along with results stays).
 *
 * System prompts, tools, the newest request and the last round stay: no call loses its result and no result its call,
 * the first turn is a person's, and what is left keeps its order.
 */
export function trimOldest(conversation: Conversation, sizes: PromptTokens, limitTokens: number): TrimmedConversation {
  const turns: (Turn | null)[] = [...conversation.turns];
  const whole = totalTokens(sizes);
  const step = Math.max(1, Math.floor((limitTokens - sizes.fixed) * stepShare));
  const goalTokens = whole - Math.ceil(Math.max(0, whole - limitTokens) / step) * step;
  let promptTokens = whole;
  let removed = 0;
  for (const { from, to, keepsWords } of exchanges(conversation.turns)) {
    if (promptTokens <= goalTokens) break;
    for (let at = from; at < to; at++) {
      const turn = turns[at] ?? null;
      if (turn === null || turn.role === 'system') continue;
      const counts = sizes.turns[at] ?? [];
      const words = keepsWords && turn.role === 'user' ? wordsOf(turn, counts) : null;
      turns[at] = words?.turn ?? null;
      promptTokens -= turnTokens(counts) - (words?.tokens ?? 0);
      removed++;
    }
  }
  return {
    conversation: { ...conversation, turns: joined(turns) },
    trimmed: { turns: removed, tokens: whole - promptTokens },
    promptTokens,
  };
}

/** Turns that go together, from one position to before another. */
interface Exchange {
  readonly from: number;
  readonly to: number;
  /** Whether what a person said in it stays. */
  readonly keepsWords: boolean;
}

/** What may be taken out, oldest first. */
function exchanges(turns: readonly Turn[]): Exchange[] {
  const requests = turns.flatMap((turn, at) => (isRequest(turn) ? [at] : []));
  const newest = requests.at(-1);
  if (newest === undefined) return [];
  const rounds = turns.flatMap(({ role }, at) => (role === 'assistant' && at > newest ? [at] : []));
  return [...between([0, ...requests], false), ...between(rounds, true)];
}

function between(starts: readonly number[], keepsWords: boolean): Exchange[] {
  return starts.slice(1).map((to, i) => ({ from: starts[i] ?? 0, to, keepsWords }));
}

/** A turn that does not go on with what the model called. */
function isRequest({ role, blocks }: Turn): boolean {
  return role === 'user' && blocks.every(({ type }) => type !== 'tool_result');
}

/** A turn without its tool results; null where it has nothing else. */
function wordsOf(
  { blocks }: Extract<Turn, { role: 'user' }>,
  counts: readonly number[],
): { readonly turn: Turn; readonly tokens: number } | null {
  const said = blocks.filter(({ type }) => type !== 'tool_result');
  if (said.length === 0) return null;
  const tokens = turnTokens(counts.filter((_, i) => blocks[i]?.type !== 'tool_result'));
  return { turn: { role: 'user', blocks: said }, tokens };
}

/** In normal form: turns of one role that came to stand together become one. */
function joined(turns: readonly (Turn | null)[]): Turn[] {
  const whole: Turn[] = [];
  for (const turn of turns) {
    const last = whole.at(-1);
    if (turn === null) continue;
    // Blocks of one role go together, which the type of the list cannot say.
    if (last?.role === turn.role)
      whole[whole.length - 1] = { ...last, blocks: [...last.blocks, ...turn.blocks] } as Turn;
    else whole.push(turn);
  }
  return whole;
}
