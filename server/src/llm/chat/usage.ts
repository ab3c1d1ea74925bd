import type { JsonObject } from '../conversation.ts';
import { backslash, closeBrace, openBrace, quote } from '../json-text.ts';
import { isJsonObject } from '../object-reader.ts';
import { servedOn, serviceTier, statedTerm } from '../terms.ts';
import { type UsageWatcher, countOf, credible, parseEvent } from '../usage-watcher.ts';
import type { Usage } from '../usage.ts';

/** The usage of a whole chat completion; null when it reports none, or none that is credible. */
export function readUsage(answer: unknown): Usage | null {
  return isJsonObject(answer) ? usageOf(answer['usage'], answer['service_tier']) : null;
}

/**
 * Reads a `usage` object, and the `service_tier` that stands beside it. `prompt_tokens` includes what was read from the
 * cache and written to it; how long a written entry lives is not said.
 * `completion_tokens` includes the reasoning, except at servers whose total shows that it does not (xAI; Gemini, which
 * tells nothing else of it).
 */
export function usageOf(json: unknown, tier?: unknown): Usage | null {
  if (!isJsonObject(json) || (json['prompt_tokens'] ?? json['completion_tokens'] ?? null) === null) return null;
  const promptDetails = isJsonObject(json['prompt_tokens_details']) ? json['prompt_tokens_details'] : {};
  const outputDetails = isJsonObject(json['completion_tokens_details']) ? json['completion_tokens_details'] : {};
  const prompt = countOf(json['prompt_tokens']);
  const completion = countOf(json['completion_tokens']);
  const told = countOf(outputDetails['reasoning_tokens']);
  const beyond = countOf(json['total_tokens']) - prompt - completion;
  const apart = beyond > 0 && (told === 0 || told === beyond) ? beyond : 0;
  const reasoning = told === 0 ? apart : told;
  const output = completion + apart;
  const cacheRead = Math.min(prompt, countOf(promptDetails['cached_tokens']));
  const cacheWrite5m = Math.min(prompt - cacheRead, countOf(promptDetails['cache_write_tokens']));
  return credible({
    input: prompt - cacheRead - cacheWrite5m,
    output,
    cacheRead,
    cacheWrite5m,
    cacheWrite1h: 0,
    reasoning: Math.min(output, reasoning),
    ...(cacheWrite5m > 0 && { untoldLifetime: true }),
    ...servedOn(serviceTier(statedTerm(tier))),
  });
}

/** A watcher of one chat stream, which has `choices` answers. */
export function createUsageWatcher(choices = 1): UsageWatcher {
  return new ChunkWatcher(choices);
}

/** A chunk without any of these says nothing but text. No text can look so: its quotes are escaped. */
const telling = /"usage"\s*:\s*\{|"finish_reason"\s*:\s*"|"error"\s*:/;
const deltaEnvelope = '{"content":""}'.length;

class ChunkWatcher implements UsageWatcher {
  outputBytes = 0;
  malformed = 0;
  failed = false;
  readonly #choices: number;
  readonly #finished = new Set<unknown>();
  #done = false;
  #usage: unknown = null;
  #tier: unknown = null;

  constructor(choices: number) {
    this.#choices = choices;
  }

  /** At `[DONE]`, which some servers omit: then when every answer has its finish reason. */
  get complete(): boolean {
    return !this.failed && (this.#done || this.#finished.size >= this.#choices);
  }

  usage(): Usage | null {
    return usageOf(this.#usage, this.#tier);
  }

  event(name: string, data: string): void {
    if (data === '[DONE]') {
      this.#done = true;
      return;
    }
    if (name === 'error') this.failed = true;
    this.outputBytes += deltaBytes(data);
    if (telling.test(data)) this.#read(this.#parse(data));
  }

  #read({ usage, choices, error, service_tier: tier }: JsonObject): void {
    // Totals of the whole call, also where a server sends them with every chunk.
    if (isJsonObject(usage)) this.#usage = usage;
    this.#tier = tier ?? this.#tier;
    if (error) this.failed = true;
    for (const choice of Array.isArray(choices) ? choices : []) {
      if (!isJsonObject(choice) || typeof choice['finish_reason'] !== 'string') continue;
      if (this.#finished.size < this.#choices) this.#finished.add(choice['index'] ?? 0);
    }
  }

  #parse(data: string): JsonObject {
    const json = parseEvent(data);
    if (json === null) this.malformed++;
    return json ?? {};
  }
}

/** An upper bound of the bytes that the model wrote in a chunk: its `delta` objects, less the shortest that has text. */
function deltaBytes(data: string): number {
  let bytes = 0;
  for (let at = data.indexOf('"delta"'); at >= 0; at = data.indexOf('"delta"', at)) {
    const start = data.indexOf('{', at);
    if (start < 0) break;
    at = objectEnd(data, start);
    bytes += Math.max(0, Buffer.byteLength(data.slice(start, at)) - deltaEnvelope);
  }
  return bytes;
}

/** Where the object that begins at `from` ends; the end of the text if it does not. */
function objectEnd(text: string, from: number): number {
  let depth = 0;
  let inString = false;
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === quote) inString = !inString;
    else if (inString) i += code === backslash ? 1 : 0;
    else if (code === openBrace) depth++;
    else if (code === closeBrace && --depth === 0) return i + 1;
  }
  return text.length;
}
