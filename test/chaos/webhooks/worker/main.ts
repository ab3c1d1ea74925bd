import { createSecretKey } from 'node:crypto';
import { systemClock } from '../../../../server/src/base/clock.ts';
import { createLogger } from '../../../../server/src/base/log.ts';
import { createEgress } from '../../../../server/src/net/egress/egress.ts';
import { createPool } from '../../../../server/src/pg/pool.ts';
import { Deliverer } from '../../../../server/src/webhook/outbound/deliverer.ts';
import { OutboxListener } from '../../../../server/src/webhook/outbound/listener.ts';
import { readyLine, type WorkerJob } from './job.ts';

/** The delivery engine as a gate runs it (compose/deliveries.ts), alone in a process. It ends with SIGTERM, or with who started it. */

const job = JSON.parse(process.argv[2] ?? '') as WorkerJob;
const sealing = Buffer.from(job.sealingKey, 'hex');
const connection = {
  connectionString: job.url,
  statementMs: 15_000,
  lockMs: 5_000,
  connectMs: 5_000,
  applicationName: 'portcullis webhooks',
};
const pool = createPool({
  ...connection,
  max: 3,
  plansByKey: true,
  idleMs: 10_000,
  lifetimeMs: 600_000,
  onError: () => undefined,
});
const egress = createEgress({ allowPrivate: job.ports.map((port) => ({ host: '127.0.0.1', port })) });
const deliverer = new Deliverer({
  pool,
  egress,
  key: { id: sealing.subarray(0, 8), key: createSecretKey(sealing.subarray(8)) },
  clock: systemClock,
  log: createLogger('error'),
  timeoutMs: job.timeoutMs,
  claimMs: job.claimMs,
  random: Math.random,
  onOutcome: () => undefined,
});
const listener = new OutboxListener(connection, () => deliverer.wake());
deliverer.start();
listener.start();

async function stop(): Promise<never> {
  await listener.stop();
  await deliverer.stop();
  await egress.close();
  await pool.end();
  process.exit(0);
}
process.once('SIGTERM', () => void stop());
process.stdin.once('end', () => void stop()).resume();
process.stdout.write(`${readyLine}\n`);
