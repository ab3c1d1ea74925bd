import { PortcullisError } from '../../base/errors.ts';
import { toolArgumentsCharsMax } from '../../base/limits.ts';
import type { JsonObject, StopReason } from '../conversation.ts';
import { parseExactJson } from '../exact-json.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { outputBytesOf } from '../output-bytes.ts';
import { providerError } from '../provider-error.ts';
import type {
  AnswerEvent,
  StreamBlock,
  StreamDecoder,
  StreamEncoder,
  StreamEvent,
  WireEvent,
} from '../stream-events.ts';
import { type DecoderCore, type EncoderCore, createOrderedDecoder, createOrderedEncoder } from '../stream-order.ts';
import { argumentsError, parseArguments } from '../tool-arguments.ts';
import type { Usage } from '../usage.ts';
import { streamErrorEvent } from './errors.ts';
import {
  noteDetails,
  parseStop,
  parseText,
  parseToolUse,
  translatable,
  writeMessage,
  writeStop,
  writeText,
  writeToolUse,
} from './response.ts';
import { usageOf } from './usage.ts';
import { writeUsage, writeUsageTotals } from './usage-writer.ts';

/** Reads a stream of Messages events. */
export function createDecoder(losses: Losses): StreamDecoder {
  return createOrderedDecoder(new Decoder(losses));
}

class Decoder implements DecoderCore {
  usage: Usage | null = null;
  outputBytes = 0;
  readonly #losses: Losses;
  /** Tool calls whose input no delta has brought yet, by index: what their start gave as input. */
  readonly #startInputs = new Map<number, JsonObject | null>();
  /** Blocks that stay behind. */
  readonly #skipped = new Set<number>();
  #usageTotals: JsonObject = {};
  #stop: StopReason | null = null;
  #stopSequence: string | null = null;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  *event({ data }: WireEvent): Iterable<StreamEvent> {
    const json = this.#parse(data);
    const event = new ObjectReader(json, 'event', this.#losses);
    switch (event.any('type')) {
      case 'message_start':
        yield this.#start(event);
        break;
      case 'content_block_start':
        yield* this.#blockStart(event, this.#index(event));
        break;
      case 'content_block_delta':
        yield* this.#blockDelta(event, this.#index(event));
        break;
      case 'content_block_stop':
        yield* this.#blockStop(this.#index(event));
        break;
      case 'message_delta':
        this.#messageDelta(event);
        break;
      case 'message_stop':
        yield* this.end();
        break;
      case 'ping':
        yield { type: 'ping' };
        break;
      case 'error':
        throw providerError('anthropic', json);
      default:
      // The vendor may add types of events at any time; none of them carries content.
    }
  }

  *end(): Iterable<StreamEvent> {
    // Once the reason is known nothing more can come but the terminal event itself.
    if (this.#stop !== null) {
      yield { type: 'finish', stop: this.#stop, stopSequence: this.#stopSequence, usage: this.usage };
    }
  }

  #parse(data: string): unknown {
    try {
      return parseExactJson(data);
    } catch {
      throw this.#losses.malformed('event', 'JSON');
    }
  }

  #index(event: ObjectReader): number {
    const index = event.any('index');
    if (typeof index !== 'number' || !Number.isSafeInteger(index)) throw event.malformed('index', 'a whole number');
    return index;
  }

  #start(event: ObjectReader): StreamEvent {
    const message = event.child('message');
    if (message === null) throw event.malformed('message', 'a JSON object');
    this.#addUsage(message);
    return {
      type: 'start',
      id: message.optionalString('id') ?? '',
      model: message.optionalString('model') ?? '',
      usage: this.usage,
    };
  }

  *#blockStart(event: ObjectReader, index: number): Iterable<StreamEvent> {
    const block = event.child('content_block');
    if (block === null) throw event.malformed('content_block', 'a JSON object');
    this.outputBytes += outputBytesOf(event.any('content_block'));
    switch (translatable(block, 'content_block', this.#losses)) {
      case 'text': {
        yield { type: 'block_start', index, block: { kind: 'text' } };
        const text = parseText(block);
        if (text !== '') yield { type: 'text_delta', index, text };
        break;
      }
      case 'tool_use': {
        const { id, name } = parseToolUse(block);
        yield { type: 'block_start', index, block: { kind: 'tool_call', id, name } };
        this.#startInputs.set(index, block.optionalObject('input'));
        break;
      }
      case null:
        this.#skipped.add(index);
    }
  }

  *#blockDelta(event: ObjectReader, index: number): Iterable<StreamEvent> {
    this.outputBytes += outputBytesOf(event.any('delta'));
    if (this.#skipped.has(index)) return;
    const delta = event.child('delta');
    if (delta === null) throw event.malformed('delta', 'a JSON object');
    const type = delta.string('type');
    if (type === 'text_delta') {
      const text = delta.optionalString('text') ?? '';
      if (text !== '') yield { type: 'text_delta', index, text };
    } else if (type === 'input_json_delta') {
      const json = delta.optionalString('partial_json') ?? '';
      if (json === '') return;
      this.#startInputs.delete(index);
      yield { type: 'arguments_delta', index, json };
    } else if (type === 'citations_delta') this.#losses.hint('citations');
    else this.#losses.drop('delta', `is of type "${type}"`);
  }

  *#blockStop(index: number): Iterable<StreamEvent> {
    if (this.#skipped.delete(index)) return;
    const input = this.#startInputs.get(index);
    this.#startInputs.delete(index);
    // Without deltas the input is the one that the start gave: usually the empty object of a tool without arguments.
    if (input === null) throw this.#losses.malformed('content_block.input', 'a JSON object');
    if (input !== undefined) yield { type: 'arguments_delta', index, json: JSON.stringify(input) };
    yield { type: 'block_stop', index };
  }

  #messageDelta(event: ObjectReader): void {
    const delta = event.child('delta');
    const reason = delta?.any('stop_reason');
    if (reason !== undefined) this.#stop = parseStop(reason, this.#losses);
    if (delta !== null) noteDetails(delta);
    this.#stopSequence = delta?.optionalString('stop_sequence') ?? this.#stopSequence;
    this.#addUsage(event);
  }

  /** All numbers are totals of the message so far: later ones replace, never add. */
  #addUsage(holder: ObjectReader): void {
    const told = Object.entries(holder.optionalObject('usage') ?? {}).filter(([, value]) => value !== null);
    this.#usageTotals = { ...this.#usageTotals, ...Object.fromEntries(told) };
    this.usage = usageOf(this.#usageTotals);
  }
}

/** Writes a stream of Messages events. */
export function createEncoder(): StreamEncoder {
  return createOrderedEncoder(new Encoder());
}

/** A block that opened while another was open: this dialect has one at a time, so it waits. */
interface WaitingBlock {
  readonly block: StreamBlock;
  deltas: string;
  closed: boolean;
}

/** A tool call on its way, with its arguments so far. */
interface OpenCall {
  readonly id: string;
  readonly name: string;
  argumentsJson: string;
}

class Encoder implements EncoderCore {
  /** The block that is open on the wire, by its canonical index. */
  #current: { readonly index: number; readonly kind: StreamBlock['kind'] } | null = null;
  #wireIndex = -1;
  /** In the order in which they opened. */
  readonly #waiting = new Map<number, WaitingBlock>();
  #waitingChars = 0;
  readonly #calls = new Map<number, OpenCall>();
  /** A closed call whose arguments are not an object. Only `finish` tells whether a cut by `length` explains it. */
  #badCall: OpenCall | null = null;

  write(event: AnswerEvent): string {
    switch (event.type) {
      case 'start':
        // A chat provider tells the input only at its end. The type demands numbers, so 0 stands here, and the true
        // input_tokens follow in message_delta, whose totals replace these in every client.
        return sse('message_start', { message: { ...writeMessage(event), usage: writeUsage(event.usage) } });
      case 'ping':
        return sse('ping', {});
      case 'block_start':
        return this.#blockStart(event.index, event.block);
      case 'text_delta':
        return this.#delta(event.index, event.text);
      case 'arguments_delta':
        this.#collect(event.index, event.json);
        return this.#delta(event.index, event.json);
      case 'block_stop':
        return this.#blockStop(event.index);
      default:
        if (this.#badCall !== null && event.stop !== 'length') throw argumentsError(this.#badCall);
        return (
          this.#closeHeld() +
          sse('message_delta', {
            delta: { ...writeStop(event.stop, event.stopSequence), container: null },
            usage: writeUsageTotals(event.usage),
          }) +
          sse('message_stop', {})
        );
    }
  }

  error(error: PortcullisError, requestId: string): string {
    return streamErrorEvent(error, requestId);
  }

  #blockStart(index: number, block: StreamBlock): string {
    if (block.kind === 'tool_call') this.#calls.set(index, { id: block.id, name: block.name, argumentsJson: '' });
    if (this.#current === null) return this.#open(index, block);
    this.#waiting.set(index, { block, deltas: '', closed: false });
    return '';
  }

  #open(index: number, block: StreamBlock): string {
    this.#current = { index, kind: block.kind };
    this.#wireIndex++;
    return sse('content_block_start', {
      index: this.#wireIndex,
      content_block: block.kind === 'text' ? writeText('') : writeToolUse(block, {}),
    });
  }

  #delta(index: number, text: string): string {
    const waiting = this.#waiting.get(index);
    if (waiting === undefined) return this.#writeDelta(text);
    this.#waitingChars += text.length;
    if (this.#waitingChars > toolArgumentsCharsMax) throw tooLong('holds back more than fits between two tool calls');
    waiting.deltas += text;
    return '';
  }

  #writeDelta(text: string): string {
    const isText = this.#current?.kind === 'text';
    return sse('content_block_delta', {
      index: this.#wireIndex,
      delta: isText ? { type: 'text_delta', text } : { type: 'input_json_delta', partial_json: text },
    });
  }

  #blockStop(index: number): string {
    this.#checkArguments(index);
    const waiting = this.#waiting.get(index);
    if (waiting !== undefined) waiting.closed = true;
    // No client is told that a bad call is whole: it stays open, and what comes after it waits.
    return waiting !== undefined || this.#badCall !== null ? '' : this.#close() + this.#writeWaiting();
  }

  #closeHeld(): string {
    return this.#current === null ? '' : this.#close() + this.#writeWaiting();
  }

  #close(): string {
    this.#current = null;
    return sse('content_block_stop', { index: this.#wireIndex });
  }

  /** Writes the blocks that waited, up to the first that is still open. */
  #writeWaiting(): string {
    let written = '';
    for (const [index, { block, deltas, closed }] of this.#waiting) {
      this.#waiting.delete(index);
      this.#waitingChars -= deltas.length;
      written += this.#open(index, block);
      if (deltas !== '') written += this.#writeDelta(deltas);
      if (!closed) break;
      written += this.#close();
    }
    return written;
  }

  #collect(index: number, json: string): void {
    const call = this.#calls.get(index);
    if (call === undefined) return;
    if (call.argumentsJson.length + json.length > toolArgumentsCharsMax) throw tooLong('has too long tool arguments');
    call.argumentsJson += json;
  }

  #checkArguments(index: number): void {
    const call = this.#calls.get(index);
    this.#calls.delete(index);
    if (call !== undefined && parseArguments(call.argumentsJson) === null) this.#badCall = call;
  }
}

function tooLong(what: string): PortcullisError {
  return new PortcullisError('upstream_error', `The provider's stream ${what} (${toolArgumentsCharsMax} characters).`);
}

function sse(type: string, members: Record<string, unknown>): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`;
}
