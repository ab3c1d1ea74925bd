import type { Usage } from '../usage.ts';
import { noUsage } from '../usage.ts';

/** Usage of a Message. */
export function writeUsage(usage: Usage | null): Record<string, unknown> {
  const { cacheWrite5m, cacheWrite1h } = usage ?? noUsage;
  return {
    ...writeUsageTotals(usage),
    cache_creation: { ephemeral_5m_input_tokens: cacheWrite5m, ephemeral_1h_input_tokens: cacheWrite1h },
    service_tier: null,
    inference_geo: null,
    speed: null,
  };
}

/**
 * Usage of a `message_delta`: totals of the whole message. The vendor's types demand numbers, and clients crash without
 * them: what no provider reported is written as 0. The gate's own books keep the difference.
 */
export function writeUsageTotals(usage: Usage | null): Record<string, unknown> {
  const { input, output, cacheRead, cacheWrite5m, cacheWrite1h, reasoning } = usage ?? noUsage;
  return {
    input_tokens: input,
    output_tokens: output,
    cache_read_input_tokens: cacheRead,
    cache_creation_input_tokens: cacheWrite5m + cacheWrite1h,
    output_tokens_details: { thinking_tokens: reasoning },
    server_tool_use: null,
  };
}
