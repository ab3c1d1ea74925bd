import type { Term } from './terms.ts';

/** Tokens by class. Classes do not overlap: `input` excludes what was read from or written to a cache. */
export interface Usage {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite5m: number;
  /** Written for longer than the usual lifetime: an hour at Anthropic, twelve at OpenAI. */
  readonly cacheWrite1h: number;
  /** The part of `output` that was reasoning, where the provider says so. */
  readonly reasoning: number;
  /** Searches of the provider's own; absent where it does not count them. */
  readonly searches?: number;
  /** The provider wrote to its cache and did not say for how long: all that it wrote is in `cacheWrite5m`. */
  readonly untoldLifetime?: boolean;
  /** On which terms the answer was served, as far as the provider says. */
  readonly terms?: readonly Term[];
}

export const tokenClasses = ['input', 'output', 'cacheRead', 'cacheWrite5m', 'cacheWrite1h', 'reasoning'] as const;

export const noUsage: Usage = { input: 0, output: 0, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, reasoning: 0 };
