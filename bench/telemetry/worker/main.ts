import { systemClock } from '../../../server/src/base/clock.ts';
import { rollupRowsPerSliceMax, rollupSeriesPerProjectMax } from '../../../server/src/base/telemetry-limits.ts';
import { createPool } from '../../../server/src/pg/pool.ts';
import { countMarkedRuns } from '../../../server/src/telemetry/leaderboard/count.ts';
import type { RollupSource } from '../../../server/src/telemetry/rollup-store.ts';
import { rollUp, Rollups } from '../../../server/src/telemetry/rollups.ts';
import type { Caught } from './job.ts';

const pool = createPool({
  connectionString: process.argv[2] ?? '',
  statementMs: 600_000,
  lockMs: 5_000,
  connectMs: 5_000,
  applicationName: 'bench worker',
  max: 2,
  idleMs: 0,
  lifetimeMs: 0,
  onError: () => {},
});

/** Repeats a job until it finds nothing to do. */
async function work(job: Caught['job'], turn: () => Promise<number>): Promise<void> {
  const mib = () => process.memoryUsage.rss() / 2 ** 20;
  globalThis.gc?.();
  const rssBeforeMib = mib();
  const startedMs = performance.now();
  let rssPeakMib = rssBeforeMib;
  while ((await turn()) > 0) rssPeakMib = Math.max(rssPeakMib, mib());
  const seconds = (performance.now() - startedMs) / 1_000;
  globalThis.gc?.();
  const caught: Caught = { job, seconds, rssBeforeMib, rssPeakMib, rssAfterMib: mib() };
  process.stdout.write(`${JSON.stringify(caught)}\n`);
}

/** As a gate does it (telemetry/rollups.ts), but for its rests: it takes as long again to rest as to work. */
async function rollUpSlice(source: RollupSource): Promise<number> {
  const slice = { rowsMax: rollupRowsPerSliceMax, seriesMax: rollupSeriesPerProjectMax, restMs: 0 };
  return (await rollUp(pool, source, slice))?.rows ?? 0;
}

// A gate says first what is too old to be kept: minutes and hours of before are not written then.
await new Rollups(pool, systemClock, { onRows: () => {}, onFolded: () => {} }).purge();
await work('rollups-attempts', () => rollUpSlice('attempts'));
await work('rollups-events', () => rollUpSlice('run_events'));
await work('leaderboard', () => countMarkedRuns(pool));
await pool.end();
