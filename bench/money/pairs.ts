import { setTimeout as sleep } from 'node:timers/promises';
import { Histogram } from '../harness/histogram.ts';
import type { BenchOptions, Sample } from '../harness/result.ts';
import { median } from '../harness/statistics.ts';
import type { Cluster, Reading } from './cluster.ts';
import { limitFigures } from './limit.ts';
import { seedBudgets, seedProjects } from './seed.ts';
import type { BurstResult, Load, LoadResult, MemoryResult } from './worker/job.ts';
import { budgetIdOf, processes, projectIdOf, type Workload, worstAmount } from './workloads.ts';

const firstWarmupMs = 3_000;
const laterWarmupMs = 500;
const smokeWarmupMs = 200;
const smokeMs = 400;
const matchCalls = 20_000;
// What was spent is written a moment later; what is leased and not used comes back after some seconds.
const waitMs = 20_000;
const pollMs = 20;

/** Hold and settlement, again and again, by four processes on one database, with nothing else of a gate. */
export class Pairs {
  readonly #cluster: Cluster;
  readonly #workload: Workload;
  readonly #durability: string;
  readonly #set: string;
  #round = 0;
  #settled = 0;
  #standing: Sample = {};

  constructor(cluster: Cluster, workload: Workload, durability: string) {
    this.#cluster = cluster;
    this.#workload = workload;
    this.#durability = durability;
    this.#set = `${workload.name}_${durability}`;
  }

  /** Makes what the calls need; and where budgets are many, finds what a process pays for knowing them. */
  async prepare(): Promise<void> {
    const { pool } = this.#cluster;
    const { limitCalls, scattered = false } = this.#workload;
    if (limitCalls !== undefined) return;
    await this.#reach(await seedProjects(pool, this.#workload, this.#set, this.#durability));
    const before = scattered ? await this.#heapMib() : 0;
    const version = await seedBudgets(pool, this.#workload, this.#set);
    const startedMs = performance.now();
    await this.#reach(version);
    if (!scattered) return;
    const reachMs = performance.now() - startedMs;
    const budgets_mib = (await this.#heapMib()) - before;
    const load = (worker: number) => ({ do: 'match' as const, load: this.#load(worker), calls: matchCalls });
    const match_us = median(await this.#cluster.tell<number>(load));
    this.#standing = { budgets_mib, budgets_load_ms: reachMs, match_us };
  }

  /** One round. @throws Error when nothing could be measured */
  async measure({ durationS, smoke }: Pick<BenchOptions, 'durationS' | 'smoke'>): Promise<Sample> {
    this.#round += 1;
    if (this.#workload.limitCalls !== undefined) return this.#reachLimit(this.#workload.limitCalls);
    const { tell, meter } = this.#cluster;
    await tell((worker) => ({ do: 'start', load: this.#load(worker) }));
    await sleep(smoke ? smokeWarmupMs : this.#round === 1 ? firstWarmupMs : laterWarmupMs);
    const before = await meter();
    await tell(() => ({ do: 'mark' }));
    await sleep(smoke ? smokeMs : durationS * 1_000);
    const results = await tell<LoadResult>(() => ({ do: 'stop' }));
    const stoppedMs = performance.now();
    await this.#untilWritten(results);
    const written_after_ms = performance.now() - stoppedMs;
    const figures = pairFigures(before, await meter(), results);
    return { ...figures, written_after_ms, missing_rows: await this.#missingRows(results), ...this.#standing };
  }

  /** Until each process's last rows are in the ledger. */
  async #untilWritten(results: readonly LoadResult[]): Promise<void> {
    const ids = results.flatMap(({ lastIds }) => Object.values(lastIds));
    await this.#poll(async () => {
      const { rows } = await this.#cluster.pool.query('SELECT FROM attempts WHERE id = ANY ($1) AND corrects IS NULL', [
        ids,
      ]);
      return rows.length >= ids.length ? null : `${ids.length - rows.length} rows are not in the ledger`;
    });
  }

  /** Settled calls that the ledger does not know. */
  async #missingRows(results: readonly LoadResult[]): Promise<number> {
    this.#settled += results.reduce((sum, { settled }) => sum + settled, 0);
    const { rows } = await this.#cluster.pool.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM attempts WHERE starts_with(project_id, $1)',
      [projectIdOf(this.#set, '')],
    );
    return this.#settled - (rows[0]?.count ?? 0);
  }

  /** All at once on a budget that has room for half of the calls; and again, when what was leased has come back. */
  async #reachLimit(limitCalls: number): Promise<Sample> {
    const set = `${this.#set}_${this.#round}`;
    await seedProjects(this.#cluster.pool, this.#workload, set, this.#durability);
    await this.#reach(await seedBudgets(this.#cluster.pool, this.#workload, set));
    const budgetId = budgetIdOf(projectIdOf(set, 0), 0, 0);
    const callsPerCaller = Math.ceil((2 * limitCalls) / (processes * this.#workload.callersPerProcess));
    const burst = () =>
      this.#cluster.tell<BurstResult>((worker) => ({
        do: 'burst',
        load: { ...this.#load(worker), set },
        callsPerCaller,
      }));
    const startedMs = performance.now();
    const first = await burst();
    const seconds = (performance.now() - startedMs) / 1_000;
    const admitted = first.reduce((sum, { admittedAskedUs }) => sum + admittedAskedUs.length, 0);
    const afterwards = await this.#counterOnce(budgetId, ({ posted }) => posted >= admitted);
    await this.#counterOnce(budgetId, ({ held }) => held === 0);
    const second = await burst();
    const end = await this.#counterOnce(budgetId, ({ held }) => held === 0);
    return limitFigures({
      limitCalls,
      first,
      second,
      seconds,
      outstanding: afterwards.held,
      postedInTheEnd: end.posted,
    });
  }

  /** The counter, in calls, as soon as it is so. */
  async #counterOnce(
    budgetId: string,
    isSo: (counter: { held: number; posted: number }) => boolean,
  ): Promise<{ readonly held: number; readonly posted: number }> {
    let counter = { held: 0, posted: 0 };
    await this.#poll(async () => {
      const { rows } = await this.#cluster.pool.query<{ held: bigint; posted: bigint }>(
        'SELECT held, posted FROM budget_counters WHERE budget_id = $1',
        [budgetId],
      );
      const { held = 0n, posted = 0n } = rows[0] ?? {};
      counter = { held: Number(held) / Number(worstAmount), posted: Number(posted) / Number(worstAmount) };
      return isSo(counter) ? null : `${counter.posted} calls are posted and ${counter.held} held`;
    });
    return counter;
  }

  /** Until there is nothing to complain of. */
  async #poll(complaint: () => Promise<string | null>): Promise<void> {
    const deadlineMs = performance.now() + waitMs;
    for (let found = await complaint(); found !== null; found = await complaint()) {
      if (performance.now() > deadlineMs) throw new Error(`${found} ${waitMs / 1000} s after the last call`);
      await sleep(pollMs);
    }
  }

  async #heapMib(): Promise<number> {
    const readings = await this.#cluster.tell<MemoryResult>(() => ({ do: 'memory' }));
    return median(readings.map(({ heapMib }) => heapMib));
  }

  async #reach(version: bigint): Promise<void> {
    await this.#cluster.tell(() => ({ do: 'reach', version: String(version) }));
  }

  #load(worker: number): Load {
    const { callersPerProcess } = this.#workload;
    return {
      workload: this.#workload,
      set: this.#set,
      round: this.#round,
      firstCaller: worker * callersPerProcess,
    };
  }
}

function pairFigures(before: Reading, after: Reading, results: readonly LoadResult[]): Sample {
  const pairs = results.reduce((sum, result) => sum + result.pairs, 0);
  if (pairs === 0) throw new Error(`no pair was made: ${results[0]?.firstError}`);
  const hold = new Histogram(...results.map((result) => result.hold));
  const settle = new Histogram(...results.map((result) => result.settle));
  const seconds = (after.atMs - before.atMs) / 1_000;
  const databaseCpuUs = after.databaseCpuUs - before.databaseCpuUs;
  const commits = after.transactions - before.transactions;
  return {
    pairs_per_s: pairs / seconds,
    hold_p50_ms: hold.quantile(0.5),
    hold_p99_ms: hold.quantile(0.99),
    settle_p50_ms: settle.quantile(0.5),
    settle_p99_ms: settle.quantile(0.99),
    cpu_us_per_pair: (after.processCpuUs - before.processCpuUs + databaseCpuUs) / pairs,
    database_cpu_us_per_pair: databaseCpuUs / pairs,
    commits_per_s: commits / seconds,
    pairs_per_commit: pairs / commits,
    wal_bytes_per_pair: (after.walBytes - before.walBytes) / pairs,
    errors: results.reduce((sum, result) => sum + result.failed, 0),
  };
}
