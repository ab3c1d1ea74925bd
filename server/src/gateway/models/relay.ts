import { PortcullisError } from '../../base/errors.ts';
import type { Dialect } from '../../llm/dialect.ts';
import type { StreamTranslator } from '../../llm/translate.ts';
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
  /** What `push` returned last was the error event that ends the stream. */
  readonly failed: boolean;
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
  let last = '';
  return {
    push({ event, data, raw }) {
      if (data === '') return raw;
      last = data;
      watcher.event(event, data);
      if (watcher.malformed > 0 || !looksWhole(data)) {
        throw new PortcullisError('upstream_error', 'The provider sent an event that is not JSON.');
      }
      return hideUsage && isUsageOnly(data) ? null : raw;
    },
    end() {
      if (!watcher.complete && !watcher.failed) {
        throw new PortcullisError('upstream_error', 'The provider ended the stream before the answer was complete.');
      }
      return null;
    },
    get complete() {
      return watcher.complete;
    },
    get ended() {
      // A chat answer is complete before its end: usage may follow.
      return watcher.complete && (dialect === 'anthropic' || last === '[DONE]');
    },
    get failed() {
      return watcher.failed;
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
    get failed() {
      return translator.failed;
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

/** Every event of both dialects is an object, or chat's end. A look at both ends finds what was cut, at no cost. */
function looksWhole(data: string): boolean {
  return (data.startsWith('{') && data.trimEnd().endsWith('}')) || data === '[DONE]';
}

/** The chunk that include_usage adds has usage and no choices, and it alone does. */
function isUsageOnly(data: string): boolean {
  if (!/"choices"\s*:\s*\[\s*\]/.test(data)) return false;
  const { choices, usage } = JSON.parse(data) as { readonly choices: unknown; readonly usage?: unknown };
  return Array.isArray(choices) && choices.length === 0 && typeof usage === 'object' && usage !== null;
}
