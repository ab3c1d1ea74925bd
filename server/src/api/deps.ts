import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { BudgetService } from '../budget/budget-service.ts';
import { AgentService } from '../identity/agent-service.ts';
import { KeyService } from '../identity/key-service.ts';
import { PersonService } from '../identity/person-service.ts';
import { ProjectService } from '../identity/project-service.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import type { ControlFeed } from '../pg/control-feed.ts';
import { KillService } from '../policy/kill-service.ts';
import type { KillIndex } from '../policy/kill-index.ts';
import type { RunIndex } from '../run/run-index.ts';
import { RunService } from '../run/service.ts';
import type { MatchState } from '../reconciliation/model.ts';
import { ProvisionalService } from '../reconciliation/provisional.ts';
import { ReconciliationService } from '../reconciliation/service.ts';
import type { PageTokens } from './page-tokens.ts';

/** What the control plane's services work with; made once by the composition root. */
export interface ServiceDeps {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly feed: ControlFeed;
  readonly refusals: RefusalAudit;
  readonly pageTokens: PageTokens;
  readonly agents: AgentService;
  readonly keys: KeyService;
  readonly people: PersonService;
  readonly projects: ProjectService;
  readonly budgets: BudgetService;
  readonly kills: KillService;
  readonly runs: RunService;
  readonly reconciliation: ReconciliationService;
  readonly provisional: ProvisionalService;
  /** The names of the providers to which any route of this process leads. */
  readonly routedProviders: () => ReadonlySet<string>;
  readonly serverVersion: string;
  /** LEDGER_RETENTION_DAYS. */
  readonly ledgerDaysKept: number;
}

/** What the services are made from. */
export interface ServiceParts extends Pick<
  ServiceDeps,
  'pool' | 'clock' | 'log' | 'feed' | 'refusals' | 'pageTokens' | 'routedProviders' | 'serverVersion' | 'ledgerDaysKept'
> {
  readonly keyPepper: KeyObject;
  readonly kills: KillIndex;
  readonly runs: RunIndex;
  /** Epoch milliseconds by the database's clock. */
  readonly databaseNow: () => number;
  /** A model of a provider's day was matched with its bill. */
  readonly onMatched: (state: MatchState) => void;
  /** Whether the configuration in force has a provider of this name. */
  readonly isProvider: (name: string) => boolean;
}

export function serviceDeps({
  keyPepper,
  kills,
  runs,
  databaseNow,
  onMatched,
  isProvider,
  ...shared
}: ServiceParts): ServiceDeps {
  const { pool, clock, log } = shared;
  const budgets = new BudgetService(pool, databaseNow);
  return {
    ...shared,
    agents: new AgentService(pool),
    keys: new KeyService(pool, keyPepper, clock),
    people: new PersonService(pool),
    projects: new ProjectService(pool),
    budgets,
    kills: new KillService(pool, clock),
    runs: new RunService(pool, clock, runs, kills, budgets),
    reconciliation: new ReconciliationService(pool, clock, { log, onMatched }, isProvider),
    provisional: new ProvisionalService(pool, clock),
  };
}
