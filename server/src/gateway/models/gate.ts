import type { Clock } from '../../base/clock.ts';
import type { RateLimiter } from '../../base/gcra.ts';
import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import type { BudgetIndex } from '../../budget/budget-index.ts';
import type { Ledger } from '../../budget/ledger.ts';
import type { Authenticator } from '../../identity/authenticator.ts';
import type { Idempotency } from '../../idempotency/service.ts';
import type { RefusalAudit } from '../../identity/refusal-audit.ts';
import type { RequestSignatures } from '../../identity/signatures/request-signatures.ts';
import type { Flights } from '../../policy/flights.ts';
import type { PolicyJudge } from '../../policy/judge.ts';
import type { ResponseCache } from '../../response-cache/service.ts';
import type { RunIndex } from '../../run/run-index.ts';
import type { RouteTable } from './routing.ts';

/** All that the models door works with; made once by the composition root. */
export interface ModelGate {
  readonly authenticator: Authenticator;
  readonly signatures: RequestSignatures;
  readonly flights: Flights;
  readonly limiter: RateLimiter;
  readonly rates: { readonly keyPerMinute: number; readonly tokenPerMinute: number };
  /** Throws `unavailable` when control state is older than its limit. */
  readonly assertFresh: () => void;
  /** The table of the configuration in force; a reload replaces it. */
  readonly routes: () => RouteTable;
  /** A streamed call hears something at least this often. */
  readonly streamPingMs: number;
  readonly budgets: BudgetIndex;
  readonly ledger: Ledger;
  readonly runs: RunIndex;
  readonly policy: PolicyJudge;
  readonly idempotency: Idempotency;
  readonly cache: ResponseCache;
  readonly refusals: RefusalAudit;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly log: Logger;
}
