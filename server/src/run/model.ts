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
