import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Pool } from 'pg';
import { createPool } from '../../server/src/pg/pool.ts';
import { type Child, startChild } from '../harness/children.ts';
import { cpuUs } from '../harness/process-tree.ts';
import type { Database } from './database/main.ts';
import type { Command } from './worker/job.ts';
import { processes } from './workloads.ts';

/** PostgreSQL and the processes that share it. */
export interface Cluster {
  readonly pool: Pool;
  /** Tells every worker, and waits for all answers. */
  readonly tell: <T>(command: (worker: number) => Command) => Promise<T[]>;
  /** What was used so far. */
  readonly meter: () => Promise<Reading>;
  readonly stop: () => Promise<void>;
}

export interface Reading {
  readonly atMs: number;
  readonly processCpuUs: number;
  readonly databaseCpuUs: number;
  /** Transactions that wrote. */
  readonly transactions: number;
  readonly walBytes: number;
}

export async function startCluster(directory: string): Promise<Cluster> {
  const own = join(directory, 'money');
  await mkdir(own);
  const postgres = script('database', [own], join(directory, 'database.log'));
  const { url, pid } = JSON.parse(await postgres.line()) as Database;
  const workers = Array.from({ length: processes }, (_, number) =>
    script('worker', [url], join(directory, `worker-${number}.log`), ['--expose-gc']),
  );
  await Promise.all(workers.map((worker) => worker.line()));
  const pool = createPool({
    connectionString: url,
    statementMs: 120_000,
    lockMs: 5_000,
    connectMs: 5_000,
    applicationName: 'bench',
    max: 1,
    idleMs: 0,
    lifetimeMs: 0,
    onError: () => {},
  });
  return {
    pool,
    tell: async (command) => {
      for (const [number, worker] of workers.entries()) worker.send(JSON.stringify(command(number)));
      // All are read before one that failed is told: the others' answers must not be taken for those of the next command.
      const lines = await Promise.allSettled(workers.map((worker) => worker.line()));
      return lines.map((line) => {
        if (line.status === 'rejected') throw line.reason;
        return JSON.parse(line.value);
      });
    },
    meter: async () => ({
      ...(await written(pool)),
      atMs: performance.now(),
      processCpuUs: workers.reduce((sum, worker) => sum + cpuUs(worker.pid), 0),
      databaseCpuUs: cpuUs(pid),
    }),
    stop: async () => {
      await pool.end();
      await Promise.all(workers.map((worker) => worker.stop()));
      await postgres.stop();
    },
  };
}

function script(name: string, args: readonly string[], logFile: string, nodeOptions: readonly string[] = []): Child {
  const path = fileURLToPath(new URL(`${name}/main.ts`, import.meta.url));
  return startChild([process.execPath, ...nodeOptions, path, ...args], { name, side: 'all', logFile, talks: true });
}

/** By what the next transaction and the next record would be numbered: exact at once, which statistics are not. */
async function written(pool: Pool): Promise<Pick<Reading, 'transactions' | 'walBytes'>> {
  const { rows } = await pool.query<{ transactions: string; bytes: string }>(
    `SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS transactions,
            (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::text AS bytes`,
  );
  return { transactions: Number(rows[0]?.transactions), walBytes: Number(rows[0]?.bytes) };
}
