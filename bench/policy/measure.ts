import type { Facts } from '../../server/src/policy/facts.ts';
import { judge, type RuleIndex } from '../../server/src/policy/rules.ts';
import type { Sample } from '../harness/result.ts';
import { median, quantile } from '../harness/statistics.ts';

/** The kernel counts it by the tick of some milliseconds: of use for many evaluations alone. */
function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** Milliseconds of each of so many evaluations, by the clock. */
function timesOf(evaluate: () => unknown, count: number): readonly number[] {
  return Array.from({ length: count }, () => {
    const startedMs = performance.now();
    evaluate();
    return performance.now() - startedMs;
  });
}

/** What the slowest of the calls takes. */
export interface Slowest {
  readonly call: string;
  readonly p50Ms: number;
  /** In the quietest of the rounds: what else the machine did is no part of an evaluation. */
  readonly p99Ms: number;
  /** Of all rounds, with whatever else the machine did. */
  readonly worstMs: number;
  /** Processor time of this thread, on average: waiting for the processor is no part of it. */
  readonly cpuMs: number;
}

const rounds = 20;
const probes = 15;

/** Finds the call that takes longest, and evaluates for it so many times a round. */
export function slowestOf(
  evaluate: (facts: Facts) => unknown,
  calls: Readonly<Record<string, Facts>>,
  count: number,
): Slowest {
  const probed = Object.entries(calls).map(([call, facts]) => {
    const run = () => evaluate(facts);
    timesOf(run, probes);
    return { call, run, ms: median(timesOf(run, probes)) };
  });
  const { call, run } = probed.reduce((slowest, next) => (next.ms > slowest.ms ? next : slowest));
  timesOf(run, count);
  const startedMs = threadCpuMs();
  const times = Array.from({ length: rounds }, () => timesOf(run, count));
  return {
    call,
    cpuMs: (threadCpuMs() - startedMs) / (rounds * count),
    p50Ms: Math.min(...times.map(median)),
    p99Ms: Math.min(...times.map((each) => quantile(each, 0.99))),
    worstMs: Math.max(...times.flat()),
  };
}

/** A document that is judged so often that the clock's own cost does not count. */
export function throughput(index: RuleIndex<Facts>, facts: Facts, batches: number): Sample {
  const perBatch = 1_000;
  const batch = () => {
    for (let done = 0; done < perBatch; done += 1) judge(index, facts);
  };
  timesOf(batch, batches);
  const us = timesOf(batch, batches).map((ms) => (ms * 1_000) / perBatch);
  return { us_per_call: median(us), us_p99: quantile(us, 0.99) };
}
