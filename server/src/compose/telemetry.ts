/** What sums up the ledger. Part of the composition root: see main.ts. */
import { systemClock } from '../base/clock.ts';
import { rollupEveryMs } from '../base/telemetry-limits.ts';
import { Rollups } from '../telemetry/rollups.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Pool } from 'pg';
import type { Base } from './base.ts';
import { type Store, openPool } from './database.ts';

/** Tells it in `pg_stat_activity` from what requests do. */
const backgroundName = 'portcullis background';

/**
 * Keeps rollups on a connection of its own: its statements span all days of the ledger, and are planned once.
 * @returns that connection, for what else is summed up in the background: no request waits for it
 */
export function startTelemetry(base: Base, { connection }: Store): Pool {
  const { log, metrics, stops } = base;
  const background = { ...connection, applicationName: backgroundName };
  const pool = openPool(base, 'background pool', { ...background, max: 1, plansByKey: true });
  const rollups = new Rollups(pool, systemClock, {
    onRows: (source, rows) => metrics.rollupRows.inc({ source }, rows),
    onFolded: ({ projectId, names }) =>
      log.warn({ project_id: projectId, names }, 'summaries tell no more names apart'),
  });
  metrics.readings.rollupLagS = () => rollups.lagS;
  const stop = startJobs([{ name: 'rollups', everyMs: rollupEveryMs, run: () => rollups.catchUp() }], log);
  stops.add('rollups', () => {
    rollups.stop();
    return stop();
  });
  return pool;
}
