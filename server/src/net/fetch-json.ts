import { Agent, request } from 'undici';

/**
 * A fetch of small JSON documents from addresses that the operator wrote down, private ones included: no redirects, a
 * bound on bytes. The function that it returns throws an Error when there is no such document.
 */
export function createFetchJson(): (url: string, signal: AbortSignal, bytesMax: number) => Promise<unknown> {
  const dispatcher = new Agent();
  return async (url, signal, bytesMax) => {
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
