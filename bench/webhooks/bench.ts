import {
  type Bar,
  type Bench,
  type BenchOptions,
  brief,
  figuresOf,
  type Findings,
  missedBars,
  type Sample,
  type Samples,
} from '../harness/result.ts';
import { over } from '../harness/rounds.ts';
import { median } from '../harness/statistics.ts';
import { startCluster } from './cluster.ts';
import { measure } from './measure.ts';
import { workloads } from './workloads.ts';

const target = 'engine';

const bars: readonly Bar[] = [
  { ratio: 'spread_deliveries_per_s', atLeast: 500 },
  { ratio: 'beside_dead_vs_spread', atLeast: 0.5 },
  { ratio: 'missing_rows', atMost: 0 },
  { ratio: 'repeated', atMost: 0 },
  { ratio: 'not_measured', atMost: 0 },
];

/** How many webhooks two processes on one database deliver, and how soon. */
export const webhooks: Bench = {
  summary: 'webhooks delivered in a second by two processes on one database, and how long each takes from its commit',
  targets: [target],
  workloads: workloads.map(({ name }) => name),
  defaults: { rounds: 3, durationS: 10 },
  run,
};

async function run(options: BenchOptions): Promise<Findings> {
  const { progress, rounds, durationS, smoke } = options;
  const samples: Samples = new Map();
  const unavailable: Record<string, string> = {};
  progress('starting PostgreSQL');
  const cluster = await startCluster(options.directory);
  for (const workload of workloads.filter(({ name }) => options.workloads.includes(name))) {
    for (let round = 1; round <= rounds && !(workload.name in unavailable); round++) {
      try {
        const sample = await measure(cluster, workload, durationS, smoke);
        const taken = samples.get(target) ?? new Map<string, Sample[]>();
        samples.set(target, taken.set(workload.name, [...(taken.get(workload.name) ?? []), sample]));
        progress(`${workload.name} (${workload.about}), round ${round} of ${rounds}: ${brief(sample)}`);
      } catch (error) {
        unavailable[workload.name] = (error as Error).message;
        progress(`${workload.name} is not measured: ${unavailable[workload.name]}`);
      }
    }
  }
  await cluster.stop();
  const ratios = compare(samples, unavailable);
  return { targets: figuresOf(samples, 'spread'), ratios, missed: missedBars(bars, ratios), unavailable };
}

function compare(samples: Samples, unavailable: Readonly<Record<string, string>>): Sample {
  const taken = samples.get(target) ?? new Map<string, Sample[]>();
  const of = (workload: string, figure: string) => taken.get(workload)?.flatMap((sample) => sample[figure] ?? []) ?? [];
  const rate = (workload: string) => of(workload, 'deliveries_per_s');
  const sumOf = (figure: string) =>
    [...taken.keys()].flatMap((workload) => of(workload, figure)).reduce((sum, value) => sum + value, 0);
  const ratios: Record<string, number> = {
    spread_deliveries_per_s: median(rate('spread')),
    one_deliveries_per_s: median(rate('one')),
    ordered_deliveries_per_s: median(rate('ordered')),
    beside_dead_vs_spread: over(rate('beside-dead'), rate('spread')),
    paced_p99_ms: median(of('paced', 'p99_ms')),
    missing_rows: sumOf('missing_rows'),
    repeated: sumOf('repeated'),
    not_measured: Object.keys(unavailable).length,
  };
  return Object.fromEntries(Object.entries(ratios).filter(([, value]) => !Number.isNaN(value)));
}
