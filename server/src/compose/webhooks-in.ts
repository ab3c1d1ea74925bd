/** Webhooks that come in. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import {
  webhookJobsLookMs,
  webhookKeysKeptDaysMin,
  webhookPollMs,
  webhookRefusalsEveryMs,
  webhookRefusalsKeptDays,
} from '../base/inbound-limits.ts';
import { ledgerDaysEveryMs, purgeBatchMax } from '../base/limits.ts';
import type { Principal } from '../identity/model.ts';
import type { Egress } from '../net/egress/egress.ts';
import { noSuchRun, reach } from '../run/reach.ts';
import { findRun } from '../run/store.ts';
import { tellSystemEvent } from '../run/system-events.ts';
import { Bodies } from '../webhook/inbound/bodies.ts';
import { deleteOldCallbacks } from '../webhook/inbound/callback-store.ts';
import { WebhookProcessor } from '../webhook/inbound/processor.ts';
import { WebhookReceiver } from '../webhook/inbound/receiver.ts';
import { deleteOldKeys, deleteOldRefusals } from '../webhook/inbound/refusal-store.ts';
import { WebhookRefusals } from '../webhook/inbound/refusals.ts';
import { createHandlers } from '../webhook/inbound/registry.ts';
import { WebhookEvents } from '../webhook/inbound/service.ts';
import { Sources } from '../webhook/inbound/sources.ts';
import { StatusReader } from '../webhook/inbound/status-reader.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Pool } from 'pg';
import type { Base } from './base.ts';
import type { Store } from './database.ts';

export interface InboundWebhooks {
  /** Those in force; replaced when the configuration file changes. */
  readonly sources: Sources;
  readonly receiver: WebhookReceiver;
  readonly webhookEvents: WebhookEvents;
}

/** Takes webhooks of the sources of the configuration file, and processes them here or in another replica. */
export function startInboundWebhooks(
  base: Base,
  { pool, keys }: Store,
  egress: Egress,
  databaseNow: () => number,
): InboundWebhooks {
  const { config, log, metrics, stops } = base;
  const sources = new Sources();
  sources.replace(config.file.webhooks.sources);
  const bodies = new Bodies(keys.webhookBodies);
  const refusals = new WebhookRefusals(pool);
  const handlers = createHandlers((tx, told) => tellSystemEvent(tx, databaseNow(), told), new StatusReader(egress));
  const [quick, asking] = [false, true].map(
    (asks) => new WebhookProcessor({ pool, sources, bodies, handlers, log, metrics, asks }),
  ) as [WebhookProcessor, WebhookProcessor];
  const wake = () => {
    quick.wake();
    asking.wake();
  };
  const clock = { ...systemClock, now: () => Math.floor(databaseNow()) };
  const receiver = new WebhookReceiver({
    pool,
    sources,
    bodies,
    refusals,
    clock,
    metrics,
    isFull: () => quick.isFull,
    wake,
  });
  const requireRun = async (by: Principal, run: { readonly id: string; readonly projectId: string }) => {
    if (!(await findRun(pool, reach(by, run)))) throw noSuchRun(run.id);
  };
  const publicUrl = config.options.PUBLIC_URL;
  const webhookEvents = new WebhookEvents({ pool, sources, bodies, publicUrl, wake, requireRun });
  const keptDays = config.options.WEBHOOK_EVENTS_RETENTION_DAYS;
  const stop = startJobs(
    [
      { name: 'webhooks', everyMs: webhookPollMs, run: () => quick.work() },
      { name: 'webhooks that ask', everyMs: webhookPollMs, run: () => asking.work() },
      { name: 'waiting webhooks', everyMs: webhookJobsLookMs, atOnce: true, run: () => quick.look() },
      { name: 'refused webhooks', everyMs: webhookRefusalsEveryMs, run: () => refusals.flush() },
      { name: 'purge webhooks', everyMs: ledgerDaysEveryMs, atOnce: true, run: () => purge(pool, keptDays) },
    ],
    log,
  );
  stops.add('webhooks that come in', async () => {
    await Promise.all([quick.stop(), asking.stop()]);
    await stop();
    await refusals.flush();
  });
  return { sources, receiver, webhookEvents };
}

/** Forgets what need not be known any more; events themselves go by days (compose/days.ts). */
async function purge(pool: Pool, keptDays: number): Promise<void> {
  while ((await deleteOldRefusals(pool, webhookRefusalsKeptDays, purgeBatchMax)) === purgeBatchMax);
  while ((await deleteOldCallbacks(pool, purgeBatchMax)) === purgeBatchMax);
  if (keptDays === 0) return;
  const keysKeptDays = Math.max(keptDays, webhookKeysKeptDaysMin);
  while ((await deleteOldKeys(pool, keysKeptDays, purgeBatchMax)) === purgeBatchMax);
}
