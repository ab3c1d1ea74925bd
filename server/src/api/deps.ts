import type { Pool } from 'pg';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { BudgetService } from '../budget/budget-service.ts';
import type { AgentService } from '../identity/agent-service.ts';
import type { KeyService } from '../identity/key-service.ts';
import type { PersonService } from '../identity/person-service.ts';
import type { ProjectService } from '../identity/project-service.ts';
import type { RefusalAudit } from '../identity/refusal-audit.ts';
import type { ControlFeed } from '../pg/control-feed.ts';
import type { KillService } from '../policy/kill-service.ts';
import type { RunService } from '../run/service.ts';
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
  readonly serverVersion: string;
}
