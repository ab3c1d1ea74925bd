import { jwksFetchMs } from '../base/limits.ts';
import type { Egress } from './egress/egress.ts';

/**
 * A fetch of small JSON documents from addresses that the operator wrote down, private ones included: no redirects, a
 * bound on bytes. The function that it returns throws an Error when there is no such document.
 */
export function createFetchJson(
  egress: Egress,
): (url: string, signal: AbortSignal, bytesMax: number) => Promise<unknown> {
  return async (url, signal, bytesMax) => {
    const { status, body } = await egress.request({
      owner: 'jwks',
      url,
      writtenBy: 'operator',
      headers: { accept: 'application/json' },
      timeoutMs: jwksFetchMs,
      responseBytesMax: bytesMax,
      signal,
    });
    if (status !== 200) throw new Error(`the answer had status ${status}`);
    return JSON.parse(body.toString());
  };
}
