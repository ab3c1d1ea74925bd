import { Agent, request } from 'undici';
import { guardedLookup, isPrivateHost } from './egress.ts';

export interface FetchJsonOptions {
  /** Whether private addresses may be reached: development, where the identity provider runs beside us. */
  readonly allowPrivate: boolean;
}

/**
 * A fetch of small JSON documents: no redirects, a bound on bytes, public addresses only unless allowed.
 * The function that it returns throws an Error when there is no such document.
 */
export function createFetchJson({
  allowPrivate,
}: FetchJsonOptions): (url: string, signal: AbortSignal, bytesMax: number) => Promise<unknown> {
  const dispatcher = new Agent(allowPrivate ? {} : { connect: { lookup: guardedLookup } });
  return async (url, signal, bytesMax) => {
    if (!allowPrivate && isPrivateHost(new URL(url).hostname)) throw new Error('the address is private');
    const { statusCode, body } = await request(url, { dispatcher, signal, headers: { accept: 'application/json' } });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > bytesMax) throw new Error(`the document is larger than ${bytesMax} bytes`);
      chunks.push(chunk);
    }
    if (statusCode !== 200) throw new Error(`the answer had status ${statusCode}`);
    return JSON.parse(Buffer.concat(chunks).toString());
  };
}
