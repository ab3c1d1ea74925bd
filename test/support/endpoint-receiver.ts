import { createPublicKey, verify } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';

/** A request that came to the receiver. */
export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly event: { readonly type: string; readonly data: Record<string, unknown> };
}

/** An endpoint of somebody's: it answers challenges, and all else with 204 unless told otherwise. */
export interface WebhookReceiver {
  readonly url: string;
  /** For EGRESS_ALLOW_PRIVATE. */
  readonly hostAndPort: string;
  readonly received: Received[];
  /** What it answers from now on; null is as before. */
  answer:
    | ((received: Received) => { readonly status: number; readonly body?: string; readonly location?: string })
    | null;
  /** Those that are no challenges. */
  events(): Received[];
  stop(): Promise<void>;
}

export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const received: Received[] = [];
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const event = JSON.parse(body) as Received['event'];
      const got = { path: request.url ?? '', headers: request.headers, body, event };
      received.push(got);
      const { challenge } = event.data;
      const usual =
        event.type === 'webhook.verification' ? { status: 200, body: JSON.stringify({ challenge }) } : { status: 204 };
      const {
        status,
        body: said,
        location,
      } = { body: undefined, location: undefined, ...(receiver.answer?.(got) ?? usual) };
      response.writeHead(status, location === undefined ? {} : { location }).end(said);
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const hostAndPort = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const receiver: WebhookReceiver = {
    url: `http://${hostAndPort}`,
    hostAndPort,
    received,
    answer: null,
    events: () => received.filter(({ event }) => event.type !== 'webhook.verification'),
    stop: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
  return receiver;
}

/** Whether standardwebhooks takes a request for one that was signed with this secret. */
export function isSignedWith(secret: string, { headers, body }: Received): boolean {
  try {
    new Webhook(secret).verify(body, headers as Record<string, string>);
    return true;
  } catch {
    return false;
  }
}

/** Whether one of its v1a signatures is by this public key (`whpk_…`). */
export function isSignedBy(publicKey: string, { headers, body }: Received): boolean {
  const x = Buffer.from(publicKey.replace(/^whpk_/, ''), 'base64').toString('base64url');
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
  const signed = Buffer.from(`${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`);
  return String(headers['webhook-signature'])
    .split(' ')
    .filter((signature) => signature.startsWith('v1a,'))
    .some((signature) => verify(null, signed, key, Buffer.from(signature.slice(4), 'base64')));
}
