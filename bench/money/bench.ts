import { type Bench, type BenchOptions, type Findings, missedBars, type Sample, summarize, type TargetFigures } from '../harness/result.ts';
import { round as shorten } from '../harness/statistics.ts';
import { startCluster } from './cluster.ts';
import { Pairs } from './pairs.ts';
import { workloadNames, workloads } from './workloads.ts';

const durabilities = ['strict', 'relaxed'];

export const money: Bench = {
  summary: 'hold and settlement by four processes on one database: spread, hot, nested, many budgets, at the limit',
  targets: durabilities,
  workloads: workloadNames,
  defaults: { rounds: 3, durationS: 4 },
  run,
};

async function run(options: BenchOptions): Promise<Findings> {
  const { directory, progress } = options;
  const unavailable: Record<string, string> = {};
  const samples = new Map<string, Map<string, Sample[]>>();
  const nodeOptions = (process.env['BENCH_NODE_OPTIONS'] ?? '').split(' ').filter((x) => x);
  const cluster = await startCluster(directory, nodeOptions);
  try {
    for (const workload of workloads(options.smoke).filter(({ name }) => options.workloads.includes(name))) {
      const prepared = new Map<string, Pairs>();
      for (const durability of options.targets) {
        try {
          const pairs = new Pairs(cluster, workload, durability);
          await pairs.prepare();
          prepared.set(durability, pairs);
        } catch (error) {
          unavailable[`${durability}: ${workload.name}`] = (error as Error).message;
        }
      }
      for (let round = 1; round <= options.rounds; round += 1) {
        for (const [durability, pairs] of prepared) {
          const sample = await pairs.measure(options);
          const taken = samples.get(durability) ?? new Map<string, Sample[]>();
          samples.set(durability, taken.set(workload.name, [...(taken.get(workload.name) ?? []), sample]));
          progress(`${workload.name} (${workload.about}), round ${round} of ${options.rounds}: ${durability} ${brief(sample)}`);
        }
      }
    }
  } finally {
    await cluster.stop();
  }
  const targets = Object.fromEntries([...samples].map(([name, taken]) => [name, figuresOf(taken)]));
  return { targets, ratios: {}, missed: missedBars([], {}), unavailable };
}

function brief(sample: Sample): string {
  return Object.entries(sample)
    .map(([name, value]) => `${name} ${shorten(value)}`)
    .join(', ');
}

function figuresOf(taken: ReadonlyMap<string, readonly Sample[]>): TargetFigures {
  return {
    workloads: Object.fromEntries([...taken].map(([name, samples]) => [name, summarize(samples)])),
    samples: Object.fromEntries(taken),
  };
}
