import { Agent, type Dispatcher } from 'undici';
import { PortcullisError } from '../../../base/errors.ts';
import { unreadBodyMs } from '../../../base/limits.ts';
import type { ProviderType } from '../../../budget/model.ts';
import { guardedLookup, isPrivateHost } from '../../../net/egress.ts';
import type { Provider, UpstreamAnswer, UpstreamRequest } from '../provider.ts';
import type { Adapter } from './adapter.ts';

export interface HttpProviderOptions {
  readonly name: string;
  readonly apiKey: string | null;
  readonly baseUrl: string | null;
  readonly allowPrivate: boolean;
  readonly type: ProviderType | null;
  readonly connectMs: number;
}

/** A provider behind HTTP: one connection pool, no redirects, no retries of its own. */
export function createHttpProvider(adapter: Adapter, options: HttpProviderOptions): Provider {
  const base = options.baseUrl ?? adapter.baseUrl;
  if (base === null) throw new PortcullisError('invalid_argument', `Provider ${options.name} needs a base_url.`);
  const url = new URL(base);
  if (!options.allowPrivate && isPrivateHost(url.hostname)) {
    throw new PortcullisError(
      'invalid_argument',
      `Provider ${options.name} has a private address: set allow_private: true if that is meant.`,
    );
  }
  const agent = new Agent({
    connect: { timeout: options.connectMs, ...(options.allowPrivate ? {} : { lookup: guardedLookup }) },
    pipelining: 1,
    // The gate has its own deadlines: first byte, idle, total.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const address = { origin: url.origin, basePath: url.pathname.replace(/\/+$/, '') };
  return {
    name: options.name,
    kind: adapter.kind,
    type: options.type ?? adapter.type,
    dialects: adapter.dialects,
    countsTokens: adapter.paths.count_tokens !== undefined,
    send: (request) => send(agent, address, adapter, options, request),
    scrub: (bytes) =>
      options.apiKey !== null && bytes.includes(options.apiKey)
        ? Buffer.from(bytes.toString().replaceAll(options.apiKey, '[redacted]'))
        : bytes,
    close: () => agent.close(),
  };
}

async function send(
  agent: Agent,
  { origin, basePath }: { readonly origin: string; readonly basePath: string },
  adapter: Adapter,
  { name, apiKey }: HttpProviderOptions,
  { operation, attemptId, body, headers, signal, beforeWrite }: UpstreamRequest,
): Promise<UpstreamAnswer> {
  const path = adapter.paths[operation];
  if (path === undefined) throw new PortcullisError('not_found', `Provider ${name} does not offer ${operation}.`);
  signal.throwIfAborted();
  let written = false;
  const dispatcher = agent.compose(
    withWriteCheck(() => {
      signal.throwIfAborted();
      beforeWrite();
      written = true;
    }),
  );
  const answering = dispatcher.request({
    origin,
    path: basePath + path,
    method: 'POST',
    headers: {
      ...adapter.defaultHeaders,
      ...headers,
      // From here on nothing that a client sends may stand in for what is ours.
      ...adapter.headers(apiKey, attemptId),
      'content-type': 'application/json',
      // Usage is read as the bytes flow by, so they must not be compressed.
      'accept-encoding': 'identity',
    },
    body,
    signal,
  });
  try {
    const answer = await orAborted(answering, signal);
    return { status: answer.statusCode, headers: answer.headers, body: readable(answer, name, signal) };
  } catch (error) {
    throw upstreamFailure(error, name, signal, written);
  }
}

/** Runs `check` when a connection stands and the request is about to be written to it; what it throws prevents that. */
function withWriteCheck(check: () => void): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) =>
    dispatch(options, {
      onRequestStart: (controller, context) => {
        check();
        handler.onRequestStart?.(controller, context);
      },
      onResponseStart: (...args) => handler.onResponseStart?.(...args),
      onResponseData: (...args) => handler.onResponseData?.(...args),
      onResponseEnd: (...args) => handler.onResponseEnd?.(...args),
      onResponseError: (...args) => handler.onResponseError?.(...args),
    });
}

/** `work`, or the reason of the signal as soon as it is aborted: undici looks at its signal only once it is connected. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let stop = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

async function* readable({ body }: Dispatcher.ResponseData, name: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of body.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch (error) {
    throw upstreamFailure(error, name, signal, true);
  } finally {
    if (!body.closed) drain(body);
  }
}

/** A reader that has its answer leaves before the last bytes of the framing: after them the connection serves again. */
function drain(body: Dispatcher.ResponseData['body']): void {
  const timer = setTimeout(() => body.destroy(), unreadBodyMs);
  body
    .once('close', () => clearTimeout(timer))
    .on('error', () => undefined)
    .resume();
}

/** Names what went wrong, without the upstream's address. */
function upstreamFailure(error: unknown, name: string, signal: AbortSignal, written: boolean): PortcullisError {
  if (signal.aborted && signal.reason instanceof PortcullisError) return signal.reason;
  if (error instanceof PortcullisError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const options = { internal: error instanceof Error ? `${code} ${error.message}` : String(error), cause: error };
  if (written) return new PortcullisError('upstream_error', `Provider ${name} broke the connection.`, options);
  return code === 'UND_ERR_CONNECT_TIMEOUT'
    ? new PortcullisError('deadline_exceeded', `Provider ${name} could not be reached in time.`, options)
    : new PortcullisError('upstream_error', `Provider ${name} could not be reached.`, options);
}
