import { isJsonObject } from '../object-reader.ts';
import type { Usage } from '../usage.ts';
import { noUsage } from '../usage.ts';

/**
 * Reads the `usage` of a Message, or of a stream event on top of what came `before`: its numbers are totals, so they
 * replace and never add. @returns null when nothing was reported yet.
 */
export function readUsageParts(json: unknown, before: Usage | null): Usage | null {
  if (!isJsonObject(json)) return before;
  const known = before ?? noUsage;
  const split = isJsonObject(json['cache_creation']) ? json['cache_creation'] : {};
  const details = isJsonObject(json['output_tokens_details']) ? json['output_tokens_details'] : {};
  const written = count(json['cache_creation_input_tokens'], known.cacheWrite5m + known.cacheWrite1h);
  const cacheWrite1h = Math.min(count(split['ephemeral_1h_input_tokens'], known.cacheWrite1h), written);
  return {
    input: count(json['input_tokens'], known.input),
    output: count(json['output_tokens'], known.output),
    cacheRead: count(json['cache_read_input_tokens'], known.cacheRead),
    cacheWrite5m: written - cacheWrite1h,
    cacheWrite1h,
    reasoning: count(details['thinking_tokens'], known.reasoning),
  };
}

function count(json: unknown, otherwise: number): number {
  return typeof json === 'number' && Number.isSafeInteger(json) && json >= 0 ? json : otherwise;
}

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
