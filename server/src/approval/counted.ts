import type { ApprovalKind, OutcomeState } from './model.ts';

/** Outcomes that this process committed since it started, by kind; for the metrics. */
export const outcomesCounted = new Map<ApprovalKind, Map<OutcomeState, number>>();

/** Counts a request that got its outcome; called when that is committed. */
export function countOutcome(kind: ApprovalKind, outcome: OutcomeState): void {
  const ofKind = outcomesCounted.get(kind) ?? new Map<OutcomeState, number>();
  outcomesCounted.set(kind, ofKind.set(outcome, (ofKind.get(outcome) ?? 0) + 1));
}
