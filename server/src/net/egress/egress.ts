import type { Dispatcher, Pool } from 'undici';
import { outgoingHeaders } from './headers.ts';
import { type AllowedTarget, type EgressAnswer, EgressError, type EgressOwner, type EgressRequest } from './model.ts';
import { Pools } from './pools.ts';
import { judgeTarget, type Target } from './target.ts';
import { namedFailure } from './failures.ts';

export type EgressOutcome = 'answered' | 'refused' | 'failed';

export interface EgressOptions {
  /** Targets that may be private and in the clear: EGRESS_ALLOW_PRIVATE. */
  readonly allowPrivate: readonly AllowedTarget[];
  readonly onRequest?: (owner: EgressOwner, outcome: EgressOutcome) => void;
  /** Certificates, in PEM, trusted besides those that Node trusts. */
  readonly ca?: readonly string[];
  /** Name servers (address:port) to ask instead of the system's. */
  readonly nameServers?: readonly string[];
}

/** The only way out of the process to targets that anyone but the operator can influence. */
export interface Egress {
  /**
   * Sends one request to a vetted address, and reads the answer.
   * @throws EgressError with its reason; see model.ts
   */
  request(request: EgressRequest): Promise<EgressAnswer>;
  /**
   * Judges a URL by what it says, without resolving its name: for whoever stores one that others wrote.
   * @returns the URL as it would be used
   * @throws EgressError that says what is wrong with it
   */
  check(url: string): URL;
  /** Ends all connections; requests under way fail with `closed`. */
  close(): Promise<void>;
}

export function createEgress({ allowPrivate, onRequest, ca = [], nameServers }: EgressOptions): Egress {
  const pools = new Pools({ ca, nameServers });
  const closing = new AbortController();
  return {
    async request(request) {
      const count = (outcome: EgressOutcome) => onRequest?.(request.owner, outcome);
      try {
        const target = judgeTarget(request.url, { allowPrivate, writtenBy: request.writtenBy ?? 'others' });
        const headers = outgoingHeaders(request.headers ?? {});
        const answer = await inTime(pools, target, { ...request, headers }, closing.signal);
        count('answered');
        return answer;
      } catch (error) {
        count(error instanceof EgressError && error.refused ? 'refused' : 'failed');
        throw error;
      }
    },
    check: (url) => judgeTarget(url, { allowPrivate, writtenBy: 'others' }).url,
    async close() {
      closing.abort();
      await pools.close();
    },
  };
}

/** One request and its answer under one deadline. */
async function inTime(
  pools: Pools,
  target: Target,
  request: EgressRequest,
  closing: AbortSignal,
): Promise<EgressAnswer> {
  const { owner, share = '', timeoutMs, signal } = request;
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), timeoutMs);
  const ended = AbortSignal.any([deadline.signal, closing, ...(signal ? [signal] : [])]);
  const answer = pools.use(`${owner} ${share}`, target, (pool) => exchange(pool, target, request, ended));
  try {
    // A request that waits for its connection hears of its end only with that connection; it keeps its place until then.
    return await Promise.race([answer, endOf(ended)]);
  } catch (error) {
    answer.catch(() => undefined);
    throw namedFailure(error, target.host, {
      deadline: deadline.signal.aborted,
      closed: closing.aborted,
      cancelled: signal?.aborted === true,
    });
  } finally {
    clearTimeout(timer);
  }
}

function endOf(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(new Error('ended'));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

async function exchange(pool: Pool, { url, host }: Target, request: EgressRequest, signal: AbortSignal) {
  const answer = await pool.request({
    path: url.pathname + url.search,
    method: request.method ?? 'GET',
    headers: request.headers ?? {},
    body: request.body ?? null,
    signal,
  });
  return await read(answer, host, request);
}

async function read(
  { statusCode, headers, body }: Dispatcher.ResponseData,
  host: string,
  { responseBytesMax, take = 'whole' }: EgressRequest,
): Promise<EgressAnswer> {
  const whole = take === 'whole';
  if (whole && (headers['content-encoding'] ?? 'identity') !== 'identity') {
    // What ends the body ends the connection with it; that its end is an error is no news.
    body.on('error', () => undefined).destroy();
    throw new EgressError('encoded', `${host} answered with an encoded body, which was not asked for.`);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    chunks.push(chunk);
    if (size > responseBytesMax) break;
  }
  const truncated = size > responseBytesMax;
  if (whole && truncated)
    throw new EgressError('too_large', `${host} answered with more than ${responseBytesMax} bytes.`);
  return { status: statusCode, headers, body: Buffer.concat(chunks).subarray(0, responseBytesMax), truncated };
}
