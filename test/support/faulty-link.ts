import { once } from 'node:events';
import { type AddressInfo, type Socket, connect, createServer } from 'node:net';
import { withoutNotifications } from './without-notifications.ts';

/** A TCP link to a server that a test can cut, as a network does it. */
export interface FaultyLink {
  /** The server's URL through the link. */
  readonly url: string;
  /** Breaks every connection and refuses new ones. */
  cut(): void;
  /** Nothing passes any more, on old connections and new ones, and nothing breaks. */
  freeze(): void;
  /** Undoes `cut` and `freeze`. */
  mend(): void;
  /** Breaks the connection that next sends `text`, after the server got it and before it hears the answer. */
  cutAfter(text: string): Promise<void>;
  close(): Promise<void>;
}

/** `deaf`: what PostgreSQL notifies of does not pass. */
export async function openFaultyLink(
  serverUrl: string,
  { deaf: isDeaf = false }: { readonly deaf?: boolean } = {},
): Promise<FaultyLink> {
  const { hostname, port } = new URL(serverUrl);
  const host = decodeURIComponent(hostname);
  // PostgreSQL names its socket so.
  const target = host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port: Number(port) };
  const sockets = new Set<Socket>();
  let isCut = false;
  let isFrozen = false;
  let trap: { readonly text: string; readonly sprung: () => void } | null = null;

  const server = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = connect(target);
    const heard = isDeaf ? withoutNotifications() : (chunk: Buffer) => chunk;
    let deaf = false;
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    client.on('data', (chunk) => {
      const sprung = trap !== null && chunk.includes(trap.text) ? trap.sprung : null;
      if (sprung) {
        trap = null;
        deaf = true;
      }
      upstream.write(chunk);
      if (sprung) {
        upstream.once('data', () => {
          client.destroy();
          sprung();
        });
      }
    });
    upstream.on('data', (chunk) => {
      if (!deaf) client.write(heard(Buffer.from(chunk)));
    });
    if (isFrozen) for (const socket of [client, upstream]) socket.pause();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = new URL(serverUrl);
  url.hostname = '127.0.0.1';
  url.port = String((server.address() as AddressInfo).port);

  const breakAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: url.href,
    cut: () => {
      isCut = true;
      breakAll();
    },
    freeze: () => {
      isFrozen = true;
      for (const socket of sockets) socket.pause();
    },
    mend: () => {
      isCut = false;
      isFrozen = false;
      for (const socket of sockets) socket.resume();
    },
    cutAfter: (text) =>
      new Promise((sprung) => {
        trap = { text, sprung };
      }),
    close: async () => {
      breakAll();
      server.close();
      await once(server, 'close');
    },
  };
}
