/** Tells endpoints of targets that are called no more. Part of the composition root: see main.ts. */
import { breakerWatchMs } from '../base/webhook-limits.ts';
import { BreakerWatch } from '../gateway/models/breaker-watch.ts';
import type { RoutingInForce } from '../gateway/models/routing-in-force.ts';
import { emitEvent } from '../outbox/emit.ts';
import { inTransaction } from '../pg/tx.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Pool } from 'pg';
import type { Base } from './base.ts';

/** Looks each second, off the path of calls. What cannot be written is told at a later look. */
export function tellOfBreakers({ log, stops }: Base, pool: Pool, routing: RoutingInForce, instanceId: string): void {
  const watch = new BreakerWatch();
  const run = async () => {
    const { changes, settled } = watch.look(routing.current.breakers.levels());
    if (changes.length > 0)
      await inTransaction(pool, async (tx) => {
        for (const { provider, model, opened } of changes)
          await emitEvent(tx, {
            type: opened ? 'breaker.opened' : 'breaker.closed',
            projectId: null,
            data: { provider, model, instance_id: instanceId },
          });
      });
    settled();
  };
  stops.add('events of breakers', startJobs([{ name: 'events of breakers', everyMs: breakerWatchMs, run }], log));
}
