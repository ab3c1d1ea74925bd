import { setTimeout as sleep } from 'node:timers/promises';
import { cpuUs } from '../harness/process-tree.ts';
import { quantile } from '../harness/statistics.ts';
import { Connection } from './connection.ts';
import type { StreamsJob, StreamsResult } from './job.ts';

const gapLimitMs = 1_000;

/** Opens the streams and measures, event by event, how late each one came. */
export async function streams(job: StreamsJob): Promise<StreamsResult> {
  const firstMs: number[] = [];
  const delaysMs: number[] = [];
  let completed = 0;
  let failed = 0;
  let firstError: string | null = null;
  let gapMaxMs = 0;
  let gapsOver1s = 0;

  async function one(): Promise<void> {
    const startedUs = nowUs();
    let lastUs: number | null = null;
    let events = 0;
    let rest = '';
    const connection = new Connection(job, (chunk) => {
      const text = rest + chunk.toString('latin1');
      const whole = text.lastIndexOf('\n') + 1;
      rest = text.slice(whole);
      const us = nowUs();
      for (const [, sentUs] of text.slice(0, whole).matchAll(/@(\d+) /g)) {
        events += 1;
        delaysMs.push((us - Number(sentUs)) / 1000);
        if (lastUs === null) firstMs.push((us - startedUs) / 1000);
        const gapMs = (us - (lastUs ?? us)) / 1000;
        gapMaxMs = Math.max(gapMaxMs, gapMs);
        if (gapMs > gapLimitMs) gapsOver1s += 1;
        lastUs = us;
      }
    });
    try {
      const { status, start } = await connection.send();
      if (status !== 200) throw new Error(`${status}: ${start}`);
      if (events !== job.tokens) throw new Error(`${events} of ${job.tokens} events came`);
      completed += 1;
    } catch (error) {
      failed += 1;
      firstError ??= String(error);
    } finally {
      connection.close();
    }
  }

  const cpuBefore = job.pids.map(cpuUs);
  const running: Promise<void>[] = [];
  for (let index = 0; index < job.count; index += 1) {
    running.push(one());
    await sleep(job.rampMs / job.count);
  }
  await Promise.all(running);
  const cpuAfter = job.pids.map(cpuUs);
  return {
    completed,
    failed,
    firstError,
    events: delaysMs.length,
    ttftP50Ms: quantile(firstMs, 0.5),
    ttftP99Ms: quantile(firstMs, 0.99),
    delayP50Ms: quantile(delaysMs, 0.5),
    delayP99Ms: quantile(delaysMs, 0.99),
    gapMaxMs,
    gapsOver1s,
    cpuUs: cpuAfter.map((after, index) => after - (cpuBefore[index] ?? 0)),
  };
}

/** The monotonic clock that the mock provider stamps its events with. */
function nowUs(): number {
  return Number(process.hrtime.bigint() / 1000n);
}
