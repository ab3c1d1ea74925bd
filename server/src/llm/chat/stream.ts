import { PortcullisError } from '../../base/errors.ts';
import { sealBytesMax, toolArgumentsCharsMax, upstreamAnswerBytesMax } from '../../base/limits.ts';
import type { Answer, AssistantBlock } from '../conversation.ts';
import { parseExactJson } from '../exact-json.ts';
import { freeformNames } from '../freeform-tools.ts';
import type { Losses } from '../losses.ts';
import { ObjectReader } from '../object-reader.ts';
import { outputBytesOf } from '../output-bytes.ts';
import { providerError } from '../provider-error.ts';
import type {
  AnswerEvent,
  EncoderOptions,
  StreamBlock,
  StreamDecoder,
  StreamEncoder,
  StreamEvent,
  WireEvent,
} from '../stream-events.ts';
import { type DecoderCore, type EncoderCore, createOrderedDecoder, createOrderedEncoder } from '../stream-order.ts';
import type { Usage } from '../usage.ts';
import { streamErrorEvent } from './errors.ts';
import { ReasoningCollector, writeReasoning } from './reasoning.ts';
import { closeMessage, contentText, parseStop, writeStop, writeToolCall } from './response.ts';
import { StreamCalls } from './stream-calls.ts';
import { usageOf } from './usage.ts';
import { writeUsage } from './usage-writer.ts';

/** Reads a stream of Chat Completions chunks, as OpenAI and the many servers that imitate it send them. */
export function createDecoder(losses: Losses): StreamDecoder {
  return createOrderedDecoder(new Decoder(losses));
}

class Decoder implements DecoderCore {
  usage: Usage | null = null;
  outputBytes = 0;
  readonly #losses: Losses;
  readonly #calls: StreamCalls;
  #started = false;
  #nextIndex = 0;
  #textIndex: number | null = null;
  #reasoning: { readonly index: number; readonly collector: ReasoningCollector } | null = null;
  #refused = false;
  #finish: Pick<Answer, 'stop' | 'stopSequence'> | null = null;

  constructor(losses: Losses) {
    this.#losses = losses;
    this.#calls = new StreamCalls(losses);
  }

  *event({ event, data }: WireEvent): Iterable<StreamEvent> {
    if (data === '[DONE]') {
      if (this.#finish === null) yield* this.#finishUntold();
      yield* this.end();
      return;
    }
    const json = this.#parse(data);
    const chunk = new ObjectReader(json, 'chunk', this.#losses);
    if (event === 'error' || chunk.any('error') !== undefined) throw providerError('chat', json);
    const [id, model] = [chunk.optionalString('id') ?? '', chunk.optionalString('model') ?? ''];
    const choices = chunk.list('choices');
    // Azure's verdict on the prompt comes before the answer, and has neither name nor choices.
    if (!this.#started && (id !== '' || choices.length > 0)) {
      this.#started = true;
      yield { type: 'start', id, model, usage: null };
    }
    // Usage comes in a chunk of its own after the reason; some servers add running totals to every chunk.
    this.usage = usageOf(chunk.any('usage'), chunk.any('service_tier')) ?? this.usage;
    for (const [i, choice] of choices.entries()) {
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
    // Some servers send an empty reason until there is one.
    const ended = Boolean(choice.any('finish_reason')) || choice.any('error') !== undefined;
    if (ended && this.#finish === null) yield* this.#finishBy(choice);
  }

  *#finishBy(choice: ObjectReader): Iterable<StreamEvent> {
    const finish = parseStop(choice, { called: this.#calls.any, refused: this.#refused }, this.#losses);
    yield* this.#closeSaid();
    yield* this.#calls.closeAll();
    this.#finish = finish;
  }

  /** The server says that it is done, and not why. That is taken for a natural end where nothing is left half said. */
  *#finishUntold(): Iterable<StreamEvent> {
    if (!this.#started || !this.#calls.allComplete)
      throw this.#losses.malformed('finish_reason', 'given before [DONE]');
    this.#losses.hint('finish_reason');
    yield* this.#finishBy(new ObjectReader({}, 'choices[0]', this.#losses));
  }

  *#delta(delta: ObjectReader): Iterable<StreamEvent> {
    yield* this.#thought(delta);
    const refusal = delta.optionalString('refusal') ?? '';
    if (refusal !== '') this.#refused = true;
    for (const text of [contentText(delta, this.#losses), refusal]) if (text !== '') yield* this.#text(text);
    for (const [i, json] of delta.list('tool_calls').entries()) {
      const part = new ObjectReader(json, `tool_calls[${i}]`, this.#losses);
      yield* this.#calls.part(
        part,
        () => this.#begin(),
        () => this.#nextIndex++,
      );
    }
    closeMessage(delta, this.#losses);
  }

  *#thought(delta: ObjectReader): Iterable<StreamEvent> {
    const collector = this.#reasoning?.collector ?? new ReasoningCollector(this.#losses);
    const text = collector.add(delta);
    if (text === null) return;
    if (this.#reasoning === null) {
      yield* this.#begin();
      this.#reasoning = { index: this.#nextIndex++, collector };
      yield { type: 'block_start', index: this.#reasoning.index, block: { kind: 'reasoning' } };
    }
    if (text !== '') yield { type: 'reasoning_delta', index: this.#reasoning.index, text };
  }

  *#text(text: string): Iterable<StreamEvent> {
    if (this.#textIndex === null) {
      yield* this.#begin();
      this.#textIndex = this.#nextIndex++;
      yield { type: 'block_start', index: this.#textIndex, block: { kind: 'text' } };
    }
    yield { type: 'text_delta', index: this.#textIndex, text };
  }

  /** Makes room for a block that begins. */
  *#begin(): Iterable<StreamEvent> {
    if (this.#finish !== null) throw this.#losses.malformed('finish_reason', 'sent after all content');
    yield* this.#closeSaid();
    yield* this.#calls.settle();
  }

  /** Ends the text or the reasoning that is open: in this dialect nothing says that they end. */
  *#closeSaid(): Iterable<StreamEvent> {
    if (this.#textIndex !== null) yield { type: 'block_stop', index: this.#textIndex };
    this.#textIndex = null;
    if (this.#reasoning === null) return;
    const { index, collector } = this.#reasoning;
    this.#reasoning = null;
    yield { type: 'seal', index, seal: collector.seal() };
    yield { type: 'block_stop', index };
  }
}

/** Writes a stream of Chat Completions chunks. */
export function createEncoder(options: EncoderOptions): StreamEncoder {
  return createOrderedEncoder(new Encoder(options));
}

class Encoder implements EncoderCore {
  readonly #options: EncoderOptions;
  readonly #freeform: ReadonlySet<string>;
  #id = '';
  #model = '';
  /** Position among the tool calls, by canonical index. */
  readonly #calls = new Map<number, number>();
  /** Calls whose arguments are kept until they are whole: of tools that take free text, which is within them. */
  readonly #kept = new Map<number, { readonly id: string; readonly name: string; argumentsJson: string }>();
  /** The answer so far, by canonical index, as far as its reasoning needs it in the end. */
  readonly #blocks = new Map<number, AssistantBlock>();
  /** Of the reasoning and the calls that are kept. */
  #keptChars = 0;

  constructor(options: EncoderOptions) {
    this.#options = options;
    this.#freeform = freeformNames(options.request);
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
        return this.#blockStart(event.index, event.block);
      case 'text_delta':
        return this.#delta({ content: event.text });
      case 'reasoning_delta':
        this.#keep(event.index, event.text);
        return this.#delta({ reasoning_content: event.text });
      case 'seal':
        this.#seal(event);
        return '';
      case 'arguments_delta':
        return this.#arguments(event.index, event.json);
      case 'block_stop':
        return this.#blockStop(event.index);
      default:
        return this.#finish(event);
    }
  }

  error(error: PortcullisError, requestId: string): string {
    return streamErrorEvent(error, requestId);
  }

  #blockStart(index: number, block: StreamBlock): string {
    switch (block.kind) {
      case 'text':
        this.#blocks.set(index, { type: 'text', text: '' });
        return '';
      case 'reasoning':
        this.#blocks.set(index, { type: 'reasoning', text: '', seal: null });
        return '';
      default: {
        const { id, name } = block;
        this.#blocks.set(index, { type: 'tool_call', id, name, argumentsJson: '' });
        if (!this.#freeform.has(name)) return this.#call(index, { id, name, argumentsJson: '' });
        this.#kept.set(index, { id, name, argumentsJson: '' });
        return '';
      }
    }
  }

  #arguments(index: number, json: string): string {
    const kept = this.#kept.get(index);
    if (kept === undefined) {
      return this.#delta({ tool_calls: [{ index: this.#calls.get(index), function: { arguments: json } }] });
    }
    this.#count(json);
    kept.argumentsJson += json;
    if (kept.argumentsJson.length <= toolArgumentsCharsMax) return '';
    throw new PortcullisError(
      'upstream_error',
      `The input of a tool call is longer than ${toolArgumentsCharsMax} characters.`,
    );
  }

  #blockStop(index: number): string {
    const kept = this.#kept.get(index);
    if (kept === undefined) return '';
    this.#kept.delete(index);
    return this.#call(index, kept);
  }

  /** Calls are counted as they are written: clients build their list in that order. */
  #call(
    canonical: number,
    call: { readonly id: string; readonly name: string; readonly argumentsJson: string },
  ): string {
    const index = this.#calls.size;
    this.#calls.set(canonical, index);
    return this.#delta({ tool_calls: [{ index, ...writeToolCall(call, this.#freeform.has(call.name)) }] });
  }

  /** Beyond the bound the seal would not come back anyway. */
  #keep(index: number, text: string): void {
    const block = this.#blocks.get(index);
    if (block?.type !== 'reasoning' || block.text.length > sealBytesMax) return;
    this.#count(text);
    this.#blocks.set(index, { ...block, text: block.text + text });
  }

  #count(kept: string): void {
    this.#keptChars += kept.length;
    if (this.#keptChars <= upstreamAnswerBytesMax) return;
    const what = `The provider's answer is longer than ${upstreamAnswerBytesMax} characters.`;
    throw new PortcullisError('upstream_error', what);
  }

  #seal({ index, seal }: Extract<AnswerEvent, { type: 'seal' }>): void {
    const block = this.#blocks.get(index);
    if (block?.type === 'reasoning' && block.text.length <= sealBytesMax) this.#blocks.set(index, { ...block, seal });
  }

  #finish(event: Extract<AnswerEvent, { type: 'finish' }>): string {
    const { includeUsage } = this.#options;
    // All in one chunk: of lists in several, clients keep the last, or add up entries of one index.
    const { reasoning_details: details } = writeReasoning([...this.#blocks.values()]);
    return (
      (details === undefined ? '' : this.#delta({ reasoning_details: details })) +
      this.#chunk([{ index: 0, delta: {}, logprobs: null, ...writeStop(event) }], null) +
      (includeUsage && event.usage !== null ? this.#chunk([], writeUsage(event.usage)) : '') +
      'data: [DONE]\n\n'
    );
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
