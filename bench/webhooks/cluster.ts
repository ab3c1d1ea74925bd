import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createPool } from '../../server/src/pg/pool.ts';
import type { WorkerJob } from '../../test/chaos/webhooks/worker/job.ts';
import { testBounds, type TestDatabase } from '../../test/support/database.ts';
import { makeProjects, sealingKey } from '../../test/support/webhook-endpoints.ts';
import { type Child, startChild } from '../harness/children.ts';
import type { Database } from '../money/database/main.ts';
import { processes } from './workloads.ts';

/** PostgreSQL, and where its processes log. */
export interface Cluster {
  readonly db: TestDatabase;
  /** Of PostgreSQL. */
  readonly pid: number;
  readonly directory: string;
  readonly stop: () => Promise<void>;
}

export async function startCluster(directory: string): Promise<Cluster> {
  const own = join(directory, 'webhooks');
  await mkdir(own);
  const path = fileURLToPath(new URL('../money/database/main.ts', import.meta.url));
  const logFile = join(directory, 'database.log');
  const postgres = startChild([process.execPath, path, own], { name: 'database', side: 'all', logFile, talks: true });
  const { url, ownerUrl, pid } = JSON.parse(await postgres.line()) as Database;
  const pool = createPool({ ...testBounds, max: 2, connectionString: url });
  const db = { appUrl: url, ownerUrl, pool, drop: () => pool.end() };
  await makeProjects(db);
  return {
    db,
    pid,
    directory,
    stop: async () => {
      await pool.end();
      await postgres.stop();
    },
  };
}

/** Processes that deliver, as gates do. */
export async function startWorkers({ db, directory }: Cluster, ports: readonly number[]): Promise<Child[]> {
  const path = fileURLToPath(new URL('../../test/chaos/webhooks/worker/main.ts', import.meta.url));
  const job: WorkerJob = {
    url: db.appUrl,
    sealingKey: Buffer.concat([sealingKey.id, sealingKey.key.export()]).toString('hex'),
    ports,
    timeoutMs: 15_000,
    claimMs: 45_000,
  };
  const workers = Array.from({ length: processes }, (_, number) =>
    startChild([process.execPath, path, JSON.stringify(job)], {
      name: `worker ${number}`,
      side: 'all',
      logFile: join(directory, `worker-${number}.log`),
      talks: true,
    }),
  );
  await Promise.all(workers.map((worker) => worker.line()));
  return workers;
}
