import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { get, type IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { chunkOf } from './chunked.ts';

test('chunks are what an HTTP client reads as the bytes that went in', async () => {
  const parts = [[Buffer.from('a')], [Buffer.from('é\r\n0\r\n\r\n'), Buffer.alloc(70_000, 'x')], [Buffer.from('end')]];
  const server = createServer((socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n');
    for (const each of parts) socket.write(chunkOf(each));
    socket.end('0\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const request = get({ port: (server.address() as AddressInfo).port, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  expect((await buffer(response)).equals(Buffer.concat(parts.flat()))).toBe(true);
  server.close();
});
