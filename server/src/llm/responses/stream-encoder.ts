import { PortcullisError } from '../../base/errors.ts';
import { upstreamAnswerBytesMax } from '../../base/limits.ts';
import type { AssistantBlock } from '../conversation.ts';
import { freeformInput } from '../freeform-tools.ts';
import type { AnswerEvent, EncoderOptions, StreamBlock, StreamEncoder } from '../stream-events.ts';
import { type EncoderCore, createOrderedEncoder } from '../stream-order.ts';
import { failedEvent, responseError } from './errors.ts';
import { ItemWriter, textPart } from './output-items.ts';
import { ResponseWriter, type Standing, ending } from './response-writer.ts';

/** Writes a stream of a response. */
export function createEncoder(options: EncoderOptions): StreamEncoder {
  return createOrderedEncoder(new Encoder(options));
}

/** A block that is being written. */
interface Growing {
  readonly position: number;
  readonly id: string;
  readonly freeform: boolean;
  block: AssistantBlock;
}

class Encoder implements EncoderCore {
  readonly #options: EncoderOptions;
  readonly #response: ResponseWriter;
  #sequence = 0;
  #head = { id: '', model: '' };
  #items: ItemWriter;
  /** By canonical index. */
  readonly #open = new Map<number, Growing>();
  /** By position; a hole is an item that is still open. */
  readonly #output: object[] = [];
  #positions = 0;
  /** All text is kept, since it is told again at the end. */
  #keptChars = 0;

  constructor(options: EncoderOptions) {
    this.#options = options;
    this.#response = new ResponseWriter(options);
    this.#items = new ItemWriter('', options.request);
  }

  write(event: AnswerEvent): string {
    switch (event.type) {
      case 'start': {
        this.#head = { id: event.id, model: event.model };
        this.#items = new ItemWriter(event.id, this.#options.request);
        const response = this.#whole({ status: 'in_progress', incompleteReason: null, usage: null });
        return this.#lifecycle('response.created', response) + this.#lifecycle('response.in_progress', response);
      }
      case 'ping':
        // A comment (HTML Living Standard, 9.2.6) keeps the connection from looking idle.
        return ': ping\n\n';
      case 'block_start':
        return this.#begin(event.index, event.block);
      case 'text_delta':
        return this.#textDelta(this.#grow(event.index, event.text), event.text);
      case 'reasoning_delta':
        return this.#reasoningDelta(event.index, event.text);
      case 'arguments_delta':
        return this.#argumentsDelta(this.#grow(event.index, event.json), event.json);
      case 'seal': {
        const growing = this.#growing(event.index);
        this.#keep(JSON.stringify(event.seal));
        if (growing.block.type === 'reasoning') growing.block = { ...growing.block, seal: event.seal };
        return '';
      }
      case 'block_stop':
        return this.#end(event.index);
      default: {
        const standing = ending(event.stop);
        const response = this.#whole({ ...standing, usage: event.usage });
        return this.#lifecycle(`response.${standing.status}`, response);
      }
    }
  }

  error(error: PortcullisError, requestId: string): string {
    const standing = { status: 'failed', incompleteReason: null, error: responseError(error), usage: null } as const;
    const head = this.#head.id === '' ? { id: `resp_${requestId}`, model: '' } : this.#head;
    return failedEvent(this.#sequence++, this.#whole(standing, head), error, requestId);
  }

  #begin(index: number, streamBlock: StreamBlock): string {
    const position = this.#positions++;
    const block = emptyBlock(streamBlock);
    const name = block.type === 'tool_call' ? block.name : '';
    const id = this.#items.id(block.type, name, position);
    this.#keep(id + name);
    const growing: Growing = { position, id, freeform: this.#items.isFreeform(name), block };
    this.#open.set(index, growing);
    const item = this.#items.item(block, position, 'in_progress');
    const added = this.#event('response.output_item.added', { output_index: position, item });
    if (block.type !== 'text') return added;
    return added + this.#itemEvent('response.content_part.added', growing, { content_index: 0, part: textPart('') });
  }

  #growing(index: number): Growing {
    const growing = this.#open.get(index);
    if (growing === undefined) throw new Error(`block ${index} is not open`);
    return growing;
  }

  #grow(index: number, more: string): Growing {
    const growing = this.#growing(index);
    const { block } = growing;
    this.#keep(more);
    growing.block =
      block.type === 'tool_call'
        ? { ...block, argumentsJson: block.argumentsJson + more }
        : { ...block, text: block.text + more };
    return growing;
  }

  #keep(text: string): void {
    this.#keptChars += text.length;
    if (this.#keptChars <= upstreamAnswerBytesMax) return;
    const what = `The provider's answer is longer than ${upstreamAnswerBytesMax} characters.`;
    throw new PortcullisError('upstream_error', what);
  }

  #textDelta(growing: Growing, delta: string): string {
    return this.#itemEvent('response.output_text.delta', growing, { content_index: 0, delta, logprobs: [] });
  }

  #reasoningDelta(index: number, delta: string): string {
    const begins = textOf(this.#growing(index).block) === '';
    const growing = this.#grow(index, delta);
    const part = { type: 'summary_text', text: '' };
    return (
      (begins ? this.#itemEvent('response.reasoning_summary_part.added', growing, { summary_index: 0, part }) : '') +
      this.#itemEvent('response.reasoning_summary_text.delta', growing, { summary_index: 0, delta })
    );
  }

  /** Free text is told in one piece: it is known when the JSON around it is whole. */
  #argumentsDelta(growing: Growing, delta: string): string {
    return growing.freeform ? '' : this.#itemEvent('response.function_call_arguments.delta', growing, { delta });
  }

  #end(index: number): string {
    const growing = this.#growing(index);
    this.#open.delete(index);
    const { position, block } = growing;
    const item = this.#items.item(block, position, 'completed');
    this.#output[position] = item;
    return this.#contentDone(growing) + this.#event('response.output_item.done', { output_index: position, item });
  }

  #contentDone(growing: Growing): string {
    const { block, freeform } = growing;
    const text = textOf(block);
    switch (block.type) {
      case 'text':
        return (
          this.#itemEvent('response.output_text.done', growing, { content_index: 0, text, logprobs: [] }) +
          this.#itemEvent('response.content_part.done', growing, { content_index: 0, part: textPart(text) })
        );
      case 'reasoning': {
        if (text === '') return '';
        const part = { type: 'summary_text', text };
        return (
          this.#itemEvent('response.reasoning_summary_text.done', growing, { summary_index: 0, text }) +
          this.#itemEvent('response.reasoning_summary_part.done', growing, { summary_index: 0, part })
        );
      }
      default: {
        if (!freeform) return this.#itemEvent('response.function_call_arguments.done', growing, { arguments: text });
        const input = freeformInput(text);
        const delta =
          input === '' ? '' : this.#itemEvent('response.custom_tool_call_input.delta', growing, { delta: input });
        return delta + this.#itemEvent('response.custom_tool_call_input.done', growing, { input });
      }
    }
  }

  #whole(standing: Omit<Standing, 'output'>, head = this.#head): string {
    // Those that are still open have no place in what is told of the whole.
    const output = this.#output.filter((item) => item !== undefined);
    return this.#response.write(head, { ...standing, output });
  }

  #lifecycle(type: string, response: string): string {
    return `event: ${type}\ndata: {"type":"${type}","sequence_number":${this.#sequence++},"response":${response}}\n\n`;
  }

  #itemEvent(type: string, { id, position }: Growing, members: object): string {
    return this.#event(type, { item_id: id, output_index: position, ...members });
  }

  #event(type: string, members: object): string {
    return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: this.#sequence++, ...members })}\n\n`;
  }
}

function emptyBlock(block: StreamBlock): AssistantBlock {
  switch (block.kind) {
    case 'text':
      return { type: 'text', text: '' };
    case 'reasoning':
      return { type: 'reasoning', text: '', seal: null };
    default:
      return { type: 'tool_call', id: block.id, name: block.name, argumentsJson: '' };
  }
}

function textOf(block: AssistantBlock): string {
  return block.type === 'tool_call' ? block.argumentsJson : block.text;
}
