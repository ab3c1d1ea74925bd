/** What delivers events to webhook endpoints. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { deliveryClaimMs, deliveryTimeoutMs, keyExpiringEveryMs, webhookPurgeEveryMs } from '../base/webhook-limits.ts';
import { tellOfExpiringKeys } from '../identity/expiring-keys.ts';
import type { Egress } from '../net/egress/egress.ts';
import type { ControlFeed } from '../pg/control-feed.ts';
import { Deliverer } from '../webhook/outbound/deliverer.ts';
import { OutboxListener } from '../webhook/outbound/listener.ts';
import { giveUpStopped, purge } from '../webhook/outbound/upkeep.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Pool } from 'pg';
import type { Base } from './base.ts';
import { openPool, type Store } from './database.ts';

/**
 * Delivers on connections of its own: no request waits for it.
 * @returns those connections, for what else is done for endpoints
 */
export function startDeliveries(base: Base, store: Store, feed: ControlFeed, egress: Egress): Pool {
  const { log, metrics, stops } = base;
  const connection = { ...store.connection, applicationName: 'portcullis webhooks' };
  const pool = openPool(base, 'webhooks pool', { ...connection, max: 3, plansByKey: true });
  const deliverer = new Deliverer({
    pool,
    egress,
    key: store.keys.webhookSecrets,
    clock: systemClock,
    log,
    timeoutMs: deliveryTimeoutMs,
    claimMs: deliveryClaimMs,
    random: Math.random,
    onOutcome: (outcome, durationMs) => {
      metrics.webhookDeliveries.inc({ outcome });
      metrics.webhookDuration.observe(durationMs / 1000);
    },
  });
  deliverer.start();
  stops.add('webhook deliveries', () => deliverer.stop());
  const listener = new OutboxListener(connection, () => deliverer.wake());
  listener.start();
  stops.add('webhook listener', () => listener.stop());
  const jobs = [
    {
      name: 'webhook deliveries of disabled endpoints',
      everyMs: webhookPurgeEveryMs,
      run: (stopping: AbortSignal) => giveUpStopped(pool, stopping),
    },
    {
      name: 'purge webhook deliveries',
      everyMs: webhookPurgeEveryMs,
      run: (stopping: AbortSignal) => purge(pool, feed.databaseNow(), stopping),
    },
    { name: 'keys that expire', everyMs: keyExpiringEveryMs, atOnce: true, run: () => tellOfExpiringKeys(pool) },
  ];
  stops.add('upkeep of webhooks', startJobs(jobs, log));
  return pool;
}
