import { setTimeout as sleep } from 'node:timers/promises';
import { Histogram } from '../harness/histogram.ts';
import type { BenchOptions, Sample } from '../harness/result.ts';
import { quantile } from '../harness/statistics.ts';
import type { Cluster } from './cluster.ts';
import { seed, seedBudgets } from './seed.ts';
import type { BurstResult, Load, LoadResult, MemoryResult } from './worker/job.ts';
import { callersPerProcess, processes, projectIdOf, type Workload, worstAmount } from './workloads.ts';

const firstWarmupMs = 3_000;
const laterWarmupMs = 500;
const smokeWarmupMs = 200;
const matchCalls = 100_000;
// What is leased and not used comes back after some seconds.
const returnMs = 20_000;
const returnPollMs = 100;

/** Hold and settlement, again and again, by four processes on one database; nothing else of a gate. */
export class Pairs {
  readonly #cluster: Cluster;
  readonly #workload: Workload;
  readonly #durability: string;
  readonly #set: string;
  #round = 0;
  #standing: Sample = {};

  constructor(cluster: Cluster, workload: Workload, durability: string) {
    this.#cluster = cluster;
    this.#workload = workload;
    this.#durability = durability;
    this.#set = `${workload.name}_${durability}`;
  }

  /** Makes what the calls need, and says what it costs the processes to know it. */
  async prepare(): Promise<void> {
    const { pool } = this.#cluster;
    await this.#reach(await seed(pool, this.#workload, this.#set, this.#durability));
    if (this.#workload.limitCalls !== undefined) return;
    const before = await this.#memory();
    const startedMs = performance.now();
    const version = await seedBudgets(pool, this.#workload, this.#set, 'budget');
    const seededMs = performance.now();
    await this.#reach(version);
    if (this.#workload.scattered !== true) return;
    const loadedMs = performance.now();
    const after = await this.#memory();
    const matches = await this.#cluster.tell<number>((worker) => ({
      do: 'match',
      load: this.#load(worker),
      calls: matchCalls,
    }));
    this.#standing = {
      budgets: this.#workload.projects * this.#workload.callersPerProject,
      heap_mib_per_process: after - before,
      load_ms: loadedMs - seededMs,
      seed_ms: seededMs - startedMs,
      match_us: quantile(matches, 0.5),
    };
  }

  async measure({ durationS, smoke }: Pick<BenchOptions, 'durationS' | 'smoke'>): Promise<Sample> {
    this.#round += 1;
    if (this.#workload.limitCalls !== undefined) return this.#reachLimit(this.#workload.limitCalls);
    const warmupMs = smoke ? smokeWarmupMs : this.#round === 1 ? firstWarmupMs : laterWarmupMs;
    const { tell, meter } = this.#cluster;
    await tell((worker) => ({ do: 'start', load: this.#load(worker) }));
    await sleep(warmupMs);
    const before = await meter();
    await tell(() => ({ do: 'mark' }));
    await sleep(durationS * 1_000);
    const after = await meter();
    const results = await tell<LoadResult>(() => ({ do: 'stop' }));
    const pairs = results.reduce((sum, result) => sum + result.pairs, 0);
    if (pairs === 0) throw new Error(`no pair was made: ${results[0]?.firstError}`);
    const hold = new Histogram(...results.map((result) => result.hold));
    const settle = new Histogram(...results.map((result) => result.settle));
    const seconds = (after.atMs - before.atMs) / 1_000;
    const processCpuUs = after.processCpuUs - before.processCpuUs;
    const databaseCpuUs = after.databaseCpuUs - before.databaseCpuUs;
    const transactions = after.transactions - before.transactions;
    return {
      pairs_per_s: pairs / seconds,
      hold_p50_ms: hold.quantile(0.5),
      hold_p99_ms: hold.quantile(0.99),
      settle_p50_ms: settle.quantile(0.5),
      settle_p99_ms: settle.quantile(0.99),
      cpu_us_per_pair: (processCpuUs + databaseCpuUs) / pairs,
      database_cpu_us_per_pair: databaseCpuUs / pairs,
      commits_per_s: transactions / seconds,
      pairs_per_commit: pairs / transactions,
      wal_bytes_per_pair: (after.walBytes - before.walBytes) / pairs,
      errors: results.reduce((sum, result) => sum + result.failed, 0),
      ...this.#standing,
    };
  }

  /** All at once on a budget that has room for half of the calls; and once more, when what is leased has come back. */
  async #reachLimit(limitCalls: number): Promise<Sample> {
    const { tell, pool } = this.#cluster;
    await this.#reach(await seedBudgets(pool, this.#workload, this.#set, `limit_${this.#round}`));
    const budgetId = `bud_${projectIdOf(this.#set, 0)}_limit_${this.#round}_0_0`;
    const callsPerCaller = Math.ceil((2 * limitCalls) / (processes * callersPerProcess));
    const burst = () =>
      tell<BurstResult>((worker) => ({ do: 'burst', load: this.#load(worker), callsPerCaller }));
    const startedMs = performance.now();
    const first = await burst();
    const seconds = (performance.now() - startedMs) / 1_000;
    const { held } = await this.#counter(budgetId);
    await this.#untilReturned(budgetId);
    const second = await burst();
    const admitted = admittedIn(first);
    const asked = callsPerCaller * callersPerProcess * processes;
    await this.#untilReturned(budgetId);
    const { posted } = await this.#counter(budgetId);
    return {
      limit_calls: limitCalls,
      asked_calls: asked,
      admitted_calls: admitted,
      false_refusals: falseRefusals(first, limitCalls),
      outstanding_calls: held,
      admitted_in_the_end: admitted + admittedIn(second),
      overspent_calls: Math.max(0, posted - limitCalls),
      answers_per_s: asked / seconds,
      errors: [...first, ...second].reduce((sum, { failed }) => sum + failed, 0),
    };
  }

  /** A counter, in calls. */
  async #counter(budgetId: string): Promise<{ held: number; posted: number }> {
    const { rows } = await this.#cluster.pool.query<{ held: bigint; posted: bigint }>(
      'SELECT held, posted FROM budget_counters WHERE budget_id = $1',
      [budgetId],
    );
    const { held = 0n, posted = 0n } = rows[0] ?? {};
    return { held: Number(held) / Number(worstAmount), posted: Number(posted) / Number(worstAmount) };
  }

  async #untilReturned(budgetId: string): Promise<void> {
    const deadlineMs = performance.now() + returnMs;
    while ((await this.#counter(budgetId)).held > 0) {
      if (performance.now() > deadlineMs) throw new Error(`something is held ${returnMs / 1000} s after the last call`);
      await sleep(returnPollMs);
    }
  }

  async #memory(): Promise<number> {
    const readings = await this.#cluster.tell<MemoryResult>(() => ({ do: 'memory' }));
    return quantile(
      readings.map(({ heapMib }) => heapMib),
      0.5,
    );
  }

  async #reach(version: bigint): Promise<void> {
    await this.#cluster.tell(() => ({ do: 'reach', version: String(version) }));
  }

  #load(worker: number): Load {
    return {
      workload: this.#workload,
      set: this.#set,
      firstCaller: worker * callersPerProcess,
      callers: callersPerProcess,
    };
  }
}

function admittedIn(results: readonly BurstResult[]): number {
  return results.reduce((sum, { admittedAskedUs }) => sum + admittedAskedUs.length, 0);
}

/**
 * Refusals that came when fewer calls had been asked for that were admitted than there was room for: whatever their order
 * was, there was room. All calls cost the same.
 */
function falseRefusals(results: readonly BurstResult[], limitCalls: number): number {
  const askedUs = results.flatMap(({ admittedAskedUs }) => admittedAskedUs).sort((a, b) => a - b);
  const fullUs = askedUs[limitCalls - 1] ?? Number.POSITIVE_INFINITY;
  return results.flatMap(({ refusedUs }) => refusedUs).filter((us) => us < fullUs).length;
}
