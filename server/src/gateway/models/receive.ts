import { PortcullisError } from '../../base/errors.ts';
import { modelBodyBytesMax } from '../../base/limits.ts';
import type { Exchange } from './exchange.ts';

/**
 * Reads the body, counting bytes as they come: a Content-Length is only a promise, and a chunked body has none. A body
 * past the limit is refused without reading on.
 * @throws PortcullisError payload_too_large, invalid_argument (wrong type, truncated)
 */
export async function receive(exchange: Exchange): Promise<Buffer> {
  const { request, access } = exchange;
  const type = request.headers['content-type'] ?? '';
  if (!/^application\/json\b/i.test(type)) {
    throw new PortcullisError('invalid_argument', 'The body must be JSON: send Content-Type: application/json.');
  }
  if (request.headers['content-encoding'] !== undefined) {
    throw new PortcullisError('invalid_argument', 'The body must not be compressed: leave Content-Encoding out.');
  }
  if (Number(request.headers['content-length']) > modelBodyBytesMax) throw tooLarge();
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      access.bytesIn += chunk.length;
      if (access.bytesIn > modelBodyBytesMax) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof PortcullisError) throw error;
    throw new PortcullisError('invalid_argument', 'The body ended before it was complete.', { cause: error });
  }
  return chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
}

function tooLarge(): PortcullisError {
  return new PortcullisError('payload_too_large', `The body is larger than ${modelBodyBytesMax} bytes.`);
}
