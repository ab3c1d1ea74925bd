import type { Child } from '../harness/children.ts';
import { residentMib } from '../harness/process-tree.ts';
import type { Sample } from '../harness/result.ts';
import type { ClosedLoopResult, Job, StreamsResult, Warmup } from '../load/job.ts';
import type { RunningTarget } from '../targets/target.ts';
import type { Workload } from './workloads.ts';

const residentEveryMs = 250;

/** One round of one workload against one target. */
export async function measure(
  load: Child,
  target: RunningTarget,
  workload: Workload,
  time: { readonly warmup: Warmup; readonly durationMs: number },
): Promise<Sample> {
  const { request, concurrency = 1, streams } = workload;
  const pids = target.databasePid === null ? [target.pid] : [target.pid, target.databasePid];
  const call = {
    url: target.url,
    path: request.path,
    headers: target.headers[request.dialect],
    body: request.body,
    pids,
  };
  const job: Job =
    streams === undefined
      ? { kind: 'closed_loop', ...call, concurrency, ...time }
      : { kind: 'streams', ...call, ...streams };
  load.send(JSON.stringify(job));
  const { value, memory } = await withMemory(target, load.line());
  target.alive();
  return streams === undefined
    ? closedLoopSample(JSON.parse(value) as ClosedLoopResult, memory)
    : streamsSample(JSON.parse(value) as StreamsResult, memory);
}

/** Checks with one call that the target answers, and in the caller's dialect. */
export async function probe(target: RunningTarget, { request }: Workload): Promise<void> {
  const body = request.body.replace('"stream":true', '"stream":false');
  const headers = { 'content-type': 'application/json', ...target.headers[request.dialect] };
  const response = await fetch(`${target.url}${request.path}`, { method: 'POST', headers, body });
  const text = await response.text();
  const own = request.dialect === 'anthropic' ? '"type":"message"' : '"object":"chat.completion"';
  if (response.status !== 200 || !text.includes('canned answer') || !text.includes(own)) {
    throw new Error(`${request.path} was answered with ${response.status}: ${text.slice(0, 300)}`);
  }
}

interface Memory {
  readonly peakMib: number;
  /** By how much the second half of the time went above the first. */
  readonly growthMib: number;
}

/** The target's own memory: a database beside it shares pages among its processes, so that a sum would mislead. */
async function withMemory<T>(target: RunningTarget, work: Promise<T>): Promise<{ value: T; memory: Memory }> {
  const readings: number[] = [];
  const look = () => {
    const databaseMib = target.databasePid === null ? 0 : residentMib(target.databasePid);
    readings.push(residentMib(target.pid) - databaseMib);
  };
  const looking = setInterval(look, residentEveryMs);
  look();
  try {
    const value = await work;
    const middle = Math.ceil(readings.length / 2);
    const [early, late] = [readings.slice(0, middle), readings.slice(middle)].map((half) => Math.max(0, ...half));
    return { value, memory: { peakMib: Math.max(...readings), growthMib: (late ?? 0) - (early ?? 0) } };
  } finally {
    clearInterval(looking);
  }
}

function closedLoopSample(result: ClosedLoopResult, { peakMib }: Memory): Sample {
  if (result.requests === 0) throw new Error(`nothing was answered: ${result.firstError}`);
  return {
    rps: result.requests / result.seconds,
    ...cpu('request', result.cpuUs, result.requests),
    p50_ms: result.p50Ms,
    p99_ms: result.p99Ms,
    rss_mib: peakMib,
    errors: result.errors,
  };
}

function streamsSample(result: StreamsResult, { peakMib, growthMib }: Memory): Sample {
  if (result.completed === 0) throw new Error(`no stream came to its end: ${result.firstError}`);
  return {
    ...cpu('event', result.cpuUs, result.events),
    ttft_p50_ms: result.ttftP50Ms,
    ttft_p99_ms: result.ttftP99Ms,
    event_delay_p50_ms: result.delayP50Ms,
    event_delay_p99_ms: result.delayP99Ms,
    gap_max_ms: result.gapMaxMs,
    gaps_over_1s: result.gapsOver1s,
    rss_mib: peakMib,
    rss_growth_mib: growthMib,
    failed: result.failed,
  };
}

function cpu(unit: string, [whole = 0, database]: readonly number[], count: number): Sample {
  return {
    [`cpu_us_per_${unit}`]: whole / count,
    ...(database !== undefined && { [`database_cpu_us_per_${unit}`]: database / count }),
  };
}
