import type { Pool } from 'pg';
import type { BenchOptions, Sample } from '../harness/result.ts';
import type { IngestJob, IngestResult, Protocol } from './client/job.ts';
import { doorOf, type Readers } from './measure-reads.ts';
import type { Notebook } from './notebook.ts';
import { eventsOf, newTellers } from './tellers.ts';

const batchSizes = [500, 1_000] as const;
/** Callers that each send their next batch when the last one is answered. */
const concurrency = 4;

export const ingestWorkloads = batchSizes.map((size) => `ingest-${size}`);

/** As many events as the gate takes, in batches, by several agents. */
export async function measureIngest(
  { gate, databasePid, client }: Readers,
  pool: Pool,
  chosen: readonly Protocol[],
  notebook: Notebook,
  { rounds, smoke, durationS, workloads }: BenchOptions,
): Promise<void> {
  for (let round = 1; round <= rounds; round += 1) {
    for (const protocol of chosen) {
      for (const batchEvents of batchSizes.filter((size) => workloads.includes(`ingest-${size}`))) {
        await notebook.take(protocol, `ingest-${batchEvents}`, async () => {
          const runs = await newTellers(gate, `${protocol} ${batchEvents}`);
          const job: IngestJob = {
            kind: 'ingest',
            ...doorOf(gate, protocol),
            runs,
            batchEvents,
            concurrency,
            eventsPerS: null,
            warmupMs: smoke ? 200 : 1_500,
            durationMs: smoke ? 500 : durationS * 1_000,
            pids: [gate.pid, databasePid],
          };
          client.send(JSON.stringify(job));
          const result = JSON.parse(await client.line()) as IngestResult;
          gate.alive();
          return { ...ingestSample(result), missing_rows: result.told - (await eventsOf(pool, runs)) };
        });
      }
    }
  }
}

/** Times are of a batch; CPU is of 1,000 events. @throws Error when batches were refused */
function ingestSample({ events, errors, firstError, seconds, cpuUs, ...times }: IngestResult): Sample {
  if (firstError !== null) throw new Error(`${errors} batches were not taken: ${firstError}`);
  const [gate = Number.NaN, database = Number.NaN, client = Number.NaN] = cpuUs.map((us) => us / events);
  return {
    events_per_s: events / seconds,
    p50_ms: times.p50Ms,
    p95_ms: times.p95Ms,
    p99_ms: times.p99Ms,
    gate_cpu_ms_per_1000: gate,
    database_cpu_ms_per_1000: database,
    client_cpu_ms_per_1000: client,
  };
}
