import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { Pool } from 'undici';
import { afterEach, expect, test } from 'vitest';
import { UpstreamCall } from './upstream-call.ts';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp();
});

async function upstream(listener: RequestListener): Promise<Pool> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const pool = new Pool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  cleanUps.push(
    () => pool.destroy(),
    () => server.close().closeAllConnections(),
  );
  return pool;
}

function send(pool: Pool, { signal = new AbortController().signal, beforeWrite = () => {} } = {}): UpstreamCall {
  const call = new UpstreamCall(signal, beforeWrite);
  pool.dispatch({ path: '/', method: 'POST', body: Buffer.from('{}') }, call);
  return call;
}

test('the head comes without its interim answers, and the body to its end', async () => {
  const pool = await upstream((_request, response) => {
    response.writeEarlyHints({ link: '</a>; rel=preload' });
    response.writeHead(201, { 'x-mine': 'yes' });
    response.write('one');
    response.end('two');
  });
  const call = send(pool);
  expect(await call.head).toMatchObject({ status: 201, headers: { 'x-mine': 'yes' } });
  const chunks = await Array.fromAsync({ [Symbol.asyncIterator]: () => call });
  expect(Buffer.concat(chunks).toString()).toBe('onetwo');
});

test('what the check before the write throws prevents the write', async () => {
  let requests = 0;
  const pool = await upstream((_request, response) => {
    requests++;
    response.end();
  });
  const refuse = () => {
    throw new Error('not now');
  };
  await expect(send(pool, { beforeWrite: refuse }).head).rejects.toThrow('not now');
  expect((await send(pool).head).status).toBe(200);
  expect(requests).toBe(1);
});

test('an abort ends a call that waits for its head', async () => {
  const pool = await upstream(() => undefined);
  const controller = new AbortController();
  const call = send(pool, { signal: controller.signal });
  await turn();
  controller.abort(new Error('killed'));
  await expect(call.head).rejects.toThrow('killed');
});

test('an abort ends a call that waits for bytes, and closes its connection', async () => {
  const closed = Promise.withResolvers<void>();
  const pool = await upstream((_request, response) => {
    response.on('close', closed.resolve);
    response.write('some');
  });
  const controller = new AbortController();
  const call = send(pool, { signal: controller.signal });
  await call.head;
  expect((await call.next()).value?.toString()).toBe('some');
  const waiting = call.next();
  await turn();
  controller.abort(new Error('killed'));
  await expect(waiting).rejects.toThrow('killed');
  await closed.promise;
});

test('an abort before there is a connection sends nothing', async () => {
  let requests = 0;
  const pool = await upstream(() => requests++);
  const controller = new AbortController();
  const call = send(pool, { signal: controller.signal });
  controller.abort(new Error('killed'));
  await expect(call.head).rejects.toThrow('killed');
  await pool.close();
  expect(requests).toBe(0);
});

test('bytes that came before the connection broke are read before the error', async () => {
  const pool = await upstream((_request, response) => {
    response.write('some', () => response.destroy());
  });
  const call = send(pool);
  await call.head;
  expect((await call.next()).value?.toString()).toBe('some');
  await expect(call.next()).rejects.toMatchObject({ code: 'UND_ERR_SOCKET' });
});

test('a provider that sends faster than the client takes has to wait', async () => {
  let buffered = 0;
  const all = 64 * 1024 * 1024;
  const pool = await upstream((_request, response) => {
    response.write(Buffer.alloc(all));
    const look = setInterval(() => (buffered = response.writableLength + (response.socket?.writableLength ?? 0)), 5);
    cleanUps.push(() => clearInterval(look));
    response.end();
  });
  const call = send(pool);
  await call.head;
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(buffered).toBeGreaterThan(all / 4);
  let bytes = 0;
  for await (const chunk of { [Symbol.asyncIterator]: () => call }) bytes += chunk.length;
  expect(bytes).toBe(all);
});
