import type { Workload } from '../workloads.ts';

/** What a worker is told: one a line on its stdin, and one answer a line on its stdout. */
export type Command =
  /** Reads control state until it has this version. Answered with null. */
  | { readonly do: 'reach'; readonly version: string }
  /** Makes pairs of hold and settlement from now on. Answered with null. */
  | { readonly do: 'start'; readonly load: Load }
  /** What counts begins now. Answered with null. */
  | { readonly do: 'mark' }
  /** Answered with a `LoadResult`, once no call is under way any more. */
  | { readonly do: 'stop' }
  /** So many calls from each caller at once. Answered with a `BurstResult`. */
  | { readonly do: 'burst'; readonly load: Load; readonly callsPerCaller: number }
  /** Answered with a `MemoryResult`. */
  | { readonly do: 'memory' }
  /** Finds the budgets of so many calls. Answered with the microseconds of CPU that one takes. */
  | { readonly do: 'match'; readonly load: Load; readonly calls: number };

/** The calls of one worker in one round. */
export interface Load {
  readonly workload: Workload;
  /** Names the projects. */
  readonly set: string;
  readonly round: number;
  /** The number of this worker's first caller. */
  readonly firstCaller: number;
}

export interface LoadResult {
  /** Since the mark. */
  readonly pairs: number;
  /** Since the start. */
  readonly settled: number;
  /** The attempts that were settled last, by where they were held: each kind's rows are written in their order. */
  readonly lastIds: Readonly<Partial<Record<'leased' | 'committed', string>>>;
  readonly failed: number;
  readonly firstError: string | null;
  /** Milliseconds, as `Histogram` counts them. */
  readonly hold: readonly number[];
  readonly settle: readonly number[];
}

/** Times are microseconds of the machine's monotonic clock. */
export interface BurstResult {
  /** When each call that was admitted had been asked for. */
  readonly admittedAskedUs: readonly number[];
  /** When each refusal was there. */
  readonly refusedUs: readonly number[];
  readonly failed: number;
  readonly firstError: string | null;
}

export interface MemoryResult {
  readonly heapMib: number;
  readonly rssMib: number;
}
