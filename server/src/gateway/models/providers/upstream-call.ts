import type { Dispatcher } from 'undici';
import { unreadBodyMs } from '../../../base/limits.ts';
import type { UpstreamHeaders } from '../provider.ts';

/** The head of an answer. */
export interface AnswerHead {
  readonly status: number;
  readonly headers: UpstreamHeaders;
}

interface Waiting<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Bytes that came and nobody asked for yet: beyond, the provider has to wait. */
const unreadBytesMax = 64 * 1024;

/**
 * One request, from undici's callbacks to a head and a body that can be iterated. No stream stands in between, since one
 * costs a call more than all its checks. Aborting its signal ends it at once, whatever it waits for; bytes that came are
 * read before any other error.
 */
export class UpstreamCall implements Dispatcher.DispatchHandler, AsyncIterator<Buffer> {
  readonly head: Promise<AnswerHead>;
  readonly #signal: AbortSignal;
  readonly #beforeWrite: () => void;
  #headWaiting: Waiting<AnswerHead> | null = null;
  #controller: Dispatcher.DispatchController | null = null;
  #unread: Buffer[] = [];
  #unreadBytes = 0;
  #reader: Waiting<IteratorResult<Buffer>> | null = null;
  #over = false;
  #leftUnread: 'nothing' | 'little' | 'unknown' = 'nothing';
  #failure: { readonly error: unknown } | null = null;
  /** The reader went before the end. */
  #left: NodeJS.Timeout | null = null;

  /** @param beforeWrite runs when a connection stands and the request is about to be written; what it throws prevents that */
  constructor(signal: AbortSignal, beforeWrite: () => void) {
    this.#signal = signal;
    this.#beforeWrite = beforeWrite;
    this.head = new Promise((resolve, reject) => {
      this.#headWaiting = { resolve, reject };
    });
    signal.addEventListener('abort', this.#aborted);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#signal.throwIfAborted();
    this.#beforeWrite();
    this.#controller = controller;
  }

  onResponseStart(_: Dispatcher.DispatchController, status: number, headers: UpstreamHeaders): void {
    // An interim answer (RFC 9110, 15.2) is none.
    if (status < 200) return;
    this.#headWaiting?.resolve({ status, headers });
    this.#headWaiting = null;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#left !== null) return;
    if (this.#reader) return this.#give({ done: false, value: chunk });
    this.#unread.push(chunk);
    this.#unreadBytes += chunk.length;
    if (this.#unreadBytes > unreadBytesMax) controller.pause();
  }

  onResponseEnd(): void {
    this.#finish();
    this.#give({ done: true, value: undefined });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<Buffer>> {
    const value = this.#unread.shift();
    if (value !== undefined) {
      this.#unreadBytes -= value.length;
      if (this.#controller?.paused && this.#unread.length === 0) this.#controller.resume();
      return Promise.resolve({ done: false, value });
    }
    if (this.#failure) return Promise.reject(this.#failure.error);
    if (this.#over) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  /** A reader that has its answer leaves before the last bytes of the framing: after them the connection serves again. */
  return(): Promise<IteratorResult<Buffer>> {
    this.#leave();
    if (!this.#over) {
      this.#left = setTimeout(() => this.#controller?.abort(new Error('the rest was not read')), unreadBodyMs);
      if (this.#controller?.paused) this.#controller.resume();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  readonly #aborted = (): void => {
    const reason = this.#signal.reason as Error;
    this.#leave();
    this.#fail(reason);
    // Before there is a connection there is no controller: then it is `onRequestStart` that ends the request.
    this.#controller?.abort(reason);
  };

  /** What of the answer its reader never saw; see UpstreamAnswer. */
  unread(): 'nothing' | 'little' | 'unknown' {
    return this.#leftUnread;
  }

  #leave(): void {
    if (this.#unread.length > 0) this.#leftUnread = 'unknown';
    else if (!this.#over && this.#leftUnread === 'nothing') this.#leftUnread = 'little';
    this.#unread = [];
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    this.#failure = { error };
    this.#finish();
    this.#headWaiting?.reject(error);
    this.#reader?.reject(error);
    this.#reader = null;
  }

  #give(result: IteratorResult<Buffer>): void {
    this.#reader?.resolve(result);
    this.#reader = null;
  }

  #finish(): void {
    this.#over = true;
    this.#signal.removeEventListener('abort', this.#aborted);
    if (this.#left !== null) clearTimeout(this.#left);
  }
}
