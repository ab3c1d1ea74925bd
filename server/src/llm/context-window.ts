import { PortcullisError } from '../base/errors.ts';
import type { Capabilities } from './capabilities.ts';
import type { Conversation } from './conversation.ts';
import type { Dialect } from './dialect.ts';
import type { RequestFacts } from './facts.ts';
import { documentTokens, estimateTokens, imageTokens, totalTokens } from './tokens.ts';
import { type Trimmed, trimOldest } from './trim.ts';

/** Room for an answer: the most that a prompt must leave, and the most of a window that is kept for it. */
const answerTokensMax = 4_096;
const answerShare = 1 / 4;

/** How a conversation is to be brought into a window. */
export interface WindowRules {
  /** The caller's dialect: it has its own wording for what is too long. */
  readonly dialect: Dialect;
  /** The target's. */
  readonly capabilities: Pick<Capabilities, 'contextTokens' | 'maxOutputTokens'>;
  readonly trim: 'refuse' | 'oldest_turns';
  /** The prompt has no more tokens than this; null where nothing is known. Spares most calls an exact count. */
  readonly promptTokensMax: number | null;
  readonly signal: AbortSignal;
}

export interface InWindow {
  readonly conversation: Conversation;
  /** What is left of the window for the answer; null where that bounds nothing. */
  readonly maxOutputTokens: number | null;
  /** Null where nothing was taken out. */
  readonly trimmed: Trimmed | null;
}

/**
 * A conversation that fits in the target's window together with an answer. Of the output that the caller allows it must
 * leave room for some: a quarter of the window or 4,096 tokens, whichever is less. The rest of it may be cut to what the
 * window has left, as a model does that comes to its end.
 * @throws PortcullisError context_length_exceeded, in the wording of the caller's dialect
 */
export async function fitWindow(conversation: Conversation, rules: WindowRules): Promise<InWindow> {
  const { contextTokens: window, maxOutputTokens: cap } = rules.capabilities;
  const whole: InWindow = { conversation, maxOutputTokens: null, trimmed: null };
  if (window === null) return whole;
  const asked = Math.min(conversation.maxOutputTokens ?? Infinity, cap ?? Infinity);
  const limited = asked !== Infinity;
  if (rules.promptTokensMax !== null && rules.promptTokensMax + (limited ? asked : 1) <= window) return whole;
  const sizes = await estimateTokens(conversation, rules.signal);
  const promptTokens = totalTokens(sizes);
  const room = Math.max(1, Math.min(asked, answerTokensMax, Math.floor(window * answerShare)));
  // Who sets no limit may want a word.
  const needed = conversation.maxOutputTokens === null ? 1 : room;
  const left = (taken: number) => (limited ? window - taken : null);
  if (promptTokens + needed <= window) return { ...whole, maxOutputTokens: left(promptTokens) };
  if (rules.trim === 'refuse') throw tooLong(rules.dialect, promptTokens, window, needed);
  const cut = trimOldest(conversation, sizes, window - room);
  if (cut.promptTokens + needed > window) throw tooLong(rules.dialect, cut.promptTokens, window, needed);
  return { conversation: cut.conversation, maxOutputTokens: left(cut.promptTokens), trimmed: cut.trimmed };
}

/** A bound of the tokens of a request without reading any of its text: no tokenizer makes more of them than bytes. */
export function promptTokensMax({ bodyBytes, media, unbounded }: RequestFacts): number | null {
  if (unbounded.length > 0) return null;
  return bodyBytes - media.inlineBytes + imageTokens * media.images + documentTokens * media.documents;
}

/** How a vendor words an overflow: clients know it by these words, or by the code, and shorten the conversation. */
const wordings: Readonly<Record<Dialect, (prompt: number, window: number, answer: number) => string>> = {
  // Claude Code matches all of it, and reads the numbers.
  anthropic: (prompt, window, answer) => `prompt is too long: ${prompt} tokens > ${window - answer} maximum`,
  chat: (prompt, window, answer) =>
    `This model's maximum context length is ${window} tokens. However, you requested ${prompt + answer} tokens ` +
    `(${prompt} in the messages, ${answer} in the completion). Please reduce the length of the messages or completion.`,
  responses: (prompt, window, answer) =>
    `Your input exceeds the context window of this model: it has ${prompt} tokens, and ${window - answer} fit. ` +
    'Please adjust your input and try again.',
};

function tooLong(dialect: Dialect, prompt: number, window: number, answer: number): PortcullisError {
  return new PortcullisError('context_length_exceeded', wordings[dialect](prompt, window, answer), {
    param: dialect === 'responses' ? 'input' : 'messages',
    unit: 'tokens',
    observed: String(prompt),
    limit: String(window - answer),
  });
}
