/** Verifying the endpoints of webhooks. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { challengeEveryMs } from '../base/webhook-limits.ts';
import type { Egress } from '../net/egress/egress.ts';
import { Challenger } from '../webhook/outbound/challenger.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Pool } from 'pg';
import type { Base } from './base.ts';
import type { Store } from './database.ts';

/** Has this process send challenges that are due, with statements on `pool`. */
export function startChallenges({ log, stops }: Base, pool: Pool, { keys }: Store, egress: Egress): void {
  const challenger = new Challenger({ pool, sealing: keys.webhookSecrets, egress, clock: systemClock, log });
  const jobs = [{ name: 'challenges of webhook endpoints', everyMs: challengeEveryMs, run: () => challenger.tick() }];
  const stopJobs = startJobs(jobs, log);
  stops.add('challenges of webhook endpoints', async () => {
    await stopJobs();
    await challenger.stop();
  });
}
