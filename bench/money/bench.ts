import { durabilities } from '../../server/src/identity/records.ts';
import {
  type Bench,
  type BenchOptions,
  brief,
  figuresOf,
  type Findings,
  missedBars,
  type Samples,
} from '../harness/result.ts';
import { calls, callTargets } from './calls.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { Pairs } from './pairs.ts';
import { bars, compare } from './ratios.ts';
import { type Workload, workloadNames, workloads } from './workloads.ts';

/** The exactness and the price of money: the ledger of four processes alone, then whole gates with and without budgets. */
export const money: Bench = {
  summary: 'hold and settlement by four processes on one database, and the CPU of a call with budgets and without',
  targets: Object.keys(callTargets),
  workloads: [...workloadNames, 'calls'],
  defaults: { rounds: 3, durationS: 4 },
  run,
};

async function run(options: BenchOptions): Promise<Findings> {
  const plan = workloads(options.smoke).filter(({ name }) => options.workloads.includes(name));
  const chosen = durabilities.filter((durability) => options.targets.includes(durability));
  const samples: Samples = new Map();
  const unavailable: Record<string, string> = {};
  if (plan.length > 0 && chosen.length > 0) {
    options.progress('starting PostgreSQL and the processes');
    const cluster = await startCluster(options.directory);
    for (const workload of plan) await measure(cluster, workload, chosen, options, { samples, unavailable });
    await cluster.stop();
  }
  if (options.workloads.includes('calls')) {
    const measured = await calls(options.targets, options);
    Object.assign(unavailable, measured.unavailable);
    for (const [target, taken] of measured.samples)
      samples.set(target, new Map([...(samples.get(target) ?? []), ...taken]));
  }
  const ratios = compare(samples, unavailable);
  return { targets: figuresOf(samples, 'calls'), ratios, missed: missedBars(bars, ratios), unavailable };
}

/** All rounds of one workload, the durabilities in turn. */
async function measure(
  cluster: Cluster,
  workload: Workload,
  targets: readonly string[],
  options: BenchOptions,
  { samples, unavailable }: { readonly samples: Samples; readonly unavailable: Record<string, string> },
): Promise<void> {
  const { progress, rounds } = options;
  const prepared = new Map<string, Pairs>();
  for (let round = 0; round <= rounds; round += 1) {
    for (const durability of targets) {
      const failure = `${durability}: ${workload.name}`;
      if (failure in unavailable) continue;
      try {
        const pairs = prepared.get(durability) ?? new Pairs(cluster, workload, durability);
        prepared.set(durability, pairs);
        // Both are there before the first is measured, since each is in the other's memory.
        if (round === 0) {
          await pairs.prepare();
          continue;
        }
        const sample = await pairs.measure(options);
        const taken = samples.get(durability) ?? new Map();
        samples.set(durability, taken.set(workload.name, [...(taken.get(workload.name) ?? []), sample]));
        progress(`${workload.name} (${workload.about}), round ${round} of ${rounds}: ${durability} ${brief(sample)}`);
      } catch (error) {
        unavailable[failure] = (error as Error).message;
        progress(`${failure} is not measured: ${unavailable[failure]}`);
      }
    }
  }
}
