import type { Dialect } from '../models/workloads.ts';

/** Something between a client and the mock provider, in a process of its own. A target is one file in this folder. */
export interface Target {
  readonly name: string;
  /** @throws Error when it cannot be had here: it is then reported as not measured */
  start(context: TargetContext): Promise<RunningTarget>;
}

export interface TargetContext {
  readonly mockUrl: string;
  readonly mockPid: number;
  /** An empty folder for it alone. */
  readonly directory: string;
  readonly logFile: string;
  readonly progress: (text: string) => void;
}

export interface RunningTarget {
  /** Scheme, host and port; requests go to `/v1/messages` and `/v1/chat/completions` below it. */
  readonly url: string;
  /** The process whose CPU time and memory are the target's, with all that it started. */
  readonly pid: number;
  /** Its database, when it started one: counted in `pid`, and reported beside it. */
  readonly databasePid: number | null;
  readonly headers: Readonly<Record<Dialect, Readonly<Record<string, string>>>>;
  /** @throws Error with the end of its log when its process has ended */
  alive(): void;
  stop(): Promise<void>;
}
