import { connect, type Socket } from 'node:net';
import { ResponseReader } from './response-reader.ts';

export interface Answer {
  readonly status: number;
  /** The first bytes of the body, to tell what went wrong. */
  readonly start: string;
}

const startBytesMax = 300;

/** One keep-alive connection that sends the same request again and again. */
export class Connection {
  readonly #host: string;
  readonly #port: number;
  readonly #request: Buffer;
  readonly #onBody: (chunk: Buffer) => void;
  #socket: Socket | null = null;
  #settle: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | null = null;
  #start = '';

  constructor(
    call: { url: string; path: string; headers: Record<string, string>; body: string },
    onBody: (chunk: Buffer) => void = () => {},
  ) {
    const { host, hostname, port } = new URL(call.url);
    this.#host = hostname;
    this.#port = Number(port);
    const headers = {
      host,
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(call.body)),
      ...call.headers,
    };
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#request = Buffer.from(`POST ${call.path} HTTP/1.1\r\n${head.join('')}\r\n${call.body}`);
    this.#onBody = onBody;
  }

  /** Sends the request; resolves at the end of the answer, rejects when the connection breaks before it. */
  send(): Promise<Answer> {
    this.#start = '';
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket ??= this.#open();
      this.#socket.write(this.#request);
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  #open(): Socket {
    const socket = connect({ host: this.#host, port: this.#port, noDelay: true });
    const reader = new ResponseReader(
      (chunk) => {
        if (this.#start.length < startBytesMax) this.#start += chunk.toString('latin1', 0, startBytesMax);
        this.#onBody(chunk);
      },
      (status, keepAlive) => {
        if (!keepAlive) this.close();
        this.#settled()?.resolve({ status, start: this.#start });
      },
    );
    const broken = (error: Error) => {
      if (this.#socket === socket) this.close();
      this.#settled()?.reject(error);
    };
    socket.on('data', (data: Buffer) => {
      try {
        reader.push(data);
      } catch (error) {
        broken(error as Error);
      }
    });
    socket.on('error', broken);
    socket.on('close', () => {
      if (this.#socket === socket) broken(new Error('the connection was closed'));
    });
    return socket;
  }

  #settled() {
    const settle = this.#settle;
    this.#settle = null;
    return settle;
  }
}
