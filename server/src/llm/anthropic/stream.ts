import { toolArgumentsCharsMax } from '../../base/limits.ts';
import type { JsonObject, Seal, StopReason } from '../conversation.ts';
import { parseExactJson } from '../exact-json.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { outputBytesOf } from '../output-bytes.ts';
import { providerError } from '../provider-error.ts';
import type { StreamDecoder, StreamEvent, WireEvent } from '../stream-events.ts';
import { type DecoderCore, createOrderedDecoder } from '../stream-order.ts';
import type { Usage } from '../usage.ts';
import { noteDetails, parseStop, parseText, parseThinking, parseToolUse, translatable } from './response.ts';
import { signatureSeal } from './thinking.ts';
import { usageOf } from './usage.ts';

export { createEncoder } from './stream-encoder.ts';

/** Reads a stream of Messages events. */
export function createDecoder(losses: Losses): StreamDecoder {
  return createOrderedDecoder(new Decoder(losses));
}

class Decoder implements DecoderCore {
  usage: Usage | null = null;
  outputBytes = 0;
  readonly #losses: Losses;
  /** Tool calls whose input no delta has brought yet, by index: what their start gave as input, as JSON. */
  readonly #startInputs = new Map<number, string | null>();
  #heldChars = 0;
  /** The open block of reasoning: its seal is told at its end, as the vendor's clients take the last one. */
  #thinking: { readonly index: number; readonly seal: Seal | null } | null = null;
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
      case 'thinking':
      case 'redacted_thinking': {
        yield { type: 'block_start', index, block: { kind: 'reasoning' } };
        const { text, seal } = parseThinking(block);
        if (text !== '') yield { type: 'reasoning_delta', index, text };
        if (this.#thinking !== null) throw block.malformed('type', 'another while a block of thinking is open');
        this.#thinking = { index, seal };
        break;
      }
      case 'tool_use': {
        const { id, name } = parseToolUse(block);
        yield { type: 'block_start', index, block: { kind: 'tool_call', id, name } };
        this.#holdInput(index, block);
        break;
      }
      case null:
        this.#skipped.add(index);
    }
  }

  /** Usually the empty object: deltas bring the input, or it is that of a tool without arguments. */
  #holdInput(index: number, block: ObjectReader): void {
    const input = block.optionalObject('input');
    const json = input && JSON.stringify(input);
    this.#heldChars += json?.length ?? 0;
    if (this.#heldChars > toolArgumentsCharsMax) {
      throw block.malformed('input', `at most ${toolArgumentsCharsMax} characters in open calls`);
    }
    this.#startInputs.set(index, json);
  }

  #takeInput(index: number): string | null | undefined {
    const json = this.#startInputs.get(index);
    this.#heldChars -= json?.length ?? 0;
    this.#startInputs.delete(index);
    return json;
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
      this.#takeInput(index);
      yield { type: 'arguments_delta', index, json };
    } else if (type === 'thinking_delta') {
      const text = delta.optionalString('thinking') ?? '';
      if (text !== '') yield { type: 'reasoning_delta', index, text };
    } else if (type === 'signature_delta') {
      if (this.#thinking?.index !== index) throw event.malformed('index', 'that of the open block of thinking');
      this.#thinking = { index, seal: signatureSeal(delta.optionalString('signature') ?? '') };
    } else if (type === 'citations_delta') this.#losses.hint('citations');
    else this.#losses.drop('delta', `is of type "${type}"`);
  }

  *#blockStop(index: number): Iterable<StreamEvent> {
    if (this.#skipped.delete(index)) return;
    const input = this.#takeInput(index);
    // Without deltas the input is the one that the start gave.
    if (input === null) throw this.#losses.malformed('content_block.input', 'a JSON object');
    if (input !== undefined) yield { type: 'arguments_delta', index, json: input };
    if (this.#thinking?.index === index) {
      const { seal } = this.#thinking;
      this.#thinking = null;
      if (seal !== null) yield { type: 'seal', index, seal };
    }
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
