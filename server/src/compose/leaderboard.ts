/** What counts runs for the leaderboard, and makes the public one. Part of the composition root: see main.ts. */
import { countRunsEveryMs, publicBoardLookEveryMs } from '../base/telemetry-limits.ts';
import { countMarkedRuns } from '../telemetry/leaderboard/count.ts';
import { startJobs } from '../worker/ticker.ts';
import type { Base } from './base.ts';
import type { Control } from './control.ts';
import type { Pool } from 'pg';

/** @param pool what is summed up in the background has it to itself (compose/telemetry.ts) */
export function startLeaderboard({ log, stops }: Base, pool: Pool, { boardMaker }: Control): void {
  const jobs = [
    { name: 'count runs', everyMs: countRunsEveryMs, run: () => countMarkedRuns(pool) },
    { name: 'public leaderboard', everyMs: publicBoardLookEveryMs, run: () => boardMaker.makeIfDue(pool) },
  ];
  stops.add('leaderboard', startJobs(jobs, log));
}
