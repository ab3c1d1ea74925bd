import { cpuUs } from '../../harness/process-tree.ts';
import { quantile } from '../../harness/statistics.ts';
import { newCaller } from './caller.ts';
import type { CallsJob, CallsResult } from './job.ts';

/** On a machine that is busy with other things the time may be over before anything is answered. */
const callsMin = 5;
const warmupMsMax = 3_000;

/** Makes calls, each with a request of its own, and measures those after the warm-up. */
export async function calls(job: CallsJob): Promise<CallsResult> {
  const caller = newCaller(job, job.concurrency);
  const requests = job.requests.values();
  const latenciesMs: number[] = [];
  let errors = 0;
  let firstError: string | null = null;
  let [startedMs, cpuBefore] = [performance.now(), job.pids.map(cpuUs)];
  const beganMs = performance.now();
  let made = 0;
  let isMeasuring = false;
  const loop = async () => {
    for (const request of requests) {
      made += 1;
      if (!isMeasuring && (made > job.warmup || performance.now() - beganMs > warmupMsMax)) {
        isMeasuring = true;
        [startedMs, cpuBefore] = [performance.now(), job.pids.map(cpuUs)];
      }
      const measured = isMeasuring;
      const callMs = performance.now();
      if (measured && callMs - startedMs > job.durationMs && latenciesMs.length >= callsMin) return;
      try {
        await caller.call(job.method, request);
        if (measured) latenciesMs.push(performance.now() - callMs);
      } catch (error) {
        errors += 1;
        firstError ??= (error as Error).message;
      }
    }
  };
  await Promise.all(Array.from({ length: job.concurrency }, loop));
  const seconds = (performance.now() - startedMs) / 1_000;
  const cpuAfter = job.pids.map(cpuUs);
  await caller.close();
  return {
    calls: latenciesMs.length,
    errors,
    firstError,
    seconds,
    p50Ms: quantile(latenciesMs, 0.5),
    p95Ms: quantile(latenciesMs, 0.95),
    p99Ms: quantile(latenciesMs, 0.99),
    cpuUs: cpuAfter.map((after, index) => after - (cpuBefore[index] ?? 0)),
  };
}
