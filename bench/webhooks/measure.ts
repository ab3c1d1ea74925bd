import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { emitEvent } from '../../server/src/outbox/emit.ts';
import { inTransaction } from '../../server/src/pg/tx.ts';
import { queryAsOwner } from '../../test/support/database.ts';
import { DeliveryTarget } from '../../test/support/delivery-target.ts';
import { addEndpoint, projectId } from '../../test/support/webhook-endpoints.ts';
import { cpuUs } from '../harness/process-tree.ts';
import { median } from '../harness/statistics.ts';
import type { Sample } from '../harness/result.ts';
import { type Cluster, startWorkers } from './cluster.ts';
import { deliveriesPerSecond, eventsPerTransaction, keys, type Workload } from './workloads.ts';

const waitMs = 120_000;

/** Emits the events of a workload, and waits until every endpoint that answers took each of them. */
export async function measure(
  cluster: Cluster,
  workload: Workload,
  durationS: number,
  smoke: boolean,
): Promise<Sample> {
  const { db } = cluster;
  await clear(cluster);
  const target = await DeliveryTarget.start();
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const silentPort = (silent.address() as AddressInfo).port;
  for (let at = 0; at < workload.endpoints; at++)
    await addEndpoint(db, { url: target.url(`/${at}`), ordered: workload.ordered });
  for (let at = 0; at < workload.dead; at++) await addEndpoint(db, { url: `http://127.0.0.1:${silentPort}/${at}` });
  const arrivals = new Map<string, number>();
  let repeated = 0;
  target.answer = ({ id, path }) => {
    const key = `${path} ${id}`;
    if (arrivals.has(key)) repeated++;
    else arrivals.set(key, performance.now());
    return {};
  };
  const workers = await startWorkers(cluster, [target.place.port, silentPort]);
  const count = Math.ceil(smoke ? 20 : eventsOf(workload, durationS));
  const cpuBefore = { workers: workers.map(({ pid }) => cpuUs(pid)), database: cpuUs(cluster.pid) };
  const startedMs = performance.now();
  const emitted = await emitAll(cluster, workload, count);
  const wanted = count * workload.endpoints;
  const untilMs = performance.now() + waitMs;
  while (arrivals.size < wanted && performance.now() < untilMs) await sleep(5);
  const elapsedS = (Math.max(...arrivals.values()) - startedMs) / 1000;
  const workersCpuUs = workers.reduce((sum, { pid }, at) => sum + cpuUs(pid) - (cpuBefore.workers[at] ?? 0), 0);
  const databaseCpuUs = cpuUs(cluster.pid) - cpuBefore.database;
  await Promise.all(workers.map((worker) => worker.stop()));
  await target.stop();
  silent.close();
  const latencies = await latenciesOf(cluster, arrivals, emitted);
  return {
    deliveries_per_s: arrivals.size / elapsedS,
    cpu_us_per_delivery: workersCpuUs / arrivals.size,
    database_cpu_us_per_delivery: databaseCpuUs / arrivals.size,
    p50_ms: median(latencies),
    p99_ms: latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN,
    missing_rows: wanted - arrivals.size,
    repeated,
  };
}

function eventsOf({ endpoints, eventsPerS }: Workload, durationS: number): number {
  return durationS * (eventsPerS ?? deliveriesPerSecond / endpoints);
}

/** @returns when each transaction was committed, by the approval that its events tell of */
async function emitAll({ db }: Cluster, { eventsPerS }: Workload, count: number): Promise<Map<string, number>> {
  const committed = new Map<string, number>();
  const size = eventsPerS === null ? eventsPerTransaction : 1;
  for (let at = 0; at < count; at += size) {
    const numbers = Array.from({ length: Math.min(size, count - at) }, (_, n) => at + n);
    await inTransaction(db.pool, async (tx) => {
      for (const number of numbers) {
        const data = { approval_id: String(number), kind: 'run_gate', run_id: null };
        await emitEvent(tx, { type: 'approval.expired', projectId, key: String(number % keys), data });
      }
    });
    for (const number of numbers) committed.set(String(number), performance.now());
    if (eventsPerS !== null) await sleep(1000 / eventsPerS);
  }
  return committed;
}

/** Milliseconds from the commit of each event to its first arrival at each endpoint, the shortest first. */
async function latenciesOf(
  { db }: Cluster,
  arrivals: ReadonlyMap<string, number>,
  committed: ReadonlyMap<string, number>,
): Promise<number[]> {
  const events = await queryAsOwner<{ id: string; data: string }>(db, 'SELECT id, data FROM outbox_events');
  const about = new Map(events.map(({ id, data }) => [id, (JSON.parse(data) as { approval_id: string }).approval_id]));
  return [...arrivals]
    .map(([key, at]) => at - (committed.get(about.get(key.slice(key.indexOf(' ') + 1)) ?? '') ?? Number.NaN))
    .sort((a, b) => a - b);
}

async function clear({ db }: Cluster): Promise<void> {
  for (const table of ['outbox_events', 'webhook_secrets', 'webhook_endpoints'])
    await queryAsOwner(db, `DELETE FROM ${table}`);
  await queryAsOwner(db, 'VACUUM ANALYZE');
}
