import type { JsonObject } from '../conversation.ts';
import { isJsonObject } from '../object-reader.ts';
import { servedOn, speedAndGeography, statedTerm } from '../terms.ts';
import { type UsageWatcher, countOf, credible, parseEvent } from '../usage-watcher.ts';
import type { Usage } from '../usage.ts';

/** The usage of a whole Message; null when it reports none, or none that is credible. */
export function readUsage(answer: unknown): Usage | null {
  return isJsonObject(answer) ? usageOf(answer['usage']) : null;
}

/**
 * Reads a `usage` object. Its `iterations` list the model calls within the request: what a compaction or an advisor used
 * is not in the totals, and is added here.
 */
export function usageOf(json: unknown): Usage | null {
  if (!isJsonObject(json) || (json['input_tokens'] ?? json['output_tokens'] ?? null) === null) return null;
  const iterations = Array.isArray(json['iterations']) ? json['iterations'].filter(isJsonObject) : [];
  const beside = iterations.filter(({ type }) => type === 'compaction' || type === 'advisor_message');
  const tokens = beside.map(tokensOf).reduce(sum, tokensOf(json));
  const isUntold = tokens.cacheWrite5m > 0 && !isJsonObject(json['cache_creation']);
  return credible({ ...tokens, ...(isUntold && { untoldLifetime: true }), ...searchesOf(json), ...termsOf(json) });
}

function searchesOf({ server_tool_use: uses }: JsonObject): Pick<Usage, 'searches'> {
  return isJsonObject(uses) ? { searches: countOf(uses['web_search_requests']) } : {};
}

/** Its `service_tier` says only whether capacity was paid in advance. */
function termsOf({ speed, inference_geo: geography }: JsonObject): Pick<Usage, 'terms'> {
  return servedOn(speedAndGeography(statedTerm(speed), statedTerm(geography)));
}

function tokensOf(json: JsonObject): Usage {
  const split = isJsonObject(json['cache_creation']) ? json['cache_creation'] : {};
  const details = isJsonObject(json['output_tokens_details']) ? json['output_tokens_details'] : {};
  const written5m = countOf(split['ephemeral_5m_input_tokens']);
  const written1h = countOf(split['ephemeral_1h_input_tokens']);
  // Later events update the total and not its split: the rest counts as the longest lifetime in use.
  const rest = Math.max(0, countOf(json['cache_creation_input_tokens']) - written5m - written1h);
  const output = countOf(json['output_tokens']);
  return {
    input: countOf(json['input_tokens']),
    output,
    cacheRead: countOf(json['cache_read_input_tokens']),
    cacheWrite5m: written1h > 0 ? written5m : written5m + rest,
    cacheWrite1h: written1h > 0 ? written1h + rest : 0,
    reasoning: Math.min(output, countOf(details['thinking_tokens'])),
  };
}

function sum(a: Usage, b: Usage): Usage {
  return {
    input: a.input + b.input,
    output: a.output + b.output,
    cacheRead: a.cacheRead + b.cacheRead,
    cacheWrite5m: a.cacheWrite5m + b.cacheWrite5m,
    cacheWrite1h: a.cacheWrite1h + b.cacheWrite1h,
    reasoning: a.reasoning + b.reasoning,
  };
}

/** A watcher of one Messages stream. */
export function createUsageWatcher(): UsageWatcher {
  return new MessageWatcher();
}

// The shortest events of their kind: whatever an event has beyond is at most what the model wrote.
const deltaEnvelope = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}`.length;
const startEnvelope = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`.length;
/** A block that begins so was written by a tool of the provider. Not all of the block need be looked at. */
const toolResult = /"content_block"\s*:\s*\{\s*"type"\s*:\s*"\w+_tool_result"/;

class MessageWatcher implements UsageWatcher {
  outputBytes = 0;
  malformed = 0;
  failed = false;
  #stopped = false;
  /** The latest value of each usage field: all are totals of the message so far, never increments. */
  #totals: JsonObject | null = null;

  get complete(): boolean {
    return this.#stopped && !this.failed;
  }

  usage(): Usage | null {
    return usageOf(this.#totals);
  }

  event(name: string, data: string): void {
    switch (name) {
      case 'content_block_delta':
        this.outputBytes += Math.max(0, Buffer.byteLength(data) - deltaEnvelope);
        break;
      case 'content_block_start':
        if (!toolResult.test(data.slice(0, 200))) {
          this.outputBytes += Math.max(0, Buffer.byteLength(data) - startEnvelope);
        }
        break;
      case 'message_start': {
        const { message } = this.#parse(data);
        if (isJsonObject(message)) this.#update(message['usage']);
        break;
      }
      case 'message_delta':
        this.#update(this.#parse(data)['usage']);
        break;
      case 'message_stop':
        this.#stopped = true;
        break;
      case 'error':
        this.failed = true;
        break;
      default:
    }
  }

  #update(usage: unknown): void {
    if (!isJsonObject(usage)) return;
    const given = Object.entries(usage).filter(([, value]) => value !== null);
    this.#totals = { ...this.#totals, ...Object.fromEntries(given) };
  }

  #parse(data: string): JsonObject {
    const json = parseEvent(data);
    if (json === null) this.malformed++;
    return json ?? {};
  }
}
