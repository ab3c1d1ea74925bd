import type { Interceptor, Transport } from '@connectrpc/connect';
import type { UniversalClientFn } from '@connectrpc/connect/protocol';
import { createTransport } from '@connectrpc/connect/protocol-connect';
import { noAnswer, PortcullisError } from './errors.ts';

/** A key, or what gives the one that holds now; it is asked before each request. */
export type KeySource = string | (() => string | Promise<string>);

/** What a gate may answer at most; its own limit is 2 MiB a message. */
const answerBytesMax = 64 * 1024 * 1024;

/** Connect with binary messages over `fetch`: each call is one try. */
export function createFetchTransport(
  url: string,
  key: KeySource | undefined,
  fetchFunction: typeof globalThis.fetch,
): Transport {
  return createTransport({
    baseUrl: url,
    httpClient: fetchClient(fetchFunction),
    useBinaryFormat: true,
    readMaxBytes: answerBytesMax,
    writeMaxBytes: answerBytesMax,
    // `fetch` asks for compression and undoes it by itself.
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 1024,
    interceptors: key === undefined ? [] : [authorization(key)],
  });
}

function authorization(source: KeySource): Interceptor {
  return (next) => async (request) => {
    const key = typeof source === 'string' ? source : await unlessAborted(source, request.signal);
    request.header.set('authorization', `Bearer ${checkedKey(key)}`);
    return next(request);
  };
}

/** @throws PortcullisError for what cannot be a key; the text of it is in no message */
export function checkedKey(key: string): string {
  if (typeof key === 'string' && /^[\x21-\x7e]+$/.test(key)) return key;
  throw new PortcullisError('invalid_argument', 'The key is empty or has characters that no key has: copy it anew.');
}

/** What `work` gives, unless the signal is aborted first. */
async function unlessAborted<T>(work: () => T | Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work();
  signal.throwIfAborted();
  let onAbort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work(), aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Connect's own client of `fetch` sends a stream as the body, which browsers refuse over HTTP/1.1 and Node without an option
 * of its own. Requests of ours are one message: they are sent whole.
 */
function fetchClient(fetchFunction: typeof globalThis.fetch): UniversalClientFn {
  return async ({ url, method, header, body, signal }) => {
    const headers = new Headers(header);
    // Pages may not say what browser they are.
    headers.delete('user-agent');
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    for await (const chunk of body ?? []) chunks.push(new Uint8Array(chunk));
    // A gate sends nobody elsewhere, and a key is for one gate.
    const init: RequestInit = { method, headers, body: new Blob(chunks), signal: signal ?? null, redirect: 'manual' };
    let response: Response;
    try {
      response = await unlessAborted(() => fetchFunction(url, init), signal);
    } catch (error) {
      throw noAnswer(url, error);
    }
    const answered = new Headers(response.headers);
    // They tell of the bytes on the wire, which `fetch` has decoded.
    for (const name of ['content-encoding', 'content-length']) answered.delete(name);
    return { status: response.status, header: answered, body: chunksOf(response, url), trailer: new Headers() };
  };
}

async function* chunksOf(response: Response, url: string): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    throw noAnswer(url, error);
  } finally {
    // What is left when nobody reads on; of a body that broke there is nothing.
    await reader.cancel().catch(() => undefined);
  }
}
