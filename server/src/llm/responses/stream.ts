import { toolCallsPerAnswerMax } from '../../base/limits.ts';
import type { AssistantBlock } from '../conversation.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { outputBytesOf } from '../output-bytes.ts';
import { providerError } from '../provider-error.ts';
import type { StreamBlock, StreamDecoder, StreamEvent, WireEvent } from '../stream-events.ts';
import { type DecoderCore, createOrderedDecoder } from '../stream-order.ts';
import type { Usage } from '../usage.ts';
import { partBreak, readSeal } from './reasoning-item.ts';
import { parseCall, parseItem, parseStop } from './response.ts';
import { usageOf } from './usage.ts';

export { createEncoder } from './stream-encoder.ts';

/** Reads a stream of a response. */
export function createDecoder(losses: Losses): StreamDecoder {
  return createOrderedDecoder(new Decoder(losses));
}

/** An item of the output on its way. */
interface Item {
  readonly kind: StreamBlock['kind'];
  /** Its input is free text, which becomes arguments in JSON. */
  freeform: boolean;
  /** Its open block; null before there is anything to say. */
  index: number | null;
  /** The part of it that came last. */
  part: number;
  /** Some of it came in deltas: then what its end repeats is known. */
  streamed: boolean;
}

const kinds: ReadonlyMap<string, StreamBlock['kind']> = new Map([
  ['message', 'text'],
  ['reasoning', 'reasoning'],
  ['function_call', 'tool_call'],
  ['custom_tool_call', 'tool_call'],
]);

/** Names of the deltas, each with the kind of block that it is of and the member that counts its parts. */
const deltas: ReadonlyMap<unknown, readonly [kind: StreamBlock['kind'], part: string]> = new Map([
  ['response.output_text.delta', ['text', 'content_index']],
  ['response.refusal.delta', ['text', 'content_index']],
  ['response.reasoning_summary_text.delta', ['reasoning', 'summary_index']],
  ['response.reasoning_text.delta', ['reasoning', 'content_index']],
  ['response.function_call_arguments.delta', ['tool_call', '']],
  ['response.custom_tool_call_input.delta', ['tool_call', '']],
]);

class Decoder implements DecoderCore {
  usage: Usage | null = null;
  outputBytes = 0;
  readonly #losses: Losses;
  #head = { id: '', model: '' };
  #started = false;
  #nextIndex = 0;
  readonly #items = new Map<number, Item>();
  #calls = 0;
  #refused = false;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  *event({ event, data }: WireEvent): Iterable<StreamEvent> {
    const json = this.#parse(data);
    const type = json.optionalString('type') ?? event;
    const kind = deltas.get(type);
    if (kind !== undefined) yield* this.#delta(json, kind[0], kind[1], type === 'response.refusal.delta');
    else if (type === 'error') throw providerError('responses', JSON.parse(data));
    else if (type === 'response.output_item.added') yield* this.#added(outputIndex(json), json.any('item'));
    else if (type === 'response.output_item.done') yield* this.#done(outputIndex(json), json.any('item'));
    else if (type === 'response.created') this.#readHead(json);
    else if (type === 'response.failed') throw providerError('responses', JSON.parse(data));
    else if (type === 'response.completed') yield* this.#ended(json, 'completed');
    else if (type === 'response.incomplete') yield* this.#ended(json, 'incomplete');
    // All others repeat what came, or tell of work that is under way.
  }

  /** A stream that ends without its terminal event was cut. */
  end(): Iterable<StreamEvent> {
    return [];
  }

  #parse(data: string): ObjectReader {
    try {
      return new ObjectReader(JSON.parse(data), 'event', this.#losses);
    } catch {
      throw this.#losses.malformed('event', 'JSON');
    }
  }

  #readHead(event: ObjectReader): void {
    const response = event.child('response');
    const { id, model } = this.#head;
    this.#head = { id: response?.optionalString('id') ?? id, model: response?.optionalString('model') ?? model };
  }

  /** The provider may still refuse after it named the response, so the answer starts with what is said first. */
  *#start(): Iterable<StreamEvent> {
    if (this.#started) return;
    this.#started = true;
    yield { type: 'start', ...this.#head, usage: null };
  }

  *#added(at: number, json: unknown): Iterable<StreamEvent> {
    const item = new ObjectReader(json, 'item', this.#losses);
    const type = item.string('type');
    const kind = kinds.get(type);
    if (kind === undefined) {
      this.#losses.drop(`output.${type}`, 'is an item that nobody asked for');
      return;
    }
    const freeform = type === 'custom_tool_call';
    const added = this.#remember(at, { kind, freeform, index: null, part: 0, streamed: false });
    if (kind !== 'tool_call') return;
    if (++this.#calls > toolCallsPerAnswerMax)
      throw item.malformed('type', `one of at most ${toolCallsPerAnswerMax} tool calls`);
    const { id, name } = parseCall(item, freeform ? 'custom_tool_call' : 'function_call');
    yield* this.#open(added, { kind: 'tool_call', id, name });
  }

  #remember(at: number, item: Item): Item {
    if (this.#items.has(at) || this.#items.size === toolCallsPerAnswerMax) {
      throw this.#losses.malformed(
        'output_index',
        `another than that of an open item, of ${toolCallsPerAnswerMax} at most`,
      );
    }
    this.#items.set(at, item);
    return item;
  }

  *#open(item: Item, block: StreamBlock): Iterable<StreamEvent> {
    yield* this.#start();
    item.index = this.#nextIndex++;
    yield { type: 'block_start', index: item.index, block };
  }

  *#delta(event: ObjectReader, kind: StreamBlock['kind'], partName: string, refusal: boolean): Iterable<StreamEvent> {
    const text = event.optionalString('delta') ?? '';
    const item = this.#items.get(outputIndex(event));
    if (item?.kind !== kind) throw event.malformed('output_index', 'that of an open item of its kind');
    if (text === '') return;
    this.outputBytes += outputBytesOf(text);
    this.#refused ||= refusal;
    const part = partName === '' ? 0 : (event.optionalNumber(partName) ?? 0);
    yield* this.#say(item, text, part);
  }

  *#say(item: Item, text: string, part: number): Iterable<StreamEvent> {
    const isFirst = !item.streamed;
    item.streamed = true;
    switch (item.kind) {
      case 'text':
        if (item.part !== part) yield* this.#close(item);
        if (item.index === null) yield* this.#open(item, { kind: 'text' });
        if (item.index !== null) yield { type: 'text_delta', index: item.index, text };
        break;
      case 'reasoning': {
        if (item.index === null) yield* this.#open(item, { kind: 'reasoning' });
        const apart = isFirst || item.part === part ? '' : partBreak;
        if (item.index !== null) yield { type: 'reasoning_delta', index: item.index, text: apart + text };
        break;
      }
      default: {
        const json = item.freeform ? (isFirst ? '{"input":"' : '') + JSON.stringify(text).slice(1, -1) : text;
        if (item.index !== null) yield { type: 'arguments_delta', index: item.index, json };
      }
    }
    item.part = part;
  }

  *#close(item: Item): Iterable<StreamEvent> {
    if (item.index === null) return;
    if (item.freeform && item.streamed) yield { type: 'arguments_delta', index: item.index, json: '"}' };
    yield { type: 'block_stop', index: item.index };
    item.index = null;
  }

  *#done(at: number, json: unknown): Iterable<StreamEvent> {
    const reader = new ObjectReader(json, 'item', this.#losses);
    let item = this.#items.get(at);
    if (item === undefined) {
      yield* this.#added(at, json);
      item = this.#items.get(at);
      if (item === undefined) return;
    }
    this.#items.delete(at);
    const { blocks, refused } = parseItem(reader, this.#losses);
    this.#refused ||= refused;
    if (!item.streamed) {
      for (const [part, block] of blocks.entries()) yield* this.#unstreamed(item, block, part);
    }
    if (item.kind === 'reasoning') yield* this.#seal(item, new ObjectReader(json, 'item', this.#losses));
    yield* this.#close(item);
  }

  /** Some servers tell an item in one piece. */
  *#unstreamed(item: Item, block: AssistantBlock, part: number): Iterable<StreamEvent> {
    const text = block.type === 'tool_call' ? block.argumentsJson : block.text;
    if (text === '') return;
    this.outputBytes += outputBytesOf(text);
    // Free text was made arguments by the reading of its item.
    item.freeform = false;
    yield* this.#say(item, text, part);
  }

  *#seal(item: Item, reader: ObjectReader): Iterable<StreamEvent> {
    const seal = readSeal(reader);
    if (seal === null) return;
    if (item.index === null) yield* this.#open(item, { kind: 'reasoning' });
    if (item.index !== null) yield { type: 'seal', index: item.index, seal };
  }

  *#ended(event: ObjectReader, status: 'completed' | 'incomplete'): Iterable<StreamEvent> {
    const response = new ObjectReader(event.any('response'), 'response', this.#losses);
    this.usage = usageOf(response.any('usage'), response.any('service_tier'));
    // Some servers tell all that was said at the end only.
    if (!this.#started) {
      this.#readHead(event);
      for (const [at, item] of response.list('output').entries()) yield* this.#done(at, item);
    }
    yield* this.#start();
    for (const item of this.#items.values()) yield* this.#close(item);
    const seen = { called: this.#calls > 0, refused: this.#refused, status };
    yield { type: 'finish', stop: parseStop(response, seen, this.#losses), stopSequence: null, usage: this.usage };
  }
}

function outputIndex(event: ObjectReader): number {
  return event.optionalNumber('output_index') ?? 0;
}
