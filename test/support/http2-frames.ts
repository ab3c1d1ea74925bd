import { connect, type Socket } from 'node:net';

/** Frame types, flags and errors of HTTP/2 (RFC 9113, 6 and 7), as far as hostile clients here need them. */
export const frameTypes = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  continuation: 9,
} as const;
export const endHeaders = 0x4;

export interface Frame {
  readonly type: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, stream: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Header fields as literals that are not indexed (RFC 7541, 6.2.2); names and values of less than 127 bytes. */
export function fields(headers: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => Buffer.concat([Buffer.from([value.length]), Buffer.from(value)]);
  return Buffer.concat(Object.entries(headers).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** A client of HTTP/2 that keeps no rule. */
export class FrameClient {
  readonly frames: Frame[] = [];
  /** Resolves when the server has ended the connection. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  #unread = Buffer.alloc(0);

  /** @param greets whether it begins as a client must: the preface and its settings */
  constructor(url: string, greets = true) {
    const { hostname, port } = new URL(url);
    this.#socket = connect(Number(port), hostname);
    this.closed = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    if (greets) this.send(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(frameTypes.settings, 0, 0));
  }

  send(...frames: readonly Uint8Array[]): void {
    if (this.#socket.writable) this.#socket.write(Buffer.concat(frames));
  }

  /** The error codes of the frames of a type, by the stream that they are about. */
  errors(type: typeof frameTypes.rstStream | typeof frameTypes.goaway): Map<number, number> {
    const at = type === frameTypes.goaway ? 4 : 0;
    return new Map(
      this.frames.filter((got) => got.type === type).map((got) => [got.stream, got.payload.readUInt32BE(at)]),
    );
  }

  end(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, chunk]);
    while (this.#unread.length >= 9) {
      const length = this.#unread.readUIntBE(0, 3);
      if (this.#unread.length < 9 + length) return;
      const [type, stream] = [this.#unread.readUInt8(3), this.#unread.readUInt32BE(5) & 0x7fffffff];
      this.frames.push({ type, stream, payload: this.#unread.subarray(9, 9 + length) });
      this.#unread = this.#unread.subarray(9 + length);
    }
  }
}
