import type { PortcullisError } from '../../base/errors.ts';
import { toolArgumentsCharsMax, toolCallsPerAnswerMax } from '../../base/limits.ts';
import type { Answer } from '../conversation.ts';
import { parseExactJson } from '../exact-json.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { outputBytesOf } from '../output-bytes.ts';
import { providerError } from '../provider-error.ts';
import type {
  AnswerEvent,
  EncoderOptions,
  StreamDecoder,
  StreamEncoder,
  StreamEvent,
  WireEvent,
} from '../stream-events.ts';
import { type DecoderCore, type EncoderCore, createOrderedDecoder, createOrderedEncoder } from '../stream-order.ts';
import { parseArguments } from '../tool-arguments.ts';
import type { Usage } from '../usage.ts';
import { streamErrorEvent } from './errors.ts';
import { callId, closeMessage, parseArgumentsText, parseStop, writeStop } from './response.ts';
import { usageOf } from './usage.ts';
import { writeUsage } from './usage-writer.ts';

/** Reads a stream of Chat Completions chunks, as OpenAI and the many servers that imitate it send them. */
export function createDecoder(losses: Losses): StreamDecoder {
  return createOrderedDecoder(new Decoder(losses));
}

/** A tool call on its way. `index` is its canonical one. */
interface Call {
  readonly index: number;
  readonly id: string;
  /** Emptied when the call closes: nothing more may come then. */
  argumentsJson: string;
  open: boolean;
}

class Decoder implements DecoderCore {
  usage: Usage | null = null;
  outputBytes = 0;
  readonly #losses: Losses;
  #started = false;
  #nextIndex = 0;
  #textIndex: number | null = null;
  /** The calls in order of appearance, and by the `index` under which their parts come. */
  readonly #calls: Call[] = [];
  readonly #byWireIndex = new Map<number, Call>();
  #heldChars = 0;
  #refused = false;
  #finish: Pick<Answer, 'stop' | 'stopSequence'> | null = null;

  constructor(losses: Losses) {
    this.#losses = losses;
  }

  *event({ event, data }: WireEvent): Iterable<StreamEvent> {
    if (data === '[DONE]') {
      yield* this.end();
      if (this.#finish === null) throw this.#losses.malformed('finish_reason', 'given before [DONE]');
      return;
    }
    const json = this.#parse(data);
    const chunk = new ObjectReader(json, 'chunk', this.#losses);
    if (event === 'error' || chunk.any('error') !== undefined) throw providerError('chat', json);
    if (!this.#started) {
      this.#started = true;
      const [id, model] = [chunk.optionalString('id') ?? '', chunk.optionalString('model') ?? ''];
      yield { type: 'start', id, model, usage: null };
    }
    // Usage comes in a chunk of its own after the reason; some servers add running totals to every chunk.
    this.usage = usageOf(chunk.any('usage')) ?? this.usage;
    for (const [i, choice] of chunk.list('choices').entries()) {
      yield* this.#choice(new ObjectReader(choice, `choices[${i}]`, this.#losses));
    }
  }

  /** Due at [DONE], or where the connection ends without one: everything that the answer holds has come by then. */
  *end(): Iterable<StreamEvent> {
    if (this.#finish !== null) yield { type: 'finish', ...this.#finish, usage: this.usage };
  }

  #parse(data: string): unknown {
    try {
      return parseExactJson(data);
    } catch {
      throw this.#losses.malformed('chunk', 'JSON');
    }
  }

  *#choice(choice: ObjectReader): Iterable<StreamEvent> {
    if ((choice.optionalNumber('index') ?? 0) !== 0) {
      this.#losses.drop('choices[1]', 'is a second choice, which nobody asked for');
      return;
    }
    choice.hint('logprobs');
    const delta = choice.child('delta');
    this.outputBytes += outputBytesOf(choice.any('delta'));
    if (delta !== null) yield* this.#delta(delta);
    if (choice.any('finish_reason') === undefined || this.#finish !== null) return;
    yield* this.#closeText();
    for (const call of this.#calls) yield* this.#closeCall(call);
    const seen = { called: this.#calls.length > 0, refused: this.#refused };
    this.#finish = parseStop(choice, seen, this.#losses);
  }

  *#delta(delta: ObjectReader): Iterable<StreamEvent> {
    const refusal = delta.optionalString('refusal') ?? '';
    if (refusal !== '') this.#refused = true;
    for (const text of [delta.optionalString('content') ?? '', refusal]) if (text !== '') yield* this.#text(text);
    for (const [i, json] of delta.list('tool_calls').entries()) {
      yield* this.#toolCall(new ObjectReader(json, `tool_calls[${i}]`, this.#losses));
    }
    closeMessage(delta, this.#losses);
  }

  *#text(text: string): Iterable<StreamEvent> {
    this.#refuseAfterFinish();
    if (this.#textIndex === null) {
      yield* this.#closeComplete();
      this.#textIndex = this.#nextIndex++;
      yield { type: 'block_start', index: this.#textIndex, block: { kind: 'text' } };
    }
    yield { type: 'text_delta', index: this.#textIndex, text };
  }

  *#toolCall(part: ObjectReader): Iterable<StreamEvent> {
    const fn = part.child('function');
    let call = this.#known(part, fn);
    if (call === null) {
      this.#refuseAfterFinish();
      if (fn === null) throw part.malformed('function', 'a JSON object');
      const name = fn.string('name');
      yield* this.#closeText();
      yield* this.#closeComplete();
      call = this.#remember(part);
      yield { type: 'block_start', index: call.index, block: { kind: 'tool_call', id: call.id, name } };
    }
    const json = fn === null ? '' : parseArgumentsText(fn);
    if (json === '') return;
    if (!call.open) {
      if (json.trim() === '') return;
      throw part.malformed('function.arguments', 'left out once the call is complete');
    }
    this.#heldChars += json.length;
    if (this.#heldChars > toolArgumentsCharsMax) {
      throw part.malformed('function.arguments', `at most ${toolArgumentsCharsMax} characters in open calls`);
    }
    call.argumentsJson += json;
    yield { type: 'arguments_delta', index: call.index, json };
  }

  /**
   * The call that a part belongs to, or null when the part begins one. By the book `index` says so. Some servers leave
   * it out, or send 0 for every call: then a new id, or a name after a complete call, tells the calls apart.
   */
  #known(part: ObjectReader, fn: ObjectReader | null): Call | null {
    const wireIndex = part.optionalNumber('index');
    const id = part.optionalString('id') || null;
    const named = Boolean(fn?.optionalString('name'));
    const call =
      wireIndex === null
        ? this.#calls.findLast((each) => id === null || each.id === id)
        : this.#byWireIndex.get(wireIndex);
    if (call === undefined) return null;
    if (named && id !== null && id !== call.id) return null;
    if (named && id === null && isComplete(call)) return null;
    return call;
  }

  #remember(part: ObjectReader): Call {
    if (this.#calls.length === toolCallsPerAnswerMax) {
      throw part.malformed('index', `one of at most ${toolCallsPerAnswerMax} tool calls`);
    }
    const call: Call = { index: this.#nextIndex++, id: callId(part), argumentsJson: '', open: true };
    const wireIndex = part.optionalNumber('index');
    this.#calls.push(call);
    if (wireIndex !== null) this.#byWireIndex.set(wireIndex, call);
    return call;
  }

  *#closeText(): Iterable<StreamEvent> {
    if (this.#textIndex === null) return;
    yield { type: 'block_stop', index: this.#textIndex };
    this.#textIndex = null;
  }

  *#closeCall(call: Call): Iterable<StreamEvent> {
    if (!call.open) return;
    call.open = false;
    this.#heldChars -= call.argumentsJson.length;
    call.argumentsJson = '';
    yield { type: 'block_stop', index: call.index };
  }

  /** Something else begins: calls whose arguments are whole are over. Others may go on beside it. */
  *#closeComplete(): Iterable<StreamEvent> {
    for (const call of this.#calls) {
      if (isComplete(call)) yield* this.#closeCall(call);
    }
  }

  #refuseAfterFinish(): void {
    if (this.#finish !== null) throw this.#losses.malformed('finish_reason', 'sent after all content');
  }
}

function isComplete(call: Call): boolean {
  return !call.open || parseArguments(call.argumentsJson) !== null;
}

/** Writes a stream of Chat Completions chunks. */
export function createEncoder(options: EncoderOptions): StreamEncoder {
  return createOrderedEncoder(new Encoder(options));
}

class Encoder implements EncoderCore {
  readonly #options: EncoderOptions;
  #id = '';
  #model = '';
  /** Position among the tool calls, by canonical index. */
  readonly #calls = new Map<number, number>();

  constructor(options: EncoderOptions) {
    this.#options = options;
  }

  write(event: AnswerEvent): string {
    switch (event.type) {
      case 'start':
        this.#id = event.id;
        this.#model = event.model;
        return this.#delta({ role: 'assistant' });
      case 'ping':
        // Chat has no ping; a comment (HTML Living Standard, 9.2.6) keeps the connection from looking idle.
        return ': ping\n\n';
      case 'block_start':
        return event.block.kind === 'text' ? '' : this.#callStart(event.index, event.block);
      case 'text_delta':
        return this.#delta({ content: event.text });
      case 'arguments_delta':
        return this.#delta({
          tool_calls: [{ index: this.#calls.get(event.index), function: { arguments: event.json } }],
        });
      case 'block_stop':
        return '';
      default:
        return (
          this.#chunk([{ index: 0, delta: {}, logprobs: null, finish_reason: writeStop(event.stop) }], null) +
          (this.#options.includeUsage && event.usage !== null ? this.#chunk([], writeUsage(event.usage)) : '') +
          'data: [DONE]\n\n'
        );
    }
  }

  error(error: PortcullisError, requestId: string): string {
    return streamErrorEvent(error, requestId);
  }

  #callStart(canonical: number, { id, name }: { readonly id: string; readonly name: string }): string {
    const index = this.#calls.size;
    this.#calls.set(canonical, index);
    return this.#delta({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] });
  }

  #delta(delta: Record<string, unknown>): string {
    return this.#chunk([{ index: 0, delta, logprobs: null, finish_reason: null }], null);
  }

  #chunk(choices: readonly unknown[], usage: unknown): string {
    const chunk = {
      id: this.#id,
      object: 'chat.completion.chunk',
      created: this.#options.createdS,
      model: this.#model,
      choices,
      ...(this.#options.includeUsage && { usage }),
    };
    return `data: ${JSON.stringify(chunk)}\n\n`;
  }
}
