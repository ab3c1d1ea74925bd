import type { NanoUsd } from '../base/money.ts';

export const billSources = ['anthropic', 'openai', 'csv'] as const;
export type BillSource = (typeof billSources)[number];

/** What a provider billed for a model on a day. Null is: the bill does not say. */
export interface BilledFigure {
  /** Its name in the configuration. */
  readonly provider: string;
  /** `2026-11-22`, in UTC. */
  readonly day: string;
  /** The provider's own name of the model, or of what else it billed. */
  readonly model: string;
  readonly costUsd: NanoUsd | null;
  /** The whole prompt, cached tokens included. Null as `tokensOutput`. */
  readonly tokensInput: bigint | null;
  readonly tokensOutput: bigint | null;
}

/** A day of a provider. */
export interface ProviderDay {
  readonly provider: string;
  readonly day: string;
}

/** Figures of bills, with the days that are told in full: what they leave out was not billed. */
export interface Bill {
  readonly figures: readonly BilledFigure[];
  readonly wholeDays: readonly ProviderDay[];
}

/** What the ledger holds of one model and project on a provider's day, corrections included. */
export interface Booked extends ProviderDay {
  readonly model: string;
  readonly projectId: string;
  readonly attempts: bigint;
  readonly costUsd: NanoUsd;
  /** The part of the cost that nobody measured. */
  readonly estimatedUsd: NanoUsd;
  /** All of them: prompt, cached or not, and output. */
  readonly tokens: bigint;
}

/** From where on a difference counts: either bound is enough. */
export interface Tolerance {
  /** Hundredths of a percent of what was billed. */
  readonly basisPoints: number;
  readonly nanoUsd: NanoUsd;
}

/**
 * `reconciled`: bill and ledger agree within the tolerance. `drifted`: they do not. `tokens_agree`: no bill said what it
 * cost, but the tokens agree.
 */
export const matchStates = ['reconciled', 'drifted', 'tokens_agree'] as const;
export type MatchState = (typeof matchStates)[number];

/** One model of a provider's day: bill against ledger. */
export interface MatchedModel {
  readonly model: string;
  readonly billedModels: readonly string[];
  readonly bookedModels: readonly string[];
  readonly state: MatchState;
  readonly billedUsd: NanoUsd | null;
  readonly bookedUsd: NanoUsd;
  readonly estimatedUsd: NanoUsd;
  /** Billed beyond what was booked; never negative. */
  readonly unexplainedUsd: NanoUsd;
  readonly billedTokens: bigint | null;
  readonly bookedTokens: bigint;
  /** The names in the ledger by the project whose attempts they are of. */
  readonly bookedBy: Readonly<Record<string, readonly string[]>>;
}

/** A matched model with where and when. */
export interface ReconciledDay extends ProviderDay, MatchedModel {
  /** The project that unexplained spend is of. */
  readonly projectId: string;
}

export interface BillImport {
  readonly id: string;
  readonly source: BillSource;
  readonly digest: Buffer;
  readonly projectId: string | null;
  readonly providers: readonly string[];
  readonly firstDay: string;
  readonly lastDay: string;
  readonly figures: number;
  /** How many it made or changed; one that it leaves out of a whole day is now 0. */
  readonly changed: number;
  readonly importedBy: string;
  /** Epoch milliseconds. */
  readonly importedAt: number;
}
