import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type DescService,
  getOption,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import type { Transport } from '@connectrpc/connect';
import { noAnswer, PortcullisError } from './errors.ts';
import { Access, access } from './gen/portcullis/v1/options_pb.ts';
import { Patience } from './patience.ts';
import { randomId } from './random-id.ts';
import { after } from './timer.ts';

/** Of one call. */
export interface CallOptions {
  /** Ends the call, with the code `cancelled`. */
  readonly signal?: AbortSignal;
  /**
   * Milliseconds that the call may take, its repetitions and pauses together; the gate stops working on it as well. Of
   * unary calls 30 000 unless the client was made with another number; streams have none unless this is given. Infinity is
   * none.
   */
  readonly timeoutMs?: number;
  /**
   * What a write is known by: 1 to 255 printable ASCII characters. The same call under the same key happens once, whoever
   * repeats it, within 24 hours. Without it each write gets a random one, which its repetitions share. Reads have none.
   */
  readonly idempotencyKey?: string;
  /** More headers to send. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Told the headers of the answer, such as `idempotency-replayed` and `x-request-id`. */
  readonly onHeader?: (headers: Headers) => void;
}

/** A service with its methods as functions: a promise of the answer, or of a stream the messages as they come. */
export type ServiceClient<S extends DescService> = {
  readonly [M in keyof S['method']]: S['method'][M] extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>, options?: CallOptions) => Promise<MessageShape<O>>
    : S['method'][M] extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>, options?: CallOptions) => AsyncGenerator<MessageShape<O>, void, undefined>
      : never;
};

/** What all calls of a client share. */
export interface Caller {
  /** The address of the gate. */
  readonly url: string;
  readonly transport: Transport;
  /** Of unary calls, unless a call says otherwise. */
  readonly timeoutMs: number;
  readonly repeatsMax: number;
  /** A stream that tells nothing for so long has broken. */
  readonly silenceMs: number;
}

/** The methods of a service. Streams that a client sends are not in the contract. */
export function createServiceClient<S extends DescService>(service: S, caller: Caller): ServiceClient<S> {
  const client: Record<string, unknown> = {};
  for (const method of service.methods) {
    if (isUnary(method)) client[method.localName] = unary(method, caller);
    if (isServerStream(method)) client[method.localName] = serverStream(method, caller);
  }
  return client as ServiceClient<S>;
}

function isUnary(method: DescMethod): method is DescMethod & DescMethodUnary {
  return method.methodKind === 'unary';
}

function isServerStream(method: DescMethod): method is DescMethod & DescMethodServerStreaming {
  return method.methodKind === 'server_streaming';
}

function unary<I extends DescMessage, O extends DescMessage>(method: DescMethodUnary<I, O>, caller: Caller) {
  return async (request: MessageInitShape<I>, options: CallOptions = {}): Promise<MessageShape<O>> => {
    const { signal, timeoutMs = caller.timeoutMs } = options;
    const patience = new Patience({ signal, timeoutMs, repeatsMax: caller.repeatsMax });
    const headers = requestHeaders(method, options);
    for (;;) {
      try {
        const { header, message } = await caller.transport.unary(
          method,
          signal,
          patience.remainingMs,
          headers,
          request,
        );
        options.onHeader?.(header);
        return message;
      } catch (error) {
        await patience.another(PortcullisError.from(error));
      }
    }
  };
}

/**
 * A stream whose messages carry a position goes on from the last one that came when it breaks: nothing is lost or told
 * twice. Tries are counted anew with each position: where a run stands, told again, is no progress.
 */
function serverStream<I extends DescMessage, O extends DescMessage>(
  method: DescMethodServerStreaming<I, O>,
  caller: Caller,
) {
  return async function* (request: MessageInitShape<I>, options: CallOptions = {}) {
    const { signal, timeoutMs } = options;
    const hasPosition = 'position' in method.input.field;
    const patience = new Patience({ signal, timeoutMs, repeatsMax: hasPosition ? caller.repeatsMax : 0 });
    const headers = requestHeaders(method, options);
    let asked = create(method.input, request);
    let position: unknown;
    let isWhole = false;
    for (;;) {
      const reading = new AbortController();
      const stop = () => reading.abort(signal?.reason);
      if (signal?.aborted) stop();
      signal?.addEventListener('abort', stop);
      const silence = () => after(caller.silenceMs, () => reading.abort(noAnswer(caller.url, 'silence')));
      let silent = silence();
      try {
        const left = patience.remainingMs;
        const stream = await caller.transport.stream(method, reading.signal, left, headers, once(asked));
        options.onHeader?.(stream.header);
        for await (const message of stream.message) {
          clearTimeout(silent);
          if (hasPosition && 'position' in message && message.position !== position) {
            patience.renew();
            ({ position } = message);
            // The last message of an export has none: what breaks after it was whole.
            isWhole = position === '';
            if (!isWhole) asked = create(method.input, { ...asked, position });
          }
          yield message;
          silent = silence();
        }
        return;
      } catch (error) {
        if (isWhole) return;
        await patience.another(PortcullisError.from(error));
      } finally {
        clearTimeout(silent);
        signal?.removeEventListener('abort', stop);
        // Connect's streams are not closed by who stops reading.
        reading.abort();
      }
    }
  };
}

async function* once<T>(message: T): AsyncGenerator<T> {
  yield message;
}

/** @throws PortcullisError invalid_argument; the text of a header is in no message, since it may be a secret */
function requestHeaders(method: DescMethod, { headers: more, idempotencyKey }: CallOptions): Headers {
  let headers: Headers;
  try {
    headers = new Headers(more);
  } catch {
    throw new PortcullisError('invalid_argument', 'A header has a name or a value that no header can have.');
  }
  if (idempotencyKey !== undefined && !/^[\x20-\x7e]{1,255}$/.test(idempotencyKey)) {
    throw new PortcullisError('invalid_argument', 'idempotencyKey must be 1 to 255 printable ASCII characters.');
  }
  if (getOption(method, access) === Access.WRITE) {
    headers.set('idempotency-key', idempotencyKey ?? headers.get('idempotency-key') ?? randomId());
  }
  return headers;
}
