import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP link that breaks the connection in the middle of what the server says. */
export interface CuttingLink {
  readonly url: string;
  /** From now on each connection breaks after so many bytes from the server; null: none does. */
  cutAfter(bytes: number | null): void;
  /** How many it broke. */
  readonly cuts: number;
  close(): Promise<void>;
}

export async function openCuttingLink(serverUrl: string): Promise<CuttingLink> {
  const { hostname, port } = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let bytesMax: number | null = null;
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    const most = bytesMax;
    let left = most ?? Infinity;
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      const passing = chunk.subarray(0, left);
      left -= passing.length;
      upstream.pause();
      client.write(passing, () => {
        if (left > 0) upstream.resume();
        else {
          cuts++;
          client.resetAndDestroy();
        }
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cutAfter: (bytes) => void (bytesMax = bytes),
    get cuts() {
      return cuts;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
