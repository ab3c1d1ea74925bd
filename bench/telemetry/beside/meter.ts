import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { coresOf } from '../../harness/children.ts';
import { cpuUs } from '../../harness/process-tree.ts';

/** By this name the database knows the connections of the replica that takes events. */
export const replicaName = 'bench-replica';

/** Microseconds of CPU that were used so far. */
export interface Reading {
  readonly modelsGate: number;
  readonly replica: number;
  readonly database: number;
  /** Of `database`, what works for the replica. */
  readonly replicaConnections: number;
  /** Of the cores of the load, and how long they have been there. */
  readonly loadBusy: number;
  readonly loadTotal: number;
}

/** What was used from one reading to a later one. */
export function usedBetween(before: Reading, after: Reading): Reading {
  return {
    modelsGate: after.modelsGate - before.modelsGate,
    replica: after.replica - before.replica,
    database: after.database - before.database,
    replicaConnections: after.replicaConnections - before.replicaConnections,
    loadBusy: after.loadBusy - before.loadBusy,
    loadTotal: after.loadTotal - before.loadTotal,
  };
}

const lookEveryMs = 200;

/**
 * Reads CPU times, and keeps those processes of PostgreSQL that work for the replica on the load's cores: as if the database
 * had cores enough, so that what the replica's statements use is not what the gate of the models waits for.
 */
export class Meter {
  readonly #pool: Pool;
  readonly #pids: { readonly modelsGate: number; readonly replica: number; readonly database: number };
  readonly #connections = new Map<number, number>();
  #over = false;
  readonly #looking: Promise<Error | null>;

  constructor(pool: Pool, pids: { readonly modelsGate: number; readonly replica: number; readonly database: number }) {
    this.#pool = pool;
    this.#pids = pids;
    this.#looking = this.#look().then(
      () => null,
      (error: Error) => error,
    );
  }

  read(): Reading {
    for (const pid of this.#connections.keys()) this.#measure(pid);
    const { modelsGate, replica, database } = this.#pids;
    return {
      modelsGate: cpuUs(modelsGate),
      replica: cpuUs(replica),
      database: cpuUs(database),
      replicaConnections: [...this.#connections.values()].reduce((sum, us) => sum + us, 0),
      ...loadCores(),
    };
  }

  /** @throws Error when the database did not say which processes work for the replica */
  async stop(): Promise<void> {
    this.#over = true;
    const failed = await this.#looking;
    if (failed !== null) throw failed;
  }

  /** One that has ended keeps what it used. */
  #measure(pid: number): void {
    this.#connections.set(pid, Math.max(cpuUs(pid), this.#connections.get(pid) ?? 0));
  }

  async #look(): Promise<void> {
    const cores = coresOf('load');
    while (!this.#over) {
      const { rows } = await this.#pool.query<{ pid: number }>(
        'SELECT pid FROM pg_stat_activity WHERE application_name = $1',
        [replicaName],
      );
      for (const { pid } of rows.filter((row) => !this.#connections.has(row.pid))) {
        if (cores !== null) spawnSync('taskset', ['-cp', cores, String(pid)], { stdio: 'ignore' });
        this.#measure(pid);
      }
      await sleep(lookEveryMs);
    }
  }
}

/** From /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal, in ticks; here in shares alone. */
function loadCores(): Pick<Reading, 'loadBusy' | 'loadTotal'> {
  const cores = coresOf('load');
  const last = cores === null ? Number.POSITIVE_INFINITY : Number(cores.split('-').at(-1));
  const lines = readFileSync('/proc/stat', 'latin1').matchAll(/^cpu(\d+) (.+)$/gmu);
  const ticks = [...lines]
    .filter(([, core]) => Number(core) <= last)
    .map(([, , line = '']) => line.split(' ').map(Number));
  const sum = (of: (each: readonly number[]) => number) => ticks.reduce((total, each) => total + of(each), 0);
  const total = sum((each) => each.slice(0, 8).reduce((all, one) => all + one, 0));
  return { loadTotal: total, loadBusy: total - sum((each) => (each[3] ?? 0) + (each[4] ?? 0)) };
}
