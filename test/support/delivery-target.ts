import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';

/** A message as it came. */
export interface Delivered {
  readonly id: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface TargetAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
  /** Answered when this resolves. */
  readonly after?: Promise<unknown>;
}

/** A server that takes what the delivery engine sends, and answers as it is told. */
export class DeliveryTarget {
  readonly received: Delivered[] = [];
  /** What it answers; 204 by default. */
  answer: (received: Delivered) => TargetAnswer = () => ({});
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const read = async () => {
        const body = await text(request);
        const { headers, url = '' } = request;
        const received = { id: String(headers['webhook-id']), path: url, headers, body };
        this.received.push(received);
        const answer = this.answer(received);
        await answer.after;
        response.writeHead(answer.status ?? 204, answer.headers).end(answer.body);
      };
      read().catch(() => response.destroy());
    });
  }

  static async start(): Promise<DeliveryTarget> {
    const target = new DeliveryTarget();
    await new Promise<void>((resolve) => target.#server.listen(0, '127.0.0.1', resolve));
    return target;
  }

  /** As an entry of EGRESS_ALLOW_PRIVATE. */
  get place(): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port };
  }

  url(path = '/'): string {
    return `http://127.0.0.1:${this.place.port}${path}`;
  }

  at(path: string): Delivered[] {
    return this.received.filter((received) => received.path === path);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** The body of a message, as the reference verifier of Standard Webhooks lets it pass. @throws what it throws */
export function verified(secret: string, { headers, body }: Delivered): unknown {
  return new Webhook(secret).verify(body, headers as Record<string, string>);
}
