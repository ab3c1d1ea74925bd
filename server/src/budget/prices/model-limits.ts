import * as openaiModels from 'gpt-tokenizer/models';

/** What a vendor says that a model can take and give, in tokens; null where it is unknown. */
export interface ModelLimits {
  /** Prompt and answer together. */
  readonly contextTokens: number | null;
  /** The answer, when the caller sets no limit. */
  readonly maxOutputTokens: number | null;
  /** One image, whatever its size. */
  readonly imageTokens: number;
}

/** The simulated model's longest answer, when it is not an echo. */
export const simOutputTokens = 100_000;

/**
 * Vendors scale images down to a maximum of tokens. Anthropic: 4,784 (92 by 52 patches of the largest native size).
 * OpenAI: 2,833 and 8 tiles of 5,667 for gpt-4o-mini; elsewhere 10,000 patches at the highest factor, 2.46. Servers that
 * speak as OpenAI does are taken for the dearest of these.
 */
export function imageTokensOf(vendor: string, model: string): number {
  if (vendor === 'anthropic') return 4_784;
  return vendor === 'openai' && !model.startsWith('gpt-4o-mini') ? 24_600 : 48_169;
}

/**
 * What bounds a prompt and an answer of a Gemini model from above, where its context is said to be of `tokens`. Google's
 * limits are powers of two, of which libraries say "a million"; and an answer may have 65,536, also where the prompt may
 * have fewer (ai.google.dev/gemini-api/docs/models).
 */
export function geminiTokens(tokens: number): number {
  return Math.max(2 ** Math.ceil(Math.log2(tokens)), 65_536);
}

/** What the tokenizer's library says of OpenAI's models. */
export const openaiLimits: ReadonlyMap<string, Pick<ModelLimits, 'contextTokens' | 'maxOutputTokens'>> = new Map(
  Object.entries(openaiModels).map(([name, model]) => [
    name,
    {
      contextTokens: 'context_window' in model ? model.context_window : null,
      maxOutputTokens: 'max_output_tokens' in model ? model.max_output_tokens : null,
    },
  ]),
);
