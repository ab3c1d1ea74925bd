import { PortcullisError } from '../../base/errors.ts';
import { toolArgumentsCharsMax } from '../../base/limits.ts';
import type { JsonObject } from '../conversation.ts';
import type { AnswerEvent, StreamBlock, StreamEncoder } from '../stream-events.ts';
import { type EncoderCore, createOrderedEncoder } from '../stream-order.ts';
import { argumentsError, parseArguments } from '../tool-arguments.ts';
import { streamErrorEvent } from './errors.ts';
import { writeMessage, writeStop, writeText, writeThinking, writeToolUse } from './response.ts';
import { signatureOf } from './thinking.ts';
import { writeUsage, writeUsageTotals } from './usage-writer.ts';

/** Writes a stream of Messages events. */
export function createEncoder(): StreamEncoder {
  return createOrderedEncoder(new Encoder());
}

/** A block that opened while another was open: this dialect has one at a time, so it waits. */
interface WaitingBlock {
  readonly block: StreamBlock;
  deltas: string;
  /** Of a reasoning block; empty for none. */
  signature: string;
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
      case 'reasoning_delta':
        return this.#delta(event.index, event.text);
      case 'arguments_delta':
        this.#collect(event.index, event.json);
        return this.#delta(event.index, event.json);
      case 'seal':
        return this.#sign(event.index, signatureOf(event.seal));
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
    this.#waiting.set(index, { block, deltas: '', signature: '', closed: false });
    return '';
  }

  #open(index: number, block: StreamBlock): string {
    this.#current = { index, kind: block.kind };
    this.#wireIndex++;
    return sse('content_block_start', { index: this.#wireIndex, content_block: emptyBlock(block) });
  }

  #delta(index: number, text: string): string {
    const waiting = this.#waiting.get(index);
    if (waiting === undefined) return this.#writeDelta(text);
    this.#hold(text);
    waiting.deltas += text;
    return '';
  }

  #sign(index: number, signature: string): string {
    const waiting = this.#waiting.get(index);
    if (waiting === undefined) return this.#writeSignature(signature);
    this.#hold(signature);
    waiting.signature = signature;
    return '';
  }

  #hold(text: string): void {
    this.#waitingChars += text.length;
    if (this.#waitingChars > toolArgumentsCharsMax) throw tooLong('holds back more than fits between two blocks');
  }

  #writeDelta(text: string): string {
    return sse('content_block_delta', { index: this.#wireIndex, delta: deltaOf(this.#current?.kind, text) });
  }

  #writeSignature(signature: string): string {
    return sse('content_block_delta', { index: this.#wireIndex, delta: { type: 'signature_delta', signature } });
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
    for (const [index, { block, deltas, signature, closed }] of this.#waiting) {
      this.#waiting.delete(index);
      this.#waitingChars -= deltas.length + signature.length;
      written += this.#open(index, block);
      if (deltas !== '') written += this.#writeDelta(deltas);
      if (signature !== '') written += this.#writeSignature(signature);
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

function emptyBlock(block: StreamBlock): unknown {
  switch (block.kind) {
    case 'text':
      return writeText('');
    case 'reasoning':
      return writeThinking('', '');
    default:
      return writeToolUse(block, {});
  }
}

function deltaOf(kind: StreamBlock['kind'] | undefined, text: string): JsonObject {
  switch (kind) {
    case 'text':
      return { type: 'text_delta', text };
    case 'reasoning':
      return { type: 'thinking_delta', thinking: text };
    default:
      return { type: 'input_json_delta', partial_json: text };
  }
}

function tooLong(what: string): PortcullisError {
  return new PortcullisError('upstream_error', `The provider's stream ${what} (${toolArgumentsCharsMax} characters).`);
}

function sse(type: string, members: Record<string, unknown>): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...members })}\n\n`;
}
