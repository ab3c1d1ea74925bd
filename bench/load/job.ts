/** What the load generator does: one job a line on its stdin, one result a line on its stdout. */
export type Job = ClosedLoopJob | StreamsJob;

interface Call {
  /** Scheme, host and port of the target. */
  readonly url: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** What is not measured at first: so many answers, within these times. */
export interface Warmup {
  readonly requests: number;
  readonly msMin: number;
  readonly msMax: number;
}

/** Each of `concurrency` connections sends its next request when its last one is answered. */
export interface ClosedLoopJob extends Call {
  readonly kind: 'closed_loop';
  readonly concurrency: number;
  readonly warmup: Warmup;
  readonly durationMs: number;
  /** Processes whose CPU time is read at both ends of the measured time, each with its descendants. */
  readonly pids: readonly number[];
}

export interface ClosedLoopResult {
  readonly requests: number;
  readonly errors: number;
  readonly firstError: string | null;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** One for each of the job's `pids`. */
  readonly cpuUs: readonly number[];
}

/** Opens `count` streams within `rampMs` and reads each to its end. The tokens carry the time at which they were sent. */
export interface StreamsJob extends Call {
  readonly kind: 'streams';
  readonly count: number;
  readonly rampMs: number;
  /** How many tokens the provider sends on a stream. */
  readonly tokens: number;
  readonly pids: readonly number[];
}

export interface StreamsResult {
  readonly completed: number;
  readonly failed: number;
  readonly firstError: string | null;
  readonly events: number;
  readonly ttftP50Ms: number;
  readonly ttftP99Ms: number;
  /** From the provider's write to the client's read. */
  readonly delayP50Ms: number;
  readonly delayP99Ms: number;
  readonly gapMaxMs: number;
  readonly gapsOver1s: number;
  readonly cpuUs: readonly number[];
}
