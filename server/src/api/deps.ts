import type { KeyObject } from 'node:crypto';
import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { SealingKey } from '../base/sealed-secret.ts';
import { BudgetService } from '../budget/budget-service.ts';
import { checkCaps, enforceCaps } from '../budget/policy-caps.ts';
import { ExportService } from '../export/service.ts';
import type { Idempotency } from '../idempotency/service.ts';
import { AgentService } from '../identity/agent-service.ts';
import type { LoginService } from '../identity/logins/service.ts';
import type { IdentityIndex } from '../identity/identity-index.ts';
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
import { JournalService } from '../journal/service.ts';
import { TaskService } from '../journal/task-service.ts';
import { RunEvents } from '../run/events.ts';
import { PromptAttempts } from '../run/prompt-attempts.ts';
import { RunService } from '../run/service.ts';
import { RunWatches } from '../run/watches.ts';
import type { MatchState } from '../reconciliation/model.ts';
import { ReconciliationService } from '../reconciliation/service.ts';
import type { KeptDays } from '../telemetry/days.ts';
import { Opinions } from '../telemetry/leaderboard/opinion-service.ts';
import type { PublicBoards } from '../telemetry/leaderboard/public-board.ts';
import { PublishedWorkflows } from '../telemetry/leaderboard/published-service.ts';
import { Leaderboard } from '../telemetry/leaderboard/service.ts';
import { PromptVersions } from '../telemetry/prompts/service.ts';
import { Summaries } from '../telemetry/summaries.ts';
import type { PageTokens } from './page-tokens.ts';

/** What the control plane's services work with; made once by the composition root. */
export interface ServiceDeps {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly log: Logger;
  readonly feed: ControlFeed;
  readonly refusals: RefusalAudit;
  readonly identity: Pick<IdentityIndex, 'whyEnded' | 'scopesNow'>;
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
  readonly runEvents: RunEvents;
  readonly runWatches: RunWatches;
  readonly promptAttempts: PromptAttempts;
  readonly tasks: TaskService;
  readonly journal: JournalService;
  readonly exports: ExportService;
  readonly promptVersions: PromptVersions;
  readonly summaries: Summaries;
  readonly opinions: Opinions;
  readonly leaderboard: Leaderboard;
  readonly publishedWorkflows: PublishedWorkflows;
  readonly publicBoards: Pick<PublicBoards, 'current'>;
  readonly reconciliation: ReconciliationService;
  /** The names of the providers to which any route of this process leads. */
  readonly routedProviders: () => ReadonlySet<string>;
  readonly serverVersion: string;
  /** Runs writes under an Idempotency-Key. */
  readonly idempotency: Pick<Idempotency, 'once'>;
  /** An answer was given again for an Idempotency-Key. */
  readonly onReplay: () => void;
  /** Whether this process is being stopped: streams end then. */
  readonly draining: () => boolean;
  /** LEDGER_RETENTION_DAYS. */
  readonly ledgerDaysKept: number;
  /** TELEMETRY_EVENTS_RETENTION_DAYS, TELEMETRY_BENCHMARKS_RETENTION_DAYS. */
  readonly telemetryDaysKept: KeptDays;
}

/** What the services are made from. */
export interface ServiceParts extends Pick<
  ServiceDeps,
  | 'pool'
  | 'clock'
  | 'log'
  | 'feed'
  | 'refusals'
  | 'identity'
  | 'signatures'
  | 'sessions'
  | 'logins'
  | 'pageTokens'
  | 'routedProviders'
  | 'serverVersion'
  | 'idempotency'
  | 'onReplay'
  | 'ledgerDaysKept'
  | 'telemetryDaysKept'
  | 'publicBoards'
  | 'draining'
> {
  readonly keyPepper: KeyObject;
  readonly signingSecrets: SealingKey;
  readonly kills: KillIndex;
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
    runs: new RunService(pool, databaseNow, kills, budgets, policy),
    runEvents: new RunEvents(pool, databaseNow),
    runWatches: new RunWatches({ pool, clock, draining: shared.draining }),
    promptAttempts: new PromptAttempts(pool, clock),
    tasks: new TaskService(pool),
    journal: new JournalService(pool),
    exports: new ExportService(pool, log),
    promptVersions: new PromptVersions(pool),
    summaries: new Summaries(pool, clock),
    opinions: new Opinions(pool),
    leaderboard: new Leaderboard(pool),
    publishedWorkflows: new PublishedWorkflows(pool),
    reconciliation: new ReconciliationService(pool, clock, { log, onMatched }, isProvider),
  };
}
