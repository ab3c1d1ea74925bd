import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from '../harness/children.ts';
import { cpuUs } from '../harness/process-tree.ts';
import { brief, type Sample } from '../harness/result.ts';
import type { Database } from '../money/database/main.ts';
import type { Seeded } from './seed/seed.ts';
import { type Caught, caughtJobs } from './worker/job.ts';

/** What each of the jobs took for all that was seeded. */
export type CatchUp = Readonly<Record<Caught['job'], Sample>>;

/** How many rows a job works through. */
const rowsOf: Readonly<Record<Caught['job'], (seeded: Seeded) => number>> = {
  'rollups-attempts': ({ attempts, corrections }) => attempts + corrections,
  'rollups-events': ({ events }) => events,
  leaderboard: ({ runs }) => runs,
};

interface Options {
  readonly directory: string;
  readonly progress: (text: string) => void;
}

/** Lets the jobs of a gate work through everything, in a process of their own, until nothing is left. */
export async function catchUp(database: Database, seeded: Seeded, { directory, progress }: Options): Promise<CatchUp> {
  const path = fileURLToPath(new URL('worker/main.ts', import.meta.url));
  const logFile = join(directory, 'worker.log');
  const command = [process.execPath, '--expose-gc', path, database.url];
  const worker = startChild(command, { name: 'the worker', side: 'all', logFile, talks: true });
  const next = async (): Promise<[Caught['job'], Sample]> => {
    const before = { worker: cpuUs(worker.pid), database: cpuUs(database.pid) };
    const caught = JSON.parse(await worker.line()) as Caught;
    const { job, seconds, rssBeforeMib, rssPeakMib, rssAfterMib } = caught;
    const rows = rowsOf[job](seeded);
    const sample = {
      rows,
      seconds,
      rows_per_s: rows / seconds,
      cpu_us_per_row: (cpuUs(worker.pid) - before.worker) / rows,
      database_cpu_us_per_row: (cpuUs(database.pid) - before.database) / rows,
      rss_before_mib: rssBeforeMib,
      rss_peak_mib: rssPeakMib,
      rss_after_mib: rssAfterMib,
    };
    progress(`${job}: ${brief(sample)}`);
    return [job, sample];
  };
  const caught: [Caught['job'], Sample][] = [];
  while (caught.length < caughtJobs.length) caught.push(await next());
  await worker.success(10_000);
  return Object.fromEntries(caught) as CatchUp;
}
