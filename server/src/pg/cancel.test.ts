import { once } from 'node:events';
import { type AddressInfo, type Socket, createServer } from 'node:net';
import { type TLSSocket, createSecureContext, createServer as createTlsServer, TLSSocket as Tls } from 'node:tls';
import type { ClientBase } from 'pg';
import { expect, test } from 'vitest';
import { Authority } from '../../../test/support/certificates.ts';
import { requestCancel } from './cancel.ts';

const { cert, key } = new Authority('PostgreSQL');

// "Message Formats" of PostgreSQL's protocol.
const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const cancelRequest = Buffer.from([0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0x30, 0x39, 0, 1, 0x81, 0xcd]);

/** A server that understands one way of encryption, and what it is first told in it. */
const servers = {
  none: (heard: (socket: Socket) => void) => createServer(heard),
  postgres: (heard: (socket: Socket) => void) =>
    createServer((socket) => {
      socket.once('data', (asked: Buffer) => {
        if (!asked.equals(sslRequest)) return socket.destroy();
        socket.write('S');
        return heard(new Tls(socket, { isServer: true, secureContext: createSecureContext({ cert, key }) }));
      });
    }),
  direct: (heard: (socket: Socket) => void) =>
    createTlsServer({ cert, key, ALPNProtocols: ['postgresql'] }, (socket: TLSSocket) => {
      if (socket.alpnProtocol === 'postgresql') heard(socket);
      else socket.destroy();
    }),
} as const;

test.each(['none', 'postgres', 'direct'] as const)('asks over a connection like the first one: %s', async (way) => {
  const heard = Promise.withResolvers<Buffer>();
  const server = servers[way]((socket) => {
    socket.once('data', (bytes: Buffer) => {
      heard.resolve(bytes);
      socket.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const encryption = way === 'none' ? { ssl: false } : { ssl: { rejectUnauthorized: false }, sslNegotiation: way };
  const client = { host: '127.0.0.1', port, processID: 12345, secretKey: 98765, ...encryption };
  requestCancel(client as unknown as ClientBase);
  expect(await heard.promise).toEqual(cancelRequest);
  server.close();
  await once(server, 'close');
});
