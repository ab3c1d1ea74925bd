import { PortcullisError } from '../base/errors.ts';
import { blocksPerAnswerMax } from '../base/limits.ts';
import type {
  AnswerEvent,
  StreamBlock,
  StreamDecoder,
  StreamEncoder,
  StreamEvent,
  WireEvent,
} from './stream-events.ts';
import type { Usage } from './usage.ts';

/** The part of a decoder that differs by dialect. It may throw: the stream then ends with that error. */
export interface DecoderCore {
  event(event: WireEvent): Iterable<StreamEvent>;
  /** The connection ended. Yields what was still due, if the answer was complete. */
  end(): Iterable<StreamEvent>;
  readonly usage: Usage | null;
  readonly outputBytes: number;
}

/** The part of an encoder that differs by dialect. It is given legal sequences only, and may throw. */
export interface EncoderCore {
  write(event: AnswerEvent): string;
  error(error: PortcullisError, requestId: string): string;
}

/** Makes a decoder whose every sequence is legal and ends in exactly one `finish` or `error`, whatever comes in. */
export function createOrderedDecoder(core: DecoderCore): StreamDecoder {
  const order = new StreamOrder();

  function collect(events: () => Iterable<StreamEvent>): StreamEvent[] {
    const collected: StreamEvent[] = [];
    if (order.ended) return collected;
    try {
      for (const event of events()) {
        const wrong = order.take(event);
        if (wrong !== null) throw protocolError(wrong);
        collected.push(event);
        if (order.ended) break;
      }
    } catch (thrown) {
      const error: StreamEvent = { type: 'error', error: PortcullisError.from(thrown) };
      order.take(error);
      collected.push(error);
    }
    return collected;
  }

  return {
    event: (event) => collect(() => core.event(event)),
    end: () => {
      const events = collect(() => core.end());
      return order.ended ? events : [...events, ...collect(cut)];
    },
    get usage() {
      return core.usage;
    },
    get outputBytes() {
      return core.outputBytes;
    },
  };
}

function cut(): StreamEvent[] {
  const message = 'The provider ended the stream before the answer was complete.';
  return [{ type: 'error', error: new PortcullisError('upstream_error', message) }];
}

/**
 * Makes an encoder that writes one legal stream, whatever events it is given. `write` throws for an event out of order
 * or one that the dialect cannot express, and from then on writes nothing: `fail` is what can still follow.
 */
export function createOrderedEncoder(core: EncoderCore): StreamEncoder {
  const order = new StreamOrder();
  let state: 'writing' | 'broken' | 'finished' | 'failed' = 'writing';
  return {
    write(event) {
      if (state !== 'writing') return '';
      // Holds unless everything below succeeds.
      state = 'broken';
      const wrong = order.take(event);
      if (wrong !== null) throw protocolError(wrong);
      const text = core.write(event);
      state = event.type === 'finish' ? 'finished' : 'writing';
      return text;
    },
    fail(error, requestId) {
      if (state === 'finished' || state === 'failed') return '';
      state = 'failed';
      return core.error(error, requestId);
    },
    get finished() {
      return state === 'finished';
    },
    get failed() {
      return state === 'failed';
    },
  };
}

function protocolError(internal: string): PortcullisError {
  return new PortcullisError('upstream_error', "The provider's stream broke its own protocol.", { internal });
}

/**
 * The order that every stream must keep: start first and once, indexes rising, a delta only in an open block of its own
 * kind, every block closed before the one finish, nothing after finish or error. Blocks may be open side by side, and are
 * so few that what is kept of each is nothing.
 */
export class StreamOrder {
  readonly #open = new Map<number, StreamBlock['kind']>();
  readonly #sealed = new Set<number>();
  #phase: 'new' | 'open' | 'ended' = 'new';
  #nextIndex = 0;
  #blocks = 0;

  /** Takes one event. @returns what is wrong with it, or null. */
  take(event: StreamEvent): string | null {
    if (this.#phase === 'ended') return `${event.type} after the end`;
    if (event.type === 'ping') return null;
    if (event.type === 'error') {
      this.#phase = 'ended';
      return null;
    }
    if (event.type === 'start') {
      if (this.#phase === 'open') return 'a second start';
      this.#phase = 'open';
      return null;
    }
    return this.#phase === 'new' ? `${event.type} before start` : this.#takeOpen(event);
  }

  get ended(): boolean {
    return this.#phase === 'ended';
  }

  #takeOpen(event: Exclude<StreamEvent, { type: 'start' | 'ping' | 'error' }>): string | null {
    switch (event.type) {
      case 'block_start':
        if (event.index < this.#nextIndex) return `block ${event.index} after block ${this.#nextIndex - 1}`;
        if (++this.#blocks > blocksPerAnswerMax) return `more than ${blocksPerAnswerMax} blocks`;
        this.#nextIndex = event.index + 1;
        this.#open.set(event.index, event.block.kind);
        return null;
      case 'text_delta':
        return this.#open.get(event.index) === 'text' ? null : `text outside a text block (${event.index})`;
      case 'arguments_delta':
        return this.#open.get(event.index) === 'tool_call' ? null : `arguments outside a tool call (${event.index})`;
      case 'reasoning_delta':
        if (this.#sealed.has(event.index)) return `reasoning after its seal (${event.index})`;
        return this.#open.get(event.index) === 'reasoning' ? null : `reasoning outside its block (${event.index})`;
      case 'seal':
        if (this.#open.get(event.index) !== 'reasoning') return `a seal outside a reasoning block (${event.index})`;
        if (this.#sealed.has(event.index)) return `a second seal (${event.index})`;
        this.#sealed.add(event.index);
        return null;
      case 'block_stop':
        return this.#open.delete(event.index) ? null : `block ${event.index} closed but not open`;
      default:
        if (this.#open.size > 0) return `finish with ${this.#open.size} open blocks`;
        this.#phase = 'ended';
        return null;
    }
  }
}
