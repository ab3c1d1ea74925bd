import { once } from 'node:events';
import { type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { createHttpProvider } from './http-provider.ts';
import { openaiCompatibleAdapter } from './openai-compatible/adapter.ts';

test('a reader that leaves before the end of the framing does not cost the connection', async () => {
  const server = createServer((_request, response) => response.write('all of it')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const provider = createHttpProvider(openaiCompatibleAdapter, {
    name: 'mine',
    apiKey: null,
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    allowPrivate: true,
    type: null,
    dialects: ['chat'],
    credential: 'gate',
    connectMs: 5_000,
  });
  const requested = once(server, 'request') as Promise<[unknown, ServerResponse]>;
  const answer = await provider.send({
    dialect: 'chat',
    operation: 'generate',
    attemptId: 'att_1',
    query: '',
    body: Buffer.from('{}'),
    headers: {},
    credential: null,
    signal: new AbortController().signal,
    beforeWrite: () => undefined,
  });
  for await (const chunk of answer.body) {
    expect(chunk.toString()).toBe('all of it');
    break;
  }
  const [, response] = await requested;
  // A connection that was given up is seen here before anything more is written to it.
  await new Promise((resolve) => setImmediate(resolve));
  expect(response.destroyed).toBe(false);
  response.end();
  await once(response, 'close');
  expect(response.writableFinished).toBe(true);
  await provider.close();
  server.close();
});
