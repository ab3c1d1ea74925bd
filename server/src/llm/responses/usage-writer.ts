import type { Usage } from '../usage.ts';

/** Usage of a response: `input_tokens` includes what was read from and written to the cache, `output_tokens` the reasoning. */
export function writeUsage({ input, output, cacheRead, cacheWrite5m, cacheWrite1h, reasoning }: Usage): unknown {
  const written = cacheWrite5m + cacheWrite1h;
  const all = input + cacheRead + written;
  return {
    input_tokens: all,
    input_tokens_details: {
      cached_tokens: cacheRead,
      cache_write_tokens: written,
      ...(cacheWrite1h > 0 && {
        cache_write_tokens_details: { ttl_12h_tokens: cacheWrite1h, ttl_30m_tokens: cacheWrite5m },
      }),
    },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
    total_tokens: all + output,
  };
}
