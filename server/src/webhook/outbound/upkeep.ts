import type { Pool } from 'pg';
import {
  deliveriesGivenUpMax,
  endpointFailingMsMax,
  webhookKeptMs,
  webhookPurgeBatchMax,
} from '../../base/webhook-limits.ts';
import { inTransaction } from '../../pg/tx.ts';
import { refreshDue } from './due-store.ts';
import { giveUp, lockStopped, purgeEvents, purgeSecrets } from './upkeep-store.ts';

/** Gives deliveries up whose endpoint gets nothing any more, so many at a time. */
export async function giveUpStopped(pool: Pool, stopping: AbortSignal): Promise<void> {
  let given = 1;
  while (given > 0 && !stopping.aborted) {
    given = await inTransaction(pool, async (tx) => {
      const endpoints = await lockStopped(tx, endpointFailingMsMax);
      if (endpoints.length === 0) return 0;
      const count = await giveUp(tx, endpoints, deliveriesGivenUpMax);
      await refreshDue(tx, endpoints);
      return count;
    });
  }
}

/** Deletes what is kept no longer, so many at a time: events with their deliveries, and secrets of past rotations. */
export async function purge(pool: Pool, nowMs: number, stopping: AbortSignal): Promise<void> {
  await purgeSecrets(pool, webhookPurgeBatchMax);
  let deleted = webhookPurgeBatchMax;
  while (deleted === webhookPurgeBatchMax && !stopping.aborted)
    deleted = await purgeEvents(pool, nowMs - webhookKeptMs, webhookPurgeBatchMax);
}
