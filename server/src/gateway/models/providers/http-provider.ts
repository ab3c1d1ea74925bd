import { Agent, type Dispatcher } from 'undici';
import { PortcullisError } from '../../../base/errors.ts';
import type { ProviderType } from '../../../budget/model.ts';
import { isPrivateHost, guardedLookup } from '../../../net/egress.ts';
import { type Provider, type UpstreamAnswer, UpstreamFailure, type UpstreamRequest } from '../provider.ts';
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
  const basePath = url.pathname.replace(/\/+$/, '');
  return {
    name: options.name,
    kind: adapter.kind,
    type: options.type ?? adapter.type,
    dialects: adapter.dialects,
    countsTokens: adapter.paths.count_tokens !== undefined,
    send: (request) => send(agent, url.origin, basePath, adapter, options, request),
    scrub: (body) =>
      options.apiKey !== null && body.includes(options.apiKey)
        ? Buffer.from(body.toString().replaceAll(options.apiKey, '[redacted]'))
        : body,
    close: () => agent.close(),
  };
}

async function send(
  agent: Agent,
  origin: string,
  basePath: string,
  adapter: Adapter,
  { name, apiKey }: HttpProviderOptions,
  request: UpstreamRequest,
): Promise<UpstreamAnswer> {
  const path = adapter.paths[request.operation];
  if (path === undefined)
    throw new PortcullisError('not_found', `Provider ${name} does not offer ${request.operation}.`);
  const ours = adapter.headers(apiKey, request.attemptId);
  const headers = {
    ...ours,
    ...request.headers,
    // Nothing that a client sends may stand in for our credential or our id.
    ...Object.fromEntries(Object.entries(ours).filter(([header]) => header !== 'anthropic-version')),
    'content-type': 'application/json',
    // Usage is read as the bytes flow by, so they must not be compressed.
    'accept-encoding': 'identity',
  };
  request.signal.throwIfAborted();
  request.beforeWrite();
  try {
    const answer = await agent.request({
      origin,
      path: basePath + path,
      method: 'POST',
      headers,
      body: request.body,
      signal: request.signal,
    });
    return { status: answer.statusCode, headers: answer.headers, body: readable(answer, name, request.signal) };
  } catch (error) {
    throw upstreamFailure(error, name, request.signal);
  }
}

async function* readable(answer: Dispatcher.ResponseData, name: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of answer.body) yield chunk as Buffer;
  } catch (error) {
    throw upstreamFailure(error, name, signal);
  }
}

const neverSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_EGRESS_DENIED',
]);

/** Names what went wrong, without the upstream's address. */
function upstreamFailure(error: unknown, name: string, signal: AbortSignal): PortcullisError {
  if (signal.aborted && signal.reason instanceof PortcullisError) return signal.reason;
  if (error instanceof PortcullisError) return error;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const options = { internal: error instanceof Error ? `${code} ${error.message}` : String(error), cause: error };
  if (code === 'UND_ERR_CONNECT_TIMEOUT') {
    return new UpstreamFailure('deadline_exceeded', `Provider ${name} could not be reached in time.`, false, options);
  }
  if (neverSent.has(code))
    return new UpstreamFailure('upstream_error', `Provider ${name} could not be reached.`, false, options);
  return new UpstreamFailure('upstream_error', `Provider ${name} broke the connection.`, true, options);
}
