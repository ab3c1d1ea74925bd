export const protocols = ['connect', 'grpc'] as const;
export type Protocol = (typeof protocols)[number];

/** Where and as whom. */
export interface Door {
  readonly protocol: Protocol;
  /** Of the listener that speaks it. */
  readonly url: string;
  readonly key: string;
}

/** What the client of the control API does: one job a line on its stdin, one answer a line on its stdout. */
export type Job = CallsJob | IngestJob;

/** Each of `concurrency` callers makes the next call when its last one is answered, until all requests are made, or the time is over. */
export interface CallsJob extends Door {
  readonly kind: 'calls';
  /** As in `RunService/ListRuns`. */
  readonly method: string;
  readonly requests: readonly object[];
  /** The first so many are not measured. */
  readonly warmup: number;
  readonly concurrency: number;
  readonly durationMs: number;
  /** Processes whose CPU time is read at both ends of the measured time, each with its descendants. */
  readonly pids: readonly number[];
}

export interface CallsResult {
  readonly calls: number;
  readonly errors: number;
  readonly firstError: string | null;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly cpuUs: readonly number[];
}

/** Batches of new events, as fast as they are taken by so many callers, or at a rate. */
export interface IngestJob extends Door {
  readonly kind: 'ingest';
  /** By turns. Each key belongs to the run's agent. */
  readonly runs: readonly { readonly runId: string; readonly key: string }[];
  readonly batchEvents: number;
  readonly concurrency: number;
  /** Null is without a pause. */
  readonly eventsPerS: number | null;
  readonly warmupMs: number;
  readonly durationMs: number;
  readonly pids: readonly number[];
}

export interface IngestResult {
  /** Told and taken in all, warm-up included: what must be in the database. */
  readonly told: number;
  /** Within the measured time. */
  readonly events: number;
  readonly errors: number;
  readonly firstError: string | null;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** One for each of the job's `pids`, then this process. */
  readonly cpuUs: readonly number[];
}
