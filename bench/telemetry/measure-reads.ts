import type { Pool } from 'pg';
import type { Child } from '../harness/children.ts';
import type { BenchOptions, Sample } from '../harness/result.ts';
import type { CallsJob, CallsResult, Protocol } from './client/job.ts';
import type { Gate } from './gates.ts';
import type { Notebook } from './notebook.ts';
import { Random } from './random.ts';
import type { Facts, Read } from './reads.ts';
import { projectId } from './seed/cast.ts';
import type { Seeded } from './seed/seed.ts';

export const concurrencies = [1, 8] as const;

const requestsMax = 5_000;
const knownRuns = 2_000;
const probes = 3;

/** The gate that is read, its database, and the process that reads. */
export interface Readers {
  readonly gate: Gate;
  readonly databasePid: number;
  readonly client: Child;
}

/** Finds what there is to ask for: runs at random, and tokens of pages all the way down a project. */
export async function findFacts(pool: Pool, gate: Gate, seeded: Seeded, random: Random): Promise<Facts> {
  const { rows: newest } = await pool.query<{ version: bigint }>('SELECT max(control_version) AS version FROM runs');
  const last = Number(newest[0]?.version);
  const versions = Array.from({ length: knownRuns }, () => String(last - random.below(Math.min(seeded.runs, last))));
  const { rows: runs } = await pool.query<{ id: string; projectId: string }>(
    `SELECT id, project_id AS "projectId" FROM runs WHERE control_version = ANY ($1::bigint[]) AND state <> 'running'`,
    [versions],
  );
  const pages: Facts['pages'][number][] = [];
  const project = projectId(0);
  for (let pageToken = ''; ;) {
    const page = await gate.api<{ nextPageToken?: string }>('RunService/ListRuns', {
      projectId: project,
      pageSize: 500,
      pageToken,
    });
    pageToken = page.nextPageToken ?? '';
    if (pageToken === '') return { seeded, runs, pages };
    pages.push({ projectId: project, pageToken });
  }
}

/** All rounds of some kinds of reads, protocols and concurrencies in turn. */
export async function measureReads(
  { gate, databasePid, client }: Readers,
  kinds: readonly Read[],
  chosen: readonly Protocol[],
  notebook: Notebook,
  { rounds, smoke, durationS, seed }: BenchOptions,
): Promise<void> {
  const random = new Random(seed + 1);
  for (const read of kinds) await probe(gate, read, random);
  for (let round = 1; round <= rounds; round += 1) {
    for (const read of kinds) {
      for (const protocol of chosen) {
        for (const concurrency of concurrencies) {
          const job: CallsJob = {
            kind: 'calls',
            ...doorOf(gate, protocol),
            method: read.method,
            requests: Array.from({ length: requestsMax }, () => read.request(random)),
            warmup: smoke ? 5 : round === 1 ? 200 : 50,
            concurrency,
            durationMs: smoke ? 150 : durationS * 1_000,
            pids: [gate.pid, databasePid],
          };
          await notebook.take(protocol, workloadOf(read, concurrency), async () => {
            client.send(JSON.stringify(job));
            const sample = sampleOf(JSON.parse(await client.line()) as CallsResult);
            gate.alive();
            return sample;
          });
        }
      }
    }
  }
}

export function workloadOf({ name }: Pick<Read, 'name'>, concurrency: number): string {
  return `${name} x${concurrency}`;
}

export function doorOf(gate: Gate, protocol: Protocol) {
  return { protocol, url: protocol === 'connect' ? gate.url : gate.grpcUrl, key: gate.adminKey };
}

/** @throws Error when none of some answers has anything in it */
async function probe(gate: Gate, { name, method, answer, request }: Read, random: Random): Promise<void> {
  for (let tried = 0; tried < probes; tried += 1) {
    const told = (await gate.api<Record<string, unknown>>(method, request(random)))[answer];
    if (Array.isArray(told) ? told.length > 0 : told !== undefined) return;
  }
  throw new Error(`${name}: ${method} answers with no ${answer}`);
}

function sampleOf({ calls, errors, firstError, seconds, cpuUs, ...times }: CallsResult): Sample {
  if (calls === 0) throw new Error(`nothing was answered: ${firstError}`);
  if (firstError !== null) throw new Error(`${errors} of ${errors + calls} calls failed: ${firstError}`);
  const [gate = Number.NaN, database = Number.NaN] = cpuUs;
  return {
    calls_per_s: calls / seconds,
    p50_ms: times.p50Ms,
    p95_ms: times.p95Ms,
    p99_ms: times.p99Ms,
    gate_cpu_us: gate / calls,
    database_cpu_us: database / calls,
  };
}
