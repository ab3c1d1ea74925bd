import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { SealingKey } from '../base/sealed-secret.ts';
import { BudgetService } from '../budget/budget-service.ts';
import { checkCaps, enforceCaps } from '../budget/policy-caps.ts';
import type { Idempotency } from '../idempotency/service.ts';
import { AgentService } from '../identity/agent-service.ts';
import type { LoginService } from '../identity/logins/service.ts';
import { KeyService } from '../identity/key-service.ts';
import { PersonService } from '../identity/person-service.ts';
import { ProjectService } from '../identity/project-service.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import type { SessionService } from '../identity/sessions/service.ts';
import type { RequestSignatures } from '../identity/signatures/request-signatures.ts';
import { SigningKeyService } from '../identity/signatures/service.ts';
import { TeamService } from '../identity/team-service.ts';
import type { ControlFeed } from '../pg/control-feed.ts';
import { KillService } from '../policy/kill-service.ts';
import type { KillIndex } from '../policy/kill-index.ts';
import type { PolicyJudge } from '../policy/judge.ts';
import { PolicySimulator } from '../policy/simulation.ts';
import { PolicyVersions } from '../policy/version-service.ts';
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
  readonly signatures: RequestSignatures;
  readonly signingKeys: SigningKeyService;
  readonly people: PersonService;
  readonly teams: TeamService;
  readonly sessions: SessionService;
  readonly logins: LoginService;
  readonly projects: ProjectService;
  readonly budgets: BudgetService;
  readonly kills: KillService;
  readonly policies: PolicyVersions;
  readonly simulator: PolicySimulator;
  readonly runs: RunService;
  readonly reconciliation: ReconciliationService;
  readonly provisional: ProvisionalService;
  /** The names of the providers to which any route of this process leads. */
  readonly routedProviders: () => ReadonlySet<string>;
  readonly serverVersion: string;
  /** Runs writes under an Idempotency-Key. */
  readonly idempotency: Pick<Idempotency, 'once'>;
  /** An answer was given again for an Idempotency-Key. */
  readonly onReplay: () => void;
  /** LEDGER_RETENTION_DAYS. */
  readonly ledgerDaysKept: number;
}

/** What the services are made from. */
export interface ServiceParts extends Pick<
  ServiceDeps,
  | 'pool'
  | 'clock'
  | 'log'
  | 'feed'
  | 'refusals'
  | 'signatures'
  | 'sessions'
  | 'logins'
  | 'pageTokens'
  | 'routedProviders'
  | 'serverVersion'
  | 'idempotency'
  | 'onReplay'
  | 'ledgerDaysKept'
> {
  readonly keyPepper: KeyObject;
  readonly signingSecrets: SealingKey;
  readonly kills: KillIndex;
  readonly runs: RunIndex;
  readonly policy: PolicyJudge;
  /** Epoch milliseconds by the database's clock. */
  readonly databaseNow: () => number;
  /** A model of a provider's day was matched with its bill. */
  readonly onMatched: (state: MatchState) => void;
  /** Whether the configuration in force has a provider of this name. */
  readonly isProvider: (name: string) => boolean;
  /** KILL_RELEASE_TWO_PEOPLE. */
  readonly twoPeople: boolean;
  /** CONTROL_AGE_MAX_MS. */
  readonly controlAgeMaxMs: number;
}

export function serviceDeps({
  keyPepper,
  signingSecrets,
  kills,
  runs,
  policy,
  databaseNow,
  onMatched,
  isProvider,
  twoPeople,
  controlAgeMaxMs,
  ...shared
}: ServiceParts): ServiceDeps {
  const { pool, clock, log } = shared;
  const budgets = new BudgetService(pool, databaseNow);
  return {
    ...shared,
    agents: new AgentService(pool),
    keys: new KeyService(pool, keyPepper, clock),
    signingKeys: new SigningKeyService(pool, signingSecrets),
    people: new PersonService(pool),
    teams: new TeamService(pool),
    projects: new ProjectService(pool),
    budgets,
    kills: new KillService(pool, { isProvider, databaseNow, twoPeople, controlAgeMaxMs }),
    policies: new PolicyVersions(pool, { checkCaps, enforceCaps }),
    simulator: new PolicySimulator(pool, clock),
    runs: new RunService(pool, databaseNow, runs, kills, budgets, policy),
    reconciliation: new ReconciliationService(pool, clock, { log, onMatched }, isProvider),
    provisional: new ProvisionalService(pool, clock),
  };
}
