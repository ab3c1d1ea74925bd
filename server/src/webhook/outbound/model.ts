/** What became of one attempt. */
export type AttemptOutcome = 'delivered' | 'failed' | 'gone';

/** One attempt that was made. */
export interface Attempt {
  readonly outcome: AttemptOutcome;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly durationMs: number;
  /** Null where no answer came. */
  readonly status: number | null;
  /** Why no answer came, or why it was not taken: a stable word; null where it was. */
  readonly error: string | null;
  /** The beginning of the answer, as text. */
  readonly answer: string;
  /** How long the endpoint asks to be left alone; null where it does not. */
  readonly retryAfterMs: number | null;
}

/** A delivery that is claimed: one attempt is to be made. */
export interface Claimed {
  readonly id: string;
  readonly endpointId: string;
  readonly projectId: string;
  readonly url: string;
  readonly eventId: string;
  readonly body: string;
  /** Attempts that this schedule has seen. */
  readonly tries: number;
  /** Whether others of its key wait for it. */
  readonly inOrder: boolean;
  readonly claim: string;
}

/** What is to be written of an attempt, or of a claim that is given back without one. */
export interface Outcome {
  readonly claimed: Claimed;
  /** Null gives the claim back: nothing was tried. */
  readonly attempt: Attempt | null;
}

/** What an attempt makes of its delivery. */
export type Verdict =
  | { readonly state: 'delivered' }
  | { readonly state: 'pending'; readonly afterMs: number }
  | { readonly state: 'dead'; readonly reason: 'exhausted' | 'gone' };
