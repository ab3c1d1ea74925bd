import type { NanoUsd } from '../base/money.ts';

/** How a run can end; an outcome never changes. */
export const runOutcomes = ['succeeded', 'failed', 'cancelled'] as const;
export type RunOutcome = (typeof runOutcomes)[number];

export type RunState = 'running' | RunOutcome;

/** One piece of work by an agent on a workflow (task type). */
export interface Run {
  readonly id: string;
  readonly projectId: string;
  readonly agentId: string;
  readonly workflow: string;
  readonly state: RunState;
  readonly summary: string;
  /** Epoch milliseconds, as `finishedAt`. */
  readonly startedAt: number;
  readonly finishedAt: number | null;
}

/** What the ledger holds of a run. Calls in flight are added when they settle. */
export interface RunTotals {
  readonly attempts: bigint;
  /** Attempts that a rule, a budget or a kill switch refused or stopped. */
  readonly refusedAttempts: bigint;
  readonly costUsd: NanoUsd;
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly cacheReadTokens: bigint;
  readonly cacheWriteTokens: bigint;
}
