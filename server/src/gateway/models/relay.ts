import { PortcullisError } from '../../base/errors.ts';
import type { Dialect } from '../../llm/dialect.ts';
import { providerError } from '../../llm/provider-error.ts';
import type { StreamTranslator } from '../../llm/translate.ts';
import { parseEvent } from '../../llm/usage-watcher.ts';
import type { SseFrame } from '../../net/sse.ts';
import type { Consumption } from './forward.ts';
import { wire } from './wire.ts';

/** What of an upstream stream goes to the client, and what it used so far. */
export interface StreamRelay extends Consumption {
  /** The bytes to write for a frame; null for none. @throws PortcullisError upstream_error for what is no event of the dialect */
  push(frame: SseFrame): Buffer | null;
  /** The ending has begun: what `push` returns from now on waits until the money is settled. */
  readonly complete: boolean;
  /** The event came that ends a stream of the dialect: nothing after it is part of the answer. */
  readonly ended: boolean;
  /** What `push` returned last was the error event that ends the stream: this error. */
  readonly error: PortcullisError | null;
  /** The upstream ended. @returns what is still to write @throws PortcullisError upstream_error when it was cut */
  end(): Buffer | null;
}

export interface PassThroughOptions {
  readonly dialect: Dialect;
  /** Answers that were asked for; the stream is complete when all have ended. */
  readonly choices: number;
  /** Drops the chunk of usage that only the gate asked for. */
  readonly hideUsage: boolean;
}

/** Same dialect on both sides: frames pass byte for byte. */
export function passThrough({ dialect, choices, hideUsage }: PassThroughOptions): StreamRelay {
  const watcher = wire[dialect].createUsageWatcher(choices);
  let error: PortcullisError | null = null;
  let isDone = false;
  return {
    push({ event, data, raw }) {
      if (data === '') return raw;
      isDone = data === done;
      if (!isDone && !isWhole(raw, data)) throw notJson();
      watcher.event(event, data);
      if (watcher.malformed > 0) throw notJson();
      if (watcher.failed) error = providerError(dialect, parseEvent(data));
      return hideUsage && isUsageOnly(data) ? null : raw;
    },
    end() {
      if (error !== null) return null;
      if (!watcher.complete) {
        throw new PortcullisError('upstream_error', 'The provider ended the stream before the answer was complete.');
      }
      // Some servers leave it out, and a cut after the answer may have taken it.
      return dialect === 'chat' && !isDone ? Buffer.from(`data: ${done}\n\n`) : null;
    },
    get complete() {
      return watcher.complete;
    },
    get ended() {
      // A chat answer is complete before its end: usage may follow.
      return watcher.complete && (dialect !== 'chat' || isDone);
    },
    get error() {
      return error;
    },
    get usage() {
      return watcher.usage();
    },
    get outputBytes() {
      return watcher.outputBytes;
    },
  };
}

/** Different dialects: events are decoded, and encoded anew by the state machine of the client's dialect. */
export function translated(translator: StreamTranslator): StreamRelay {
  return {
    push: ({ event, data }) => (data === '' ? null : bytesOf(translator.push({ event, data }))),
    end: () => bytesOf(translator.end()),
    get complete() {
      return translator.finished;
    },
    get ended() {
      return translator.finished;
    },
    get error() {
      return translator.error;
    },
    get usage() {
      return translator.usage;
    },
    get outputBytes() {
      return translator.outputBytes;
    },
  };
}

function bytesOf(text: string): Buffer | null {
  return text === '' ? null : Buffer.from(text);
}

/** What ends a chat stream. */
const done = '[DONE]';

function notJson(): PortcullisError {
  return new PortcullisError('upstream_error', 'The provider sent an event that is not JSON.');
}

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const space = 0x20;

/**
 * Whether the data of a frame is an object that has its end. Every event of every dialect is one, so this finds whatever
 * was cut, at a fraction of what parsing costs; a frame that is written in an unusual way is parsed after all.
 */
function isWhole(raw: Buffer, data: string): boolean {
  let depth = 0;
  let inString = false;
  let at = Math.max(0, raw.indexOf(openBrace));
  for (; at < raw.length; at++) {
    const byte = raw[at];
    if (byte === quote) inString = !inString;
    else if (inString) at += byte === backslash ? 1 : 0;
    else if (byte === openBrace) depth++;
    else if (byte === closeBrace && --depth === 0) break;
  }
  // Nothing but the ends of lines may follow.
  let rest = at + 1;
  while (rest < raw.length && (raw[rest] ?? 0) <= space) rest++;
  const usual = at < raw.length && rest === raw.length && data.charCodeAt(0) === openBrace;
  return usual || parseEvent(data) !== null;
}

/** The chunk that include_usage adds has usage and no choices, and it alone does. */
function isUsageOnly(data: string): boolean {
  if (!/"choices"\s*:\s*\[\s*\]/.test(data)) return false;
  const { choices, usage } = JSON.parse(data) as { readonly choices: unknown; readonly usage?: unknown };
  return Array.isArray(choices) && choices.length === 0 && typeof usage === 'object' && usage !== null;
}
