import { PortcullisError } from '../../base/errors.ts';
import type { Dialect } from '../../llm/dialect.ts';
import type { StreamTranslator } from '../../llm/translate.ts';
import type { Usage } from '../../llm/usage.ts';
import type { SseFrame } from '../../net/sse.ts';
import { wire } from './wire.ts';

/** What of an upstream stream goes to the client, and what it used so far. */
export interface StreamRelay {
  /** The bytes to write for a frame; null for none. */
  push(frame: SseFrame): Buffer | null;
  /** The ending has begun: what `push` returns from now on waits until the money is settled. */
  readonly complete: boolean;
  /** The provider ended the stream with an error of its own, which went to the client as it came. */
  readonly failed: boolean;
  /** The upstream ended. @returns what is still to write @throws PortcullisError upstream_error when it was cut */
  end(): Buffer | null;
  /** The one error event that ends the client's stream in its own dialect. */
  fail(error: PortcullisError, requestId: string): string;
  readonly usage: Usage | null;
  /** Bytes generated so far: an upper bound of output tokens where usage is missing. */
  readonly outputBytes: number;
}

/** Same dialect on both sides: frames pass byte for byte. `hideUsage` drops the chunk that only the gate asked for. */
export function passThrough(dialect: Dialect, hideUsage: boolean): StreamRelay {
  const watcher = wire[dialect].createUsageWatcher();
  return {
    push(frame) {
      if (frame.data !== '') watcher.event(frame.event, frame.data);
      return hideUsage && isUsageOnly(frame.data) ? null : frame.raw;
    },
    get complete() {
      return watcher.complete;
    },
    get failed() {
      return watcher.failed;
    },
    end() {
      if (watcher.complete || watcher.failed) return null;
      throw cut();
    },
    fail: (error, requestId) => wire[dialect].streamErrorEvent(error, requestId),
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
    push({ event, data }) {
      if (data === '') return null;
      const text = translator.push({ event, data });
      return text === '' ? null : Buffer.from(text);
    },
    get complete() {
      return translator.finished;
    },
    get failed() {
      return translator.failed;
    },
    end() {
      const text = translator.end();
      return text === '' ? null : Buffer.from(text);
    },
    fail: (error, requestId) => translator.fail(error, requestId),
    get usage() {
      return translator.usage;
    },
    get outputBytes() {
      return translator.outputBytes;
    },
  };
}

function cut(): PortcullisError {
  return new PortcullisError('upstream_error', 'The provider ended the stream before the answer was complete.');
}

// The chunk that include_usage adds has no choices, and it alone does.
function isUsageOnly(data: string): boolean {
  if (!data.includes('"usage"') || !/"choices"\s*:\s*\[\s*\]/.test(data)) return false;
  try {
    const chunk: unknown = JSON.parse(data);
    return (
      typeof chunk === 'object' &&
      chunk !== null &&
      'choices' in chunk &&
      Array.isArray(chunk.choices) &&
      chunk.choices.length === 0
    );
  } catch {
    return false;
  }
}
