/**
 * Reads HTTP/1.1 responses from one connection: just enough for servers on loopback that we start ourselves, and much
 * cheaper than a general client, so that the load generator is not what a benchmark measures.
 */
export class ResponseReader {
  readonly #onBody: (chunk: Buffer) => void;
  readonly #onEnd: (status: number, keepAlive: boolean) => void;
  #pending: Buffer | null = null;
  #status = 0;
  #keepAlive = true;
  #part: 'head' | 'fixed' | 'size' | 'chunk' | 'chunk_end' | 'trailer' = 'head';
  #left = 0;

  constructor(onBody: (chunk: Buffer) => void, onEnd: (status: number, keepAlive: boolean) => void) {
    this.#onBody = onBody;
    this.#onEnd = onEnd;
  }

  /** Takes what the socket read. */
  push(received: Buffer): void {
    const data = this.#pending === null ? received : Buffer.concat([this.#pending, received]);
    this.#pending = null;
    let at = 0;
    while (at < data.length) {
      if (this.#part === 'fixed' || this.#part === 'chunk') {
        const end = Math.min(data.length, at + this.#left);
        this.#onBody(data.subarray(at, end));
        this.#left -= end - at;
        at = end;
        if (this.#left > 0) return;
        if (this.#part === 'fixed') this.#end();
        else this.#part = 'chunk_end';
        continue;
      }
      const end = data.indexOf(this.#part === 'head' ? '\r\n\r\n' : '\r\n', at);
      if (end < 0) {
        this.#pending = data.subarray(at);
        return;
      }
      const text = data.toString('latin1', at, end);
      at = end + (this.#part === 'head' ? 4 : 2);
      this.#line(text);
    }
  }

  #line(text: string): void {
    switch (this.#part) {
      case 'head':
        return this.#head(text);
      case 'size':
        this.#left = Number.parseInt(text, 16);
        if (!Number.isInteger(this.#left)) throw new Error(`not a chunk size: ${text}`);
        this.#part = this.#left === 0 ? 'trailer' : 'chunk';
        return;
      case 'chunk_end':
        this.#part = 'size';
        return;
      default:
        if (text === '') this.#end();
    }
  }

  #head(text: string): void {
    this.#status = Number(text.slice('HTTP/1.1 '.length, 'HTTP/1.1 200'.length));
    this.#keepAlive = !/\r\nconnection: *close/i.test(text);
    const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1];
    if (length !== undefined) {
      this.#left = Number(length);
      this.#part = 'fixed';
      if (this.#left === 0) this.#end();
    } else if (/\r\ntransfer-encoding: *chunked/i.test(text)) {
      this.#part = 'size';
    } else {
      throw new Error(`a response without a length: ${text}`);
    }
  }

  #end(): void {
    this.#part = 'head';
    this.#onEnd(this.#status, this.#keepAlive);
  }
}
