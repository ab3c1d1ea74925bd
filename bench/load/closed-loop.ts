import { setTimeout as sleep } from 'node:timers/promises';
import { cpuUs } from '../harness/process-tree.ts';
import { quantile } from '../harness/statistics.ts';
import { Connection } from './connection.ts';
import type { ClosedLoopJob, ClosedLoopResult } from './job.ts';

const pollMs = 100;

/** Runs a closed loop and measures what was answered between the end of the warm-up and the end of the duration. */
export async function closedLoop(job: ClosedLoopJob): Promise<ClosedLoopResult> {
  const latenciesMs: number[] = [];
  let errors = 0;
  let warmed = 0;
  let firstError: string | null = null;
  let phase: 'warming' | 'measuring' | 'over' = 'warming';
  const over = () => phase === 'over';

  async function loop(): Promise<void> {
    const connection = new Connection(job);
    while (!over()) {
      const startedMs = performance.now();
      try {
        const { status, start } = await connection.send();
        if (status !== 200) throw new Error(`${status}: ${start}`);
        if (phase === 'measuring') latenciesMs.push(performance.now() - startedMs);
        else warmed += 1;
      } catch (error) {
        errors += 1;
        firstError ??= String(error);
        // A target that refuses everything must not be hammered.
        await sleep(10);
      }
    }
    connection.close();
  }

  const loops = Array.from({ length: job.concurrency }, loop);
  const { requests, msMin, msMax } = job.warmup;
  await sleep(msMin);
  const isWarm = () => warmed >= requests;
  for (let ms = msMin; ms < msMax && !isWarm(); ms += pollMs) await sleep(pollMs);
  const cpuBefore = job.pids.map(cpuUs);
  const startedMs = performance.now();
  phase = 'measuring';
  await sleep(job.durationMs);
  phase = 'over';
  const seconds = (performance.now() - startedMs) / 1000;
  const cpuAfter = job.pids.map(cpuUs);
  await Promise.all(loops);
  return {
    requests: latenciesMs.length,
    errors,
    firstError,
    seconds,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
    cpuUs: cpuAfter.map((after, index) => after - (cpuBefore[index] ?? 0)),
  };
}
