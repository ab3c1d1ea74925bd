import type { AttemptOutcome } from './model.ts';

export const deliveryStates = ['pending', 'delivered', 'dead'] as const;
export type DeliveryState = (typeof deliveryStates)[number];
export type DeadReason = 'exhausted' | 'gone' | 'endpoint_disabled';

/** One event on its way to one endpoint, as people see it. Times are epoch milliseconds. */
export interface Delivery {
  readonly id: string;
  readonly endpointId: string;
  /** The webhook-id of all its attempts. */
  readonly eventId: string;
  readonly eventType: string;
  readonly state: DeliveryState;
  /** All that were made, those before a redelivery included. */
  readonly attempts: number;
  /** When it is due; null unless it is pending, and while it waits for an earlier one of its key. */
  readonly nextAt: number | null;
  readonly deadReason: DeadReason | null;
  readonly createdAt: number;
  readonly endedAt: number | null;
}

/** One attempt, as it was written down. */
export interface LoggedAttempt {
  /** Its number as text: what pages are read by. */
  readonly id: string;
  readonly number: number;
  readonly startedAt: number;
  readonly durationMs: number;
  readonly outcome: AttemptOutcome;
  /** Null where no answer came. */
  readonly status: number | null;
  readonly error: string | null;
  readonly answer: string;
}
