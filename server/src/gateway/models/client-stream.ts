import { once } from 'node:events';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { Dialect } from '../../llm/dialect.ts';
import { chunkOf } from '../../net/chunked.ts';
import type { Call } from './call.ts';
import type { CallDeadline } from './deadline.ts';
import { SilenceWatch } from './silence-watch.ts';
import { requestIdHeader } from './wire.ts';

/** A comment is legal in every event stream (WHATWG HTML, "Server-sent events"); Anthropic documents an event of its own. */
const comment = Buffer.from(': keep-alive\n\n');
const signsOfLife: Readonly<Partial<Record<Dialect, Buffer>>> = {
  anthropic: Buffer.from('event: ping\ndata: {"type": "ping"}\n\n'),
};

/**
 * The client's end of a streamed answer, through all attempts at it. Its head waits for something to say, so that a
 * failure until then is still an HTTP error, or another attempt; but whenever nothing went to the client for
 * `silenceMs`, it gets a sign of life, after the head if need be: proxies and clients give up on silence.
 */
export class ClientStream {
  readonly #call: Call;
  readonly #silence: SilenceWatch;
  /** Once the head is out: where events are written to, framed here; or null where they are not framed in chunks. */
  #socket: Socket | null = null;

  /** What the head adds where it must go out before there is an answer. */
  earlyHeaders: OutgoingHttpHeaders = {};

  /** Starts to watch the silence; `stop` must be called. */
  constructor(call: Call, silenceMs: number) {
    this.#call = call;
    this.#silence = new SilenceWatch(silenceMs, () => this.#keepAlive());
  }

  /** Writes the head unless it went out before. From then on an error is an event. */
  open(headers: OutgoingHttpHeaders): void {
    const { response, requestId } = this.#call.exchange;
    if (response.headersSent) return;
    response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      ...requestIdHeader(this.#call.endpoint.dialect, requestId),
    });
    this.#call.streaming = true;
    response.flushHeaders();
    // Not to a client of HTTP/1.0, nor while an earlier answer on the connection is not over.
    if (response.chunkedEncoding) this.#socket = response.socket;
  }

  /** Writes whole events. @returns false where the client does not keep up: then `drained` is to be awaited */
  write(parts: readonly Buffer[]): boolean {
    const { response, access } = this.#call.exchange;
    for (const part of parts) access.bytesOut += part.length;
    this.#silence.broken();
    // node:http hands a chunk down in four pieces; framed here it is one, which costs a good part less.
    return this.#socket ? this.#socket.write(chunkOf(parts)) : response.write(Buffer.concat(parts));
  }

  /**
   * Waits for a client that does not read, until the idle deadline or its leaving ends the call.
   * @throws PortcullisError the reason of the call's signal
   */
  async drained(deadline: CallDeadline): Promise<void> {
    const { signal, exchange } = this.#call;
    deadline.waitForClient(true);
    try {
      while (this.#isBehind()) await once(this.#socket ?? exchange.response, 'drain', { signal });
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      deadline.waitForClient(false);
    }
  }

  /** No more signs of life: the end of the answer follows. */
  stop(): void {
    this.#silence.stop();
  }

  #isBehind(): boolean {
    return (this.#socket ?? this.#call.exchange.response).writableNeedDrain;
  }

  #keepAlive(): void {
    const { exchange, endpoint, signal } = this.#call;
    // Bytes that the client has not taken yet are sign enough.
    if (signal.aborted || exchange.response.destroyed || this.#isBehind()) return;
    this.open(this.earlyHeaders);
    this.write([signsOfLife[endpoint.dialect] ?? comment]);
  }
}
