import type { IncomingMessage } from 'node:http';
import type { AccessRecord } from '../../base/access-record.ts';
import { PortcullisError } from '../../base/errors.ts';
import { GrowingBuffer } from '../../base/growing-buffer.ts';
import { webhookBodiesBytesMax, webhookBodyMs } from '../../base/inbound-limits.ts';

/** Thrown where a body was too long in coming; it is answered with 408, which no code of ours has. */
export class SlowBody extends Error {}

/** What bodies have room for while they are read: senders are not known yet. One address has a part of it at most. */
export class BodyRoom {
  readonly #bytesMax: number;
  readonly #bodyMs: number;
  readonly #byAddress = new Map<string, number>();
  #bytes = 0;

  constructor(bytesMax = webhookBodiesBytesMax, bodyMs = webhookBodyMs) {
    this.#bytesMax = bytesMax;
    this.#bodyMs = bodyMs;
  }

  /**
   * Reads a body as it came, counting bytes as they come. Its room is free again when it is read: it is verified in the same turn.
   * @throws PortcullisError payload_too_large, invalid_argument (compressed, or cut off), unavailable (no room) or SlowBody
   */
  async read(request: IncomingMessage, access: AccessRecord, address: string, bytesMax: number): Promise<Buffer> {
    const tooLarge = () =>
      new PortcullisError('payload_too_large', `A webhook of this source has ${bytesMax} bytes at most.`);
    if (request.headers['content-encoding'] !== undefined)
      throw new PortcullisError('invalid_argument', 'The body must not be compressed: leave Content-Encoding out.');
    if (Number(request.headers['content-length']) > bytesMax) throw tooLarge();
    const body = new GrowingBuffer();
    let size = 0;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        timer = setTimeout(() => reject(new SlowBody()), this.#bodyMs);
        const take = (chunk: Buffer) => {
          size += chunk.length;
          this.#take(address, chunk.length);
          access.bytesIn += chunk.length;
          if (size > bytesMax) return reject(tooLarge());
          if (!this.#hasRoom(address)) return reject(noRoom());
          body.push(chunk);
        };
        request.on('data', take);
        request.once('end', () => resolve(body.bytes()));
        request.once('error', (cause) => reject(cutOff(cause)));
        request.once('close', () => reject(cutOff(undefined)));
      });
    } finally {
      clearTimeout(timer);
      this.#take(address, -size);
      request.removeAllListeners('data').pause();
    }
  }

  #take(address: string, bytes: number): void {
    this.#bytes += bytes;
    const own = (this.#byAddress.get(address) ?? 0) + bytes;
    if (own === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, own);
  }

  #hasRoom(address: string): boolean {
    return this.#bytes <= this.#bytesMax && (this.#byAddress.get(address) ?? 0) <= this.#bytesMax / 2;
  }
}

function noRoom(): PortcullisError {
  return new PortcullisError('unavailable', 'Too many webhooks arrive at once: send it again.', { retryAfterS: 2 });
}

function cutOff(cause: unknown): PortcullisError {
  return new PortcullisError('invalid_argument', 'The body ended before it was complete.', { cause });
}
