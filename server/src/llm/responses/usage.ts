import type { JsonObject } from '../conversation.ts';
import { backslash, quote } from '../json-text.ts';
import { isJsonObject } from '../object-reader.ts';
import { servedOn, serviceTier, statedTerm } from '../terms.ts';
import { type UsageWatcher, countOf, credible, parseEvent } from '../usage-watcher.ts';
import type { Usage } from '../usage.ts';

/** The usage of a whole response; null when it reports none, or none that is credible. */
export function readUsage(answer: unknown): Usage | null {
  if (!isJsonObject(answer)) return null;
  const usage = usageOf(answer['usage'], answer['service_tier']);
  return usage && { ...usage, ...searchesIn(answer['output']) };
}

/** Usage does not count searches: each is an item of the answer. Opening a page and looking into it cost nothing. */
function searchesIn(output: unknown): Pick<Usage, 'searches'> {
  const items = Array.isArray(output) ? output.filter(isJsonObject) : [];
  const searches = items.filter(
    ({ type, action }) =>
      type === 'web_search_call' && (!isJsonObject(action) || (action['type'] ?? 'search') === 'search'),
  ).length;
  return searches === 0 ? {} : { searches };
}

/**
 * Reads a `usage` object, and the `service_tier` that stands beside it. `input_tokens` includes what was read from the
 * cache and written to it. Of the written, those with the longer lifetime are told apart where the provider does so.
 */
export function usageOf(json: unknown, tier?: unknown): Usage | null {
  if (!isJsonObject(json) || (json['input_tokens'] ?? json['output_tokens'] ?? null) === null) return null;
  const inputDetails = objectOf(json['input_tokens_details']);
  const prompt = countOf(json['input_tokens']);
  const output = countOf(json['output_tokens']);
  const cacheRead = Math.min(prompt, countOf(inputDetails['cached_tokens']));
  const written = Math.min(prompt - cacheRead, countOf(inputDetails['cache_write_tokens']));
  const split = inputDetails['cache_write_tokens_details'];
  const cacheWrite1h = Math.min(written, countOf(objectOf(split)['ttl_12h_tokens']));
  return credible({
    input: prompt - cacheRead - written,
    output,
    cacheRead,
    cacheWrite5m: written - cacheWrite1h,
    cacheWrite1h,
    reasoning: Math.min(output, countOf(objectOf(json['output_tokens_details'])['reasoning_tokens'])),
    ...(written > 0 && !isJsonObject(split) && { untoldLifetime: true }),
    ...servedOn(serviceTier(statedTerm(tier))),
  });
}

function objectOf(json: unknown): JsonObject {
  return isJsonObject(json) ? json : {};
}

/** A watcher of one stream of a response. */
export function createUsageWatcher(): UsageWatcher {
  return new ResponseWatcher();
}

/** The events that end a stream. No text can look so: its quotes are escaped. */
const telling = /"type"\s*:\s*"(?:response\.(?:completed|incomplete|failed)|error)"/;
const deltaType = /"type"\s*:\s*"response\.[a-z_]+\.delta"/;
const itemDone = /"type"\s*:\s*"response\.output_item\.done"/;

class ResponseWatcher implements UsageWatcher {
  malformed = 0;
  failed = false;
  complete = false;
  #deltaBytes = 0;
  #itemBytes = 0;
  #response: unknown = null;

  /** By the deltas; by the whole items where a server sends no deltas of them. */
  get outputBytes(): number {
    return Math.max(this.#deltaBytes, this.#itemBytes);
  }

  usage(): Usage | null {
    return readUsage(this.#response);
  }

  event(name: string, data: string): void {
    if (name === 'error') this.failed = true;
    if (name === '' ? deltaType.test(data) : name.endsWith('.delta')) this.#deltaBytes += deltaBytes(data);
    else if (telling.test(data)) this.#read(data);
    else if (itemDone.test(data)) this.#itemBytes += Buffer.byteLength(data);
  }

  #read(data: string): void {
    const json = parseEvent(data);
    if (json === null) {
      this.malformed++;
      return;
    }
    const { type, response } = json;
    if (isJsonObject(response)) this.#response = response;
    if (type === 'response.completed' || type === 'response.incomplete') this.complete = true;
    else if (type === 'response.failed' || type === 'error') this.failed = true;
  }
}

const deltaName = /"delta"\s*:\s*"/g;

/** The bytes of the text that a delta event carries, as JSON writes it; 0 for any other event. */
function deltaBytes(data: string): number {
  deltaName.lastIndex = 0;
  if (!deltaName.test(data)) return 0;
  const start = deltaName.lastIndex;
  let end = start;
  while (end < data.length && data.charCodeAt(end) !== quote) end += data.charCodeAt(end) === backslash ? 2 : 1;
  return Buffer.byteLength(data.slice(start, end));
}
