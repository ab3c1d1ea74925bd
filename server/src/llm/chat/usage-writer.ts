import type { Usage } from '../usage.ts';

/**
 * Usage of a Chat Completion: `prompt_tokens` includes what was read from and written to the cache, `completion_tokens`
 * the reasoning.
 */
export function writeUsage({ input, output, cacheRead, cacheWrite5m, cacheWrite1h, reasoning }: Usage): unknown {
  const written = cacheWrite5m + cacheWrite1h;
  const prompt = input + cacheRead + written;
  return {
    prompt_tokens: prompt,
    completion_tokens: output,
    total_tokens: prompt + output,
    prompt_tokens_details: { cached_tokens: cacheRead, cache_write_tokens: written },
    completion_tokens_details: { reasoning_tokens: reasoning },
  };
}
