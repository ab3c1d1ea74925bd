import type { UsageTotal } from '../budget/usage-store.ts';
import type { NanoUsd } from '../base/money.ts';

/** How a run can end; an outcome never changes. */
export const runOutcomes = ['succeeded', 'failed', 'cancelled'] as const;
export type RunOutcome = (typeof runOutcomes)[number];

export const runStates = ['running', ...runOutcomes] as const;
export type RunState = (typeof runStates)[number];

/** One piece of work by an agent on a workflow (task type). */
export interface Run {
  readonly id: string;
  readonly projectId: string;
  readonly agentId: string;
  readonly workflow: string;
  readonly taskId: string | null;
  /** The digest of a registered version of the workflow's prompt. */
  readonly promptVersion: string | null;
  /** How many further upstream attempts each call may make; null is as many as the gate allows. */
  readonly maxRetries: number | null;
  readonly state: RunState;
  readonly summary: string;
  /** Why it did not succeed, in lines. */
  readonly error: string;
  /** Epoch milliseconds, as `finishedAt`. */
  readonly startedAt: number;
  readonly finishedAt: number | null;
}

/** What of a run is fixed when it starts. */
export type NewRun = Pick<
  Run,
  'id' | 'projectId' | 'agentId' | 'workflow' | 'taskId' | 'promptVersion' | 'maxRetries' | 'startedAt'
>;

/** What a run used. Calls in flight are added when they settle. */
export type RunTotals = Omit<UsageTotal, 'key'>;

/** A run in a list, with what is counted of it so far. */
export interface ListedRun {
  /** The run's. */
  readonly id: string;
  readonly run: Run;
  readonly totals: RunTotals;
  readonly events: bigint;
  /** The model that was asked for; empty is none, `*` several. */
  readonly model: string;
}

export const eventLevels = ['info', 'warn', 'error'] as const;
export type EventLevel = (typeof eventLevels)[number];

/** An event as its teller has it; nothing of it is checked yet. */
export interface ToldEvent {
  readonly type: string;
  readonly level: EventLevel;
  readonly message: string;
  /** JSON text; null is none. */
  readonly data: string | null;
  /** Epoch milliseconds; null is now. */
  readonly occurredAt: number | null;
  /** The teller's own id of it; null is none. */
  readonly clientId: string | null;
}

/** An event as it is kept. */
export interface RunEvent extends Pick<ToldEvent, 'type' | 'level' | 'message' | 'data'> {
  readonly id: string;
  readonly runId: string;
  readonly agentId: string;
  /** Epoch milliseconds, as `recordedAt`. */
  readonly occurredAt: number;
  readonly recordedAt: number;
}

/** What an agent can say of a call itself: what the gate decides is not among it. */
export const toldOutcomes = ['success', 'failed', 'timeout', 'client_closed'] as const;
export type ToldOutcome = (typeof toldOutcomes)[number];

/** What an agent tells of an attempt that could not pass the gate. */
export interface ToldAttempt {
  /** The agent's own id of it: told twice, it is one. */
  readonly clientId: string;
  readonly runId: string | null;
  /** The agent's own name of the call that it is an attempt of, within the run. */
  readonly callId: string;
  /** From 1. */
  readonly attemptNumber: number;
  readonly provider: string;
  readonly model: string;
  readonly tokensInput: bigint;
  readonly tokensOutput: bigint;
  readonly tokensCacheRead: bigint;
  readonly tokensCacheWrite: bigint;
  readonly costUsd: NanoUsd;
  readonly outcome: ToldOutcome;
  /** Epoch milliseconds. */
  readonly startedAt: number;
}

/** What was told, as it is kept. Nothing here was seen by the gate, and nothing that counts counts it. */
export interface PromptAttempt extends ToldAttempt {
  readonly id: string;
  readonly projectId: string;
  readonly agentId: string;
  readonly personId: string | null;
  readonly keyId: string | null;
  /** The run's. */
  readonly promptVersion: string | null;
  /** Epoch milliseconds. */
  readonly recordedAt: number;
}
