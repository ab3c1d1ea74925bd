import { setTimeout as sleep } from 'node:timers/promises';
import { cpuUs } from '../../harness/process-tree.ts';
import { quantile } from '../../harness/statistics.ts';
import { batchOf } from './batch.ts';
import { newCaller } from './caller.ts';
import type { IngestJob, IngestResult } from './job.ts';

/** Tells batches of new events; at a rate each batch has its moment, and one that is late is not made up for by fewer. */
export async function ingest(job: IngestJob): Promise<IngestResult> {
  const { batchEvents, concurrency, eventsPerS, runs } = job;
  const caller = newCaller(job, concurrency);
  const pids = [...job.pids, process.pid];
  const beganMs = performance.now();
  const measureFromMs = beganMs + job.warmupMs;
  const endMs = measureFromMs + job.durationMs;
  const betweenMs = eventsPerS === null ? 0 : (1_000 * batchEvents) / eventsPerS;
  const salt = `${process.pid}-${Math.floor(performance.timeOrigin + beganMs)}`;
  const latenciesMs: number[] = [];
  let batches = 0;
  let [told, errors] = [0, 0];
  let firstError: string | null = null;
  const loop = async () => {
    for (;;) {
      const batch = batches++;
      const earlyMs = beganMs + batch * betweenMs - performance.now();
      if (earlyMs > 0) await sleep(earlyMs);
      const startedMs = performance.now();
      if (startedMs >= endMs) return;
      const run = runs[batch % runs.length];
      if (run === undefined) throw new Error('there is no run to tell events of');
      try {
        await caller.call('RunService/RecordRunEvents', batchOf(run.runId, `${salt}-${batch}`, batchEvents), run.key);
        told += batchEvents;
        const now = performance.now();
        if (now >= measureFromMs && now < endMs) latenciesMs.push(now - startedMs);
      } catch (error) {
        errors += 1;
        firstError ??= (error as Error).message;
        await sleep(10); // What refuses everything must not be hammered.
      }
    }
  };
  const loops = Array.from({ length: concurrency }, loop);
  await sleep(job.warmupMs);
  const cpuBefore = pids.map(cpuUs);
  const fromMs = performance.now();
  await sleep(endMs - fromMs);
  const seconds = (performance.now() - fromMs) / 1_000;
  const cpuAfter = pids.map(cpuUs);
  await Promise.all(loops);
  await caller.close();
  return {
    told,
    events: latenciesMs.length * batchEvents,
    errors,
    firstError,
    seconds,
    p50Ms: quantile(latenciesMs, 0.5),
    p95Ms: quantile(latenciesMs, 0.95),
    p99Ms: quantile(latenciesMs, 0.99),
    cpuUs: cpuAfter.map((after, index) => after - (cpuBefore[index] ?? 0)),
  };
}
