import { Pool } from 'undici';
import { PortcullisError } from '../../../base/errors.ts';
import type { ProviderType } from '../../../budget/model.ts';
import { guardedLookup, isPrivateHost } from '../../../net/egress.ts';
import type { Operation } from '../endpoints.ts';
import type { Provider, Refusal, UpstreamAnswer, UpstreamRequest } from '../provider.ts';
import type { Adapter } from './adapter.ts';
import { UpstreamCall } from './upstream-call.ts';

export interface HttpProviderOptions {
  readonly name: string;
  readonly apiKey: string | null;
  readonly baseUrl: string | null;
  readonly allowPrivate: boolean;
  readonly type: ProviderType | null;
  readonly dialects: Adapter['dialects'];
  /** Whose credential goes upstream: the gate's api key, or what the caller sends. */
  readonly credential: 'gate' | 'caller';
  /** The longest that any of its targets may take to connect. */
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
  const pool = new Pool(url.origin, {
    connect: { timeout: options.connectMs, ...(options.allowPrivate ? {} : { lookup: guardedLookup }) },
    pipelining: 1,
    // The gate has its own deadlines: first byte, idle, total.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  const basePath = url.pathname.replace(/\/+$/, '');
  return {
    name: options.name,
    kind: adapter.kind,
    type: options.type ?? (options.credential === 'caller' ? 'subscription' : adapter.type),
    dialects: options.dialects,
    credential: options.credential,
    countsTokens: offers(adapter, 'count_tokens'),
    embeds: offers(adapter, 'embed'),
    send: (request) => send(pool, basePath, adapter, options, request),
    refusal: (status, body) => refusal(adapter, status, body),
    scrub: (bytes) =>
      options.apiKey !== null && bytes.includes(options.apiKey)
        ? Buffer.from(bytes.toString().replaceAll(options.apiKey, '[redacted]'))
        : bytes,
    close: () => pool.close(),
  };
}

function refusal(adapter: Adapter, status: number, body: Buffer): Refusal {
  const told = adapter.refusal?.(status, body.toString());
  return told === undefined ? { status, body } : { status: told.status, body: Buffer.from(told.body) };
}

function offers({ paths }: Adapter, operation: Operation): boolean {
  return Object.values(paths).some(({ [operation]: path }) => path !== undefined);
}

async function send(
  pool: Pool,
  basePath: string,
  adapter: Adapter,
  { name, apiKey }: HttpProviderOptions,
  { dialect, operation, attemptId, query, body, headers, credential, signal, beforeWrite }: UpstreamRequest,
): Promise<UpstreamAnswer> {
  const path = adapter.paths[dialect]?.[operation];
  if (path === undefined) throw new PortcullisError('not_found', `Provider ${name} does not offer ${operation}.`);
  signal.throwIfAborted();
  let written = false;
  const call = new UpstreamCall(signal, () => {
    beforeWrite();
    written = true;
  });
  const request = {
    path: basePath + path + query,
    method: 'POST' as const,
    headers: {
      ...adapter.defaultHeaders,
      ...headers,
      // From here on nothing that a client sends may stand in for what is ours.
      ...adapter.headers(apiKey, attemptId),
      ...credential,
      'content-type': 'application/json',
      // Usage is read as the bytes flow by, so they must not be compressed.
      'accept-encoding': 'identity',
    },
    body,
  };
  try {
    pool.dispatch(request, call);
    const { status, headers: answered } = await call.head;
    return { status, headers: answered, body: readable(call, name, signal), unread: () => call.unread() };
  } catch (error) {
    throw upstreamFailure(error, name, signal, written);
  }
}

/** The body, with its errors named. */
function readable(call: UpstreamCall, name: string, signal: AbortSignal): AsyncIterable<Buffer> {
  const named = (error: unknown) => {
    throw upstreamFailure(error, name, signal, true);
  };
  return {
    [Symbol.asyncIterator]: () => ({ next: () => call.next().catch(named), return: () => call.return() }),
  };
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
