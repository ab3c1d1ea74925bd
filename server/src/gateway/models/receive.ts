import { PortcullisError } from '../../base/errors.ts';
import { GrowingBuffer } from '../../base/growing-buffer.ts';
import { modelBodyBytesMax } from '../../base/limits.ts';
import type { Flight } from '../../policy/flights.ts';
import type { Call } from './call.ts';

/**
 * Reads the body, counting bytes as they come: a Content-Length is only a promise, and a chunked body has none. A body
 * past the limit is refused without reading on, and so is one whose call is aborted meanwhile.
 * @throws PortcullisError payload_too_large, invalid_argument (wrong type, truncated), unavailable (no room
 * for more bodies), or the reason of the abort
 */
export function receive({ exchange, signal }: Call, flight: Flight): Promise<Buffer> {
  const { request, access } = exchange;
  const body = new GrowingBuffer();
  return new Promise<Buffer>((resolve, reject) => {
    if (!/^application\/json\b/i.test(request.headers['content-type'] ?? ''))
      throw new PortcullisError('invalid_argument', 'The body must be JSON: send Content-Type: application/json.');
    if (request.headers['content-encoding'] !== undefined)
      throw new PortcullisError('invalid_argument', 'The body must not be compressed: leave Content-Encoding out.');
    if (Number(request.headers['content-length']) > modelBodyBytesMax) throw tooLarge();
    signal.throwIfAborted();

    const read = (chunk: Buffer) => {
      access.bytesIn += chunk.length;
      try {
        if (access.bytesIn > modelBodyBytesMax) throw tooLarge();
        flight.takeBytes(chunk.length);
        body.push(chunk);
      } catch (error) {
        finish(() => reject(error));
      }
    };
    const whole = () => finish(() => resolve(body.bytes()));
    const broken = (cause: unknown) => finish(() => reject(truncated(cause)));
    const aborted = () => finish(() => reject(signal.reason as PortcullisError));
    const finish = (settle: () => void) => {
      request.off('data', read).off('end', whole).off('error', broken).pause();
      signal.removeEventListener('abort', aborted);
      settle();
    };
    signal.addEventListener('abort', aborted);
    request.on('data', read).on('end', whole).on('error', broken);
  });
}

function tooLarge(): PortcullisError {
  return new PortcullisError('payload_too_large', `The body is larger than ${modelBodyBytesMax} bytes.`);
}

function truncated(cause: unknown): PortcullisError {
  return new PortcullisError('invalid_argument', 'The body ended before it was complete.', { cause });
}
