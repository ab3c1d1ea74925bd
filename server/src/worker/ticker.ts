import type { Logger } from '../base/log.ts';

/** Background work that repeats. */
export interface Job {
  readonly name: string;
  readonly everyMs: number;
  /** Whether its first run is now, not after `everyMs`. */
  readonly atOnce?: boolean;
  run(): Promise<unknown>;
}

/**
 * Runs each job again and again, one run of a job at a time; a failure is logged and the next run comes as planned.
 * @returns stops all, and waits for runs under way
 */
export function startJobs(jobs: readonly Job[], log: Logger): () => Promise<void> {
  let stopped = false;
  const timers = new Map<Job, NodeJS.Timeout>();
  const running = new Map<Job, Promise<void>>();

  function plan(job: Job, afterMs: number): void {
    timers.set(
      job,
      setTimeout(() => running.set(job, runOnce(job)), afterMs),
    );
  }

  async function runOnce(job: Job): Promise<void> {
    try {
      await job.run();
    } catch (err) {
      log.error({ err, job: job.name }, 'a background job failed');
    }
    if (!stopped) plan(job, job.everyMs);
  }

  for (const job of jobs) plan(job, job.atOnce === true ? 0 : job.everyMs);
  return async () => {
    stopped = true;
    for (const timer of timers.values()) clearTimeout(timer);
    await Promise.all(running.values());
  };
}
