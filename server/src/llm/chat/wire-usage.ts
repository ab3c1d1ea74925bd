import { isJsonObject } from '../object-reader.ts';
import type { Usage } from '../usage.ts';

/**
 * Reads `usage`: `prompt_tokens` includes what was read from and written to the cache, `completion_tokens` the reasoning.
 * @returns null when the provider reported none.
 */
export function readUsage(json: unknown): Usage | null {
  if (!isJsonObject(json)) return null;
  const prompt = count(json['prompt_tokens']);
  const details = isJsonObject(json['prompt_tokens_details']) ? json['prompt_tokens_details'] : {};
  const output = isJsonObject(json['completion_tokens_details']) ? json['completion_tokens_details'] : {};
  const cacheRead = Math.min(count(details['cached_tokens']), prompt);
  const cacheWrite5m = Math.min(count(details['cache_write_tokens']), prompt - cacheRead);
  return {
    input: prompt - cacheRead - cacheWrite5m,
    output: count(json['completion_tokens']),
    cacheRead,
    cacheWrite5m,
    cacheWrite1h: 0,
    reasoning: count(output['reasoning_tokens']),
  };
}

function count(json: unknown): number {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0 ? json : 0;
}

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
