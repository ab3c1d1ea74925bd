import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import pino from 'pino';
import { expect, it } from 'vitest';
import { createMetrics } from '../base/metrics.ts';
import { listenerBounds } from './listener-bounds.ts';
import { createHttpServer } from './server.ts';

it.each(['http1', 'h2c'] as const)('a listener (%s) has no more connections than its bound', async (kind) => {
  const options = {
    log: pino({ enabled: false }),
    metrics: createMetrics(),
    publicUrl: null,
    allowedHosts: [],
    allowedOrigins: [],
    clientAddress: () => '127.0.0.1',
    clientCertificate: () => null,
    draining: () => false,
  };
  const app = await createHttpServer(options, { kind }, { ...listenerBounds, connectionsMax: 1 });
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const open = () => connect(port, '127.0.0.1').on('error', () => undefined);
  const accepted = once(app.server, 'connection');
  const first = open();
  const [held] = await accepted;
  await once(open().resume(), 'close');
  expect(held.destroyed).toBe(false);
  const left = once(held, 'close');
  first.destroy();
  await left;
  const again = once(app.server, 'connection');
  const third = open();
  await again;
  third.destroy();
  await app.close();
});
