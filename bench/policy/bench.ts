import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { policyCostNsMax } from '../../server/src/base/limits.ts';
import { judge } from '../../server/src/policy/rules.ts';
import {
  type Bar,
  type Bench,
  type BenchOptions,
  type Findings,
  missedBars,
  type Sample,
  type TargetFigures,
} from '../harness/result.ts';
import { round } from '../harness/statistics.ts';
import {
  acceptedConditions,
  commonCall,
  commonDocument,
  compile,
  hostileCalls,
  indexOf,
  randomDocuments,
  repeated,
} from './documents.ts';
import { slowestOf, throughput } from './measure.ts';

const workloads = ['conditions', 'documents', 'random', 'common'] as const;

/** Decision 0020: all rules of a document take at most 5 ms, on the worst arguments. */
const bars: readonly Bar[] = [
  { ratio: 'documents_cpu_ms', atMost: 5 },
  { ratio: 'documents_p99_ms', atMost: 5 },
  { ratio: 'documents_first_ms', atMost: 5 },
  { ratio: 'conditions_p99_ms', atMost: 5 },
];

/** What conditions cost, beside what they are priced at when they are saved. */
export const policy: Bench = {
  summary: 'policy conditions: hostile ones, the largest documents of them, and a common document (exit 1 above 5 ms)',
  targets: ['evaluator'],
  workloads,
  defaults: { rounds: 1, durationS: 1 },
  run,
};

type Rows = Record<string, Sample>;

async function run(options: BenchOptions): Promise<Findings> {
  const { smoke, progress } = options;
  const counts = smoke ? { condition: 5, document: 1, random: 2 } : { condition: 200, document: 100, random: 20 };
  const tables: Record<string, Rows> = {};
  for (const workload of workloads.filter((name) => options.workloads.includes(name))) {
    progress(workload);
    if (workload === 'conditions') tables[workload] = conditions(counts.condition);
    if (workload === 'documents') tables[workload] = await documents(documentsOfList(), counts.document, progress);
    if (workload === 'random')
      tables[workload] = await documents(documentsAtRandom(counts.random), counts.document, progress);
    if (workload === 'common')
      tables[workload] = {
        'twenty simple rules': rounded(throughput(indexOf(commonDocument), commonCall, smoke ? 5 : 200)),
      };
  }
  const ratios = ratiosOf(tables);
  const measured = bars.filter(({ ratio }) => options.workloads.includes(ratio.slice(0, ratio.indexOf('_'))));
  const missed = missedBars(measured, ratios);
  if (missed.length > 0) process.exitCode = 1;
  return { targets: byTarget(tables), ratios, missed, unavailable: {} };
}

function conditions(count: number): Rows {
  return Object.fromEntries(
    Object.entries(acceptedConditions()).map(([name, text]) => {
      const { evaluate, costNs } = compile(text);
      const { p50Ms, p99Ms, worstMs } = slowestOf(evaluate, hostileCalls, count);
      const us = { priced_us: costNs / 1e3, p50_us: p50Ms * 1e3, p99_us: p99Ms * 1e3, worst_us: worstMs * 1e3 };
      return [name, rounded({ ...us, used_of_price: (p50Ms * 1e6) / costNs })];
    }),
  );
}

function documentsOfList(): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(Object.entries(acceptedConditions()).map(([name, text]) => [name, repeated(text)]));
}

function documentsAtRandom(count: number): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(randomDocuments(count).map((texts, position) => [`random ${position + 1}`, texts]));
}

async function documents(
  all: Readonly<Record<string, readonly string[]>>,
  count: number,
  progress: BenchOptions['progress'],
): Promise<Rows> {
  const rows: Rows = {};
  for (const [name, texts] of Object.entries(all)) {
    const index = indexOf(texts);
    const { call, p50Ms, p99Ms, worstMs, cpuMs } = slowestOf((facts) => judge(index, facts), hostileCalls, count);
    const first = await firstMs(texts, call);
    const figures = { cpu_ms: cpuMs, p50_ms: p50Ms, p99_ms: p99Ms, worst_ms: worstMs, first_ms: first };
    rows[name] = rounded({ rules: texts.length, ...figures });
    progress(`${name}, slowest on "${call}": p99 ${round(p99Ms)} ms, the first time ${round(first)} ms`);
  }
  return rows;
}

const firstTries = 5;

/** What the first call takes in a thread that has just started: the quickest of some, for the same reason as in `slowestOf`. */
async function firstMs(texts: readonly string[], call: string): Promise<number> {
  const tries: number[] = [];
  while (tries.length < firstTries) {
    const worker = new Worker(new URL('first.ts', import.meta.url), { workerData: { texts, call } });
    const [ms] = (await once(worker, 'message')) as [number];
    tries.push(ms);
  }
  return Math.min(...tries);
}

function ratiosOf(tables: Readonly<Record<string, Rows>>): Sample {
  const most = (workload: string, figure: string) =>
    Math.max(...Object.values(tables[workload] ?? {}).map((sample) => sample[figure] ?? Number.NaN));
  const listed = {
    conditions_p99_ms: most('conditions', 'p99_us') / 1e3,
    conditions_used_of_price: most('conditions', 'used_of_price'),
    documents_priced_ms: policyCostNsMax / 1e6,
    documents_cpu_ms: Math.max(most('documents', 'cpu_ms'), most('random', 'cpu_ms')),
    documents_p50_ms: Math.max(most('documents', 'p50_ms'), most('random', 'p50_ms')),
    documents_p99_ms: Math.max(most('documents', 'p99_ms'), most('random', 'p99_ms')),
    documents_first_ms: Math.max(most('documents', 'first_ms'), most('random', 'first_ms')),
    common_us_per_call: most('common', 'us_per_call'),
  };
  return rounded(Object.fromEntries(Object.entries(listed).filter(([, value]) => Number.isFinite(value))));
}

function byTarget(tables: Readonly<Record<string, Rows>>): Record<string, TargetFigures> {
  const targets: Record<string, { workloads: Record<string, Sample>; samples: Record<string, readonly Sample[]> }> = {};
  for (const [workload, rows] of Object.entries(tables)) {
    for (const [name, sample] of Object.entries(rows)) {
      targets[name] ??= { workloads: {}, samples: {} };
      targets[name].workloads[workload] = sample;
    }
  }
  return targets;
}

function rounded(sample: Sample): Sample {
  return Object.fromEntries(Object.entries(sample).map(([name, value]) => [name, round(value)]));
}
