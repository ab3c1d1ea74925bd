import type { NanoUsd } from '../base/money.ts';
import type { Usage } from '../llm/usage.ts';

/** `concurrent_requests` is what is in flight: held, never posted. `latency_ms` is how long one attempt may take: no counter. */
export const budgetUnits = ['usd', 'tokens', 'requests', 'concurrent_requests', 'latency_ms'] as const;
export type BudgetUnit = (typeof budgetUnits)[number];

export const budgetWindows = ['attempt', 'run', 'hour', 'day', 'month', 'lifetime'] as const;
export type BudgetWindow = (typeof budgetWindows)[number];

export const budgetModes = ['enforce', 'dry_run'] as const;
export type BudgetMode = (typeof budgetModes)[number];

export const providerTypes = ['api', 'subscription', 'opensource'] as const;
export type ProviderType = (typeof providerTypes)[number];

/** Which calls a budget counts: every member that is set must be equal; none set is the whole project. */
export interface BudgetSelector {
  /** The team to which the person belongs who calls, or who answers for the agent that does. */
  readonly teamId: string | null;
  readonly personId: string | null;
  readonly agentId: string | null;
  readonly keyId: string | null;
  readonly workflow: string | null;
  readonly runId: string | null;
  readonly providerType: ProviderType | null;
  readonly provider: string | null;
  /** Public model name, wildcards allowed. */
  readonly model: string | null;
}

export interface Budget {
  readonly id: string;
  readonly projectId: string;
  readonly name: string;
  readonly selector: BudgetSelector;
  readonly unit: BudgetUnit;
  readonly window: BudgetWindow;
  /** IANA name; calendar windows begin at its midnights. */
  readonly timeZone: string;
  /** Nano-USD, tokens, requests or milliseconds, as the unit says. Null is no limit (it only counts); 0 denies. */
  readonly limit: bigint | null;
  readonly mode: BudgetMode;
}

/** How far an amount can be trusted. */
export type Provenance = 'reserved' | 'estimated' | 'measured' | 'reconciled';

/** What one upstream attempt can cost at most. */
export interface WorstCase {
  /** Fees included. */
  readonly usd: NanoUsd;
  /** The part of `usd` that no usage reports (containers, images that cost by the piece): it is settled in full. */
  readonly feesUsd: NanoUsd;
  /** All tokens of `usage`. */
  readonly tokens: bigint;
  /** Tokens by class in the dearest way that they can fall; the ledger row of a crash has them. */
  readonly usage: Usage;
  /** False where no budget needed a bound: then this is what is known, and more is no overrun. */
  readonly bounded: boolean;
}

/** What the budgets need to know of a call; the selector's members are looked up here. */
export interface Spender {
  readonly projectId: string;
  readonly teams: readonly string[];
  readonly personId: string | null;
  readonly agentId: string | null;
  readonly keyId: string | null;
  readonly workflow: string | null;
  readonly runId: string | null;
  readonly providerType: ProviderType;
  readonly provider: string;
  readonly model: string;
}

export type AttemptOutcome = 'success' | 'failed' | 'timeout' | 'refused' | 'killed' | 'budget' | 'client_closed';

/** One row of the ledger, before it is written: one per upstream attempt, refused ones included. */
export interface Attempt {
  /** Also the request id that goes upstream. */
  readonly id: string;
  readonly requestId: string;
  /** The how manieth upstream attempt of its call it is, from 1; one that was refused counts as the next. */
  readonly attemptNo: number;
  readonly projectId: string;
  readonly agentId: string | null;
  readonly personId: string | null;
  readonly keyId: string | null;
  readonly runId: string | null;
  readonly workflow: string | null;
  /** The client's own session id (`x-claude-code-session-id`), as a label. */
  readonly clientSession: string | null;
  readonly route: string | null;
  readonly provider: string | null;
  readonly modelAsked: string | null;
  readonly modelServed: string | null;
  readonly dialectIn: string;
  readonly dialectOut: string | null;
  readonly streamed: boolean;
  readonly priceVersion: string | null;
  readonly usage: Usage;
  readonly costUsd: NanoUsd;
  /** What it would have cost where the caller's own account paid: told, and never counted as money. */
  readonly notionalUsd: NanoUsd;
  readonly provenance: Provenance;
  readonly outcome: AttemptOutcome;
  /** A code of base/errors.ts, or the upstream's status as `http_503`. */
  readonly errorClass: string | null;
  /** Names the rule, budget or kill switch that refused. */
  readonly rule: string | null;
  /** Epoch milliseconds by the wall clock, for people; durations are measured monotonically. */
  readonly startedAt: number;
  readonly queueMs: number;
  readonly connectMs: number | null;
  readonly firstTokenMs: number | null;
  readonly totalMs: number;
  /** True where the true cost passed the hold. */
  readonly overrun: boolean;
  /** What the policy would have made of the call; absent where nothing else than it did. */
  readonly policyShadows?: readonly PolicyShadow[];
  /** Set on correction rows: the attempt whose amounts this row changes. */
  readonly corrects: string | null;
}

/** What a call would have met, and did not. */
export type ShadowVerdict = BudgetShadow | PolicyShadow;

/** What a dry-run budget would have refused. Amounts are decimal text in the budget's unit. */
export interface BudgetShadow {
  readonly budgetId: string;
  readonly limit: string;
  readonly observed: string;
  readonly requested: string;
}

/** What a shadow rule of the policy in force, or the version in shadow, would have made of the call. */
export interface PolicyShadow {
  readonly policyVersion: number;
  /** Absent where no rule matched. */
  readonly rule?: string;
  readonly verdict: string;
}

/** A call that asks for its money. */
export interface HoldRequest {
  /** As far as it is known; its id is the hold's. */
  readonly attempt: Attempt;
  readonly worst: WorstCase;
  /** Every budget that counts the call, as the process knows them. */
  readonly budgets: readonly Budget[];
  /** How long the hold may be used, from its commit. */
  readonly deadlineMs: number;
}

/** A budget's standing in one window, as read under its lock. */
export interface Meter {
  readonly budget: Pick<Budget, 'id' | 'name' | 'unit' | 'window' | 'limit' | 'mode'>;
  readonly posted: bigint;
  readonly held: bigint;
  /** What of `held` processes leased for calls to come. */
  readonly leased: bigint;
  /** False for the window `attempt`, where each call is measured by itself. */
  readonly accumulates: boolean;
  /** Epoch milliseconds at which the window ends; null when it does not by itself. */
  readonly endsAt: number | null;
}

/** What a call asks of one budget, in the budget's unit. */
export interface Charge {
  readonly meter: Meter;
  readonly amount: bigint;
}

/** A limit that a charge does not fit in. */
export interface Shortfall extends Charge {
  /** Spent and held at that moment, earlier calls of the same batch included. */
  readonly observed: bigint;
  readonly limit: bigint;
}

export type Verdict =
  | { readonly admitted: true; readonly shadows: readonly Shortfall[] }
  /** `shortfall` refuses for longest, `others` refuse too. */
  | { readonly admitted: false; readonly shortfall: Shortfall; readonly others: readonly Shortfall[] };
