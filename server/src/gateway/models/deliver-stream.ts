import type { OutgoingHttpHeaders } from 'node:http';
import { PortcullisError } from '../../base/errors.ts';
import { GrowingBuffer } from '../../base/growing-buffer.ts';
import { sseEventBytesMax } from '../../base/limits.ts';
import { type SseFrame, SseFrames } from '../../net/sse.ts';
import type { ClientStream } from './client-stream.ts';
import { end } from './client-writer.ts';
import type { Delivery, DeliveryContext } from './forward.ts';
import { OverrunWatch } from './overrun.ts';
import { changeComments, changeHeaders, responseHeaders } from './passing-headers.ts';
import type { Provider } from './provider.ts';
import { type StreamRelay, passThrough, translated } from './relay.ts';

/**
 * Passes a stream on, event by event. Whole events only, so that an error event can always follow; the ending is kept
 * back until the money is settled. Until the first event of the answer is written (`progress.begun`), what fails is
 * thrown with nothing said to the client, so that it may still become an HTTP error or another attempt.
 * @throws PortcullisError
 */
export async function deliverStream(context: DeliveryContext, stream: ClientStream): Promise<Delivery> {
  const { call, upstream, progress } = context;
  if (!/^text\/event-stream\b/i.test(String(upstream.headers['content-type']))) {
    throw new PortcullisError('upstream_error', 'The provider did not answer with a stream.');
  }
  const relay = createRelay(context);
  progress.answer = relay;
  const passage = new Passage(context, stream, relay);
  await passage.run();
  return {
    outcome: relay.error ? 'failed' : 'success',
    errorClass: relay.error ? 'upstream_error' : null,
    rule: null,
    progress,
    answer: null,
    finish: () => {
      if (relay.error) call.exchange.access.code = 'upstream_error';
      stream.open(headersOf(context));
      end(call.exchange, passage.ending.bytes());
    },
  };
}

function createRelay({ call, plan }: DeliveryContext): StreamRelay {
  const { translation, facts, dialectOut, hideUsage } = plan;
  const { requestId } = call.exchange;
  return translation
    ? translated(translation.stream({ includeUsage: facts.usageRequested, requestId }))
    : passThrough({ dialect: dialectOut, choices: facts.choices, hideUsage });
}

function headersOf({ plan, upstream }: DeliveryContext): OutgoingHttpHeaders {
  return { ...(plan.translation ? {} : responseHeaders(upstream.headers)), ...changeHeaders(plan) };
}

/** One stream on its way from the provider to the client. */
class Passage {
  /** What the client gets when the money is settled: the last events, or the error event instead of them. */
  ending = new GrowingBuffer();
  readonly #context: DeliveryContext;
  readonly #stream: ClientStream;
  readonly #relay: StreamRelay;
  readonly #overrun: OverrunWatch;
  /** Events to be written next. Before the answer begins, these are the provider's signs of life. */
  #next: Buffer[] = [];
  #nextLength = 0;
  /** Some event of the answer came. */
  #answering = false;
  /** The first and the last event of the answer that are on their way to the client. */
  #first: Buffer | null = null;
  #last: Buffer | null = null;

  constructor(context: DeliveryContext, stream: ClientStream, relay: StreamRelay) {
    this.#context = context;
    this.#stream = stream;
    this.#relay = relay;
    this.#overrun = new OverrunWatch(context.reserved, relay);
  }

  async run(): Promise<void> {
    const relay = this.#relay;
    const { upstream, arrived, deadline } = this.#context;
    const frames = new SseFrames();
    try {
      for await (const chunk of upstream.body) {
        if (this.#answering) arrived();
        if (!this.#pass(frames.push(chunk))) await this.#stream.drained(deadline);
        if (relay.error || relay.ended) break;
      }
      if (!relay.error && !relay.ended) this.#pass(frames.end().frames);
    } catch (error) {
      // What breaks after the end of an answer takes nothing from it.
      if (!relay.complete || this.ending.length > sseEventBytesMax) throw error;
    } finally {
      this.#tellHowFar();
    }
    const rest = relay.end();
    if (rest !== null) this.#hold(rest);
  }

  /** @returns false where the client does not keep up */
  #pass(frames: readonly SseFrame[]): boolean {
    try {
      for (const frame of frames) {
        this.#take(frame);
        if (this.#relay.error || this.#relay.ended) break;
      }
    } catch (error) {
      // Of an answer that fails before it began nothing is said, lest it be the beginning of two.
      if (this.#context.progress.begun || this.#relay.complete) this.#write();
      throw error;
    }
    return this.#write();
  }

  #take(frame: SseFrame): void {
    const relay = this.#relay;
    const { arrived, progress, plan } = this.#context;
    const { provider } = plan.target;
    const bytes = relay.push(frame);
    if (relay.error) {
      if (!progress.begun) throw scrubbed(relay.error, provider);
      this.ending = new GrowingBuffer();
      if (bytes !== null) this.ending.push(provider.scrub(bytes));
      return;
    }
    this.#overrun.check(frame.data);
    const isAnswer = frame.data !== '' && frame.event !== 'ping';
    if (isAnswer && !this.#answering) {
      this.#answering = true;
      arrived();
    }
    if (bytes === null) return;
    if (!relay.complete) {
      this.#next.push(bytes);
      this.#nextLength += bytes.length;
      if (isAnswer) {
        this.#first ??= bytes;
        this.#last = bytes;
      }
    } else if (isAnswer) {
      // A sign of life that is held back serves nobody.
      this.#hold(bytes);
    }
  }

  #write(): boolean {
    if (this.#next.length === 0) return true;
    if (!this.#answering) {
      if (this.#nextLength > sseEventBytesMax) throw tooMuch('signs of life before its answer');
      return true;
    }
    const parts = this.#next;
    this.#next = [];
    this.#nextLength = 0;
    const { progress } = this.#context;
    if (!progress.begun) {
      this.#stream.open(headersOf(this.#context));
      parts.unshift(...changeComments(this.#context.plan));
    }
    progress.begun = true;
    return this.#stream.write(parts);
  }

  /** An error event of the gate's own may have to go on from what the client has. */
  #tellHowFar(): void {
    const { call, progress } = this.#context;
    if (progress.begun && this.#first && this.#last) call.soFar = { first: this.#first, last: this.#last };
  }

  #hold(bytes: Buffer): void {
    this.ending.push(bytes);
    if (this.ending.length > sseEventBytesMax) throw tooMuch('ending');
  }
}

function tooMuch(what: string): PortcullisError {
  return new PortcullisError('upstream_error', `The provider sent more than ${sseEventBytesMax} bytes of ${what}.`);
}

function scrubbed(error: PortcullisError, provider: Provider): PortcullisError {
  const message = provider.scrub(Buffer.from(error.message)).toString();
  return message === error.message ? error : new PortcullisError(error.code, message);
}
