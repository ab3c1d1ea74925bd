import { setTimeout as sleep } from 'node:timers/promises';
import type { Child } from '../../harness/children.ts';
import type { Sample } from '../../harness/result.ts';
import type { ClosedLoopJob, ClosedLoopResult } from '../../load/job.ts';
import type { IngestJob, IngestResult } from '../client/job.ts';
import { type Meter, type Reading, usedBetween } from './meter.ts';

/** What runs in a round. */
export type State = 'models' | 'both' | 'events';
export const states: readonly State[] = ['models', 'both', 'events'];

/** The processes that load the gates, with what each sends; their warm-ups and durations are the round's. */
export interface Loads {
  readonly load: Child;
  readonly client: Child;
  readonly models: Omit<ClosedLoopJob, 'warmup' | 'durationMs' | 'pids'>;
  readonly events: Omit<IngestJob, 'warmupMs' | 'durationMs' | 'pids'>;
  readonly meter: Meter;
}

export interface Times {
  readonly warmupMs: number;
  readonly durationMs: number;
}

export interface Round {
  readonly models: ClosedLoopResult | null;
  readonly events: IngestResult | null;
  /** Used within the measured time. */
  readonly used: Reading;
}

/** Both loads begin and end in the same moment, and the CPU is read between. */
export async function playRound(state: State, loads: Loads, { warmupMs, durationMs }: Times): Promise<Round> {
  const { load, client, meter } = loads;
  if (state !== 'events') {
    const warmup = { requests: 0, msMin: warmupMs, msMax: warmupMs };
    load.send(JSON.stringify({ ...loads.models, warmup, durationMs, pids: [] } satisfies ClosedLoopJob));
  }
  if (state !== 'models') {
    client.send(JSON.stringify({ ...loads.events, warmupMs, durationMs, pids: [] } satisfies IngestJob));
  }
  await sleep(warmupMs);
  const before = meter.read();
  await sleep(durationMs);
  const after = meter.read();
  const models = state === 'events' ? null : (JSON.parse(await load.line()) as ClosedLoopResult);
  const events = state === 'models' ? null : (JSON.parse(await client.line()) as IngestResult);
  return { models, events, used: usedBetween(before, after) };
}

/** @throws Error when calls or batches failed */
export function roundSample({ models, events, used }: Round): Sample {
  const failed = models?.firstError ?? events?.firstError ?? null;
  if (failed !== null) throw new Error(`calls failed: ${failed}`);
  // What the gate of the models and the database used, but for what they did for the replica.
  const targetUs = used.modelsGate + used.database - used.replicaConnections;
  return {
    ...(models !== null && {
      rps: models.requests / models.seconds,
      p50_ms: models.p50Ms,
      p99_ms: models.p99Ms,
      requests: models.requests,
    }),
    ...(events !== null && { events_per_s: events.events / events.seconds, batch_p95_ms: events.p95Ms }),
    target_cpu_ms: targetUs / 1_000,
    gate_cpu_ms: used.modelsGate / 1_000,
    database_cpu_ms: used.database / 1_000,
    replica_cpu_ms: used.replica / 1_000,
    replica_database_cpu_ms: used.replicaConnections / 1_000,
    load_cores_busy_percent: (100 * used.loadBusy) / used.loadTotal,
  };
}
