import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { nameCharsMax, reasonCharsMax, runClockMarginMs, runsRunningPerAgentMax } from '../base/limits.ts';
import type { BudgetService } from '../budget/budget-service.ts';
import { sumUsage, type UsageTotal } from '../budget/usage-store.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { requireActiveAgent } from '../identity/references.ts';
import { controlWrite, type Queryable } from '../pg/tx.ts';
import { type KillIndex, killError } from '../policy/kill-index.ts';
import { boundArgs } from '../policy/facts.ts';
import type { PolicyJudge } from '../policy/judge.ts';
import { principalFacts } from '../policy/principal-facts.ts';
import type { Run, RunOutcome } from './model.ts';
import type { RunIndex } from './run-index.ts';
import { findRun, finishRun, insertRun, revokeRunKeys, type RunScope } from './store.ts';

/** What the ledger holds of a run. Calls in flight are added when they settle. */
type RunTotals = Omit<UsageTotal, 'key'>;

export interface RunWithTotals {
  readonly run: Run;
  readonly totals: RunTotals;
}

/** Starts, finishes and reads runs. A run belongs to its agent: to another agent it does not exist. */
export class RunService {
  readonly #pool: Pool;
  readonly #databaseNow: () => number;
  readonly #index: RunIndex;
  readonly #kills: KillIndex;
  readonly #budgets: Pick<BudgetService, 'requireLeft'>;
  readonly #policy: PolicyJudge;

  constructor(
    pool: Pool,
    databaseNow: () => number,
    index: RunIndex,
    kills: KillIndex,
    budgets: Pick<BudgetService, 'requireLeft'>,
    policy: PolicyJudge,
  ) {
    this.#pool = pool;
    this.#databaseNow = databaseNow;
    this.#index = index;
    this.#kills = kills;
    this.#budgets = budgets;
    this.#policy = policy;
  }

  /**
   * Starts a run of the calling agent, or of the one that another principal names.
   * @throws PortcullisError killed, budget_exceeded (nothing is left of a budget that counts all of the run),
   * invalid_argument, policy_denied (a key bound to a run, a rule of the policy), not_found (no such agent), conflict (the agent is disabled, or has too many runs)
   */
  async start(
    by: Principal,
    requestId: string,
    request: { readonly projectId: string; readonly agentId: string | null; readonly workflow: string },
  ): Promise<{ result: Run; version: bigint }> {
    const workflow = checkLine('workflow', request.workflow, 1, nameCharsMax);
    if (by.runId !== null) {
      throw new PortcullisError('policy_denied', `This key is bound to the run ${by.runId}: it cannot start another.`, {
        rule: 'key.run',
      });
    }
    const { projectId } = request;
    const agentId = agentOf(by, request.agentId);
    const subject = {
      projectId,
      agentId,
      personId: by.personId,
      keyId: by.keyId,
      loginId: by.loginId ?? null,
      runId: null,
      workflow,
    };
    const kill = this.#kills.killedBy({ ...subject, provider: null, models: [] }, this.#databaseNow());
    if (kill) throw killError(kill);
    if (this.#index.runningOf(agentId) >= runsRunningPerAgentMax) {
      throw new PortcullisError('conflict', `${runsRunningPerAgentMax} runs of this agent are running: finish some.`);
    }
    this.#requireAllowed(by, requestId, { projectId, agentId, workflow });
    await this.#budgets.requireLeft({ projectId, agentId, workflow });
    return controlWrite(this.#pool, async (tx, version) => {
      await requireActiveAgent(tx, projectId, agentId);
      const run = await insertRun(tx, version, { id: newId('run'), projectId, agentId, workflow });
      await appendAudit(tx, {
        actor: { kind: by.kind, id: by.id },
        action: 'run.started',
        target: run.id,
        projectId,
        requestId,
        payload: { agent: agentId, workflow },
      });
      return run;
    });
  }

  /**
   * Ends a run by one conditional update, and the keys bound to it. The same outcome again gives the same answer.
   * @throws PortcullisError not_found, conflict (it ended otherwise), invalid_argument
   */
  async finish(
    by: Principal,
    requestId: string,
    request: {
      readonly id: string;
      readonly projectId: string;
      readonly outcome: RunOutcome;
      readonly summary: string;
    },
  ): Promise<{ result: RunWithTotals; version: bigint }> {
    const { outcome } = request;
    const summary = checkLine('summary', request.summary, 0, reasonCharsMax);
    const scope = reach(by, request);
    // Before the write, for which every other control write waits.
    const totals = await totalsOf(this.#pool, request);
    const { result: run, version } = await controlWrite(this.#pool, async (tx, stamp) => {
      const finished = await finishRun(tx, stamp, scope, outcome, summary);
      if (finished) {
        const revokedKeys = await revokeRunKeys(tx, stamp, finished.id);
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'run.finished',
          target: finished.id,
          projectId: finished.projectId,
          requestId,
          payload: { outcome, revoked_keys: revokedKeys },
        });
      }
      const ended = finished ?? (await findRun(tx, scope));
      if (!ended) throw notFound(scope);
      if (ended.state !== outcome) {
        throw new PortcullisError('conflict', `The run ended as ${ended.state} already: an outcome never changes.`);
      }
      return ended;
    });
    return { result: { run, totals }, version };
  }

  /** @throws PortcullisError policy_denied, unavailable */
  #requireAllowed(
    by: Principal,
    requestId: string,
    {
      projectId,
      agentId,
      workflow,
    }: { readonly projectId: string; readonly agentId: string; readonly workflow: string },
  ): void {
    const { refusal } = this.#policy.judge(projectId, requestId, () => ({
      facts: {
        action: 'runs.start',
        principal: principalFacts(by),
        resource: { type: 'workflow', name: workflow, provider: '', route: '' },
        args: boundArgs({ agent: agentId }).args,
        run: null,
        time: this.#databaseNow(),
      },
      otherNames: [],
      otherProviders: [],
    }));
    if (refusal) throw refusal;
  }

  /** @throws PortcullisError not_found */
  async get(by: Principal, request: { readonly id: string; readonly projectId: string }): Promise<RunWithTotals> {
    const scope = reach(by, request);
    const run = await findRun(this.#pool, scope);
    if (!run) throw notFound(scope);
    return { run, totals: await totalsOf(this.#pool, run) };
  }
}

/** @param run without its end where it may still be running */
async function totalsOf(
  db: Queryable,
  { id, projectId, finishedAt = null }: Pick<Run, 'id' | 'projectId'> & Partial<Pick<Run, 'finishedAt'>>,
): Promise<RunTotals> {
  const every = { agentId: null, keyId: null, workflow: null, provider: null, model: null, outcome: null };
  // A call begins while its run runs, by the clock of another process perhaps.
  const to = finishedAt === null ? null : finishedAt + runClockMarginMs;
  const [totals] = await sumUsage(db, { ...every, from: null, to, projectId, runId: id }, 'run', 1);
  return totals ?? nothingUsed;
}

const nothingUsed: RunTotals = {
  attempts: 0n,
  refused: 0n,
  tokensInput: 0n,
  tokensOutput: 0n,
  tokensCacheRead: 0n,
  tokensCacheWrite: 0n,
  tokensReasoning: 0n,
  costUsd: 0n,
  estimatedUsd: 0n,
  measuredUsd: 0n,
  reconciledUsd: 0n,
  notionalUsd: 0n,
};

function agentOf(by: Principal, named: string | null): string {
  if (by.agentId === null) {
    if (named !== null) return named;
    throw invalid('agent_id', 'agent_id is required: name the agent whose run it is.');
  }
  if (named === null || named === by.agentId) return by.agentId;
  throw new PortcullisError('not_found', `You are not the agent "${named}": leave agent_id out.`);
}

/** Whose runs the caller may reach: an agent its own alone, a key bound to a run that run alone. */
function reach(by: Principal, { id, projectId }: { readonly id: string; readonly projectId: string }): RunScope {
  const scope = { id, projectId, agentId: by.agentId };
  if (by.runId !== null && by.runId !== id) throw notFound(scope);
  return scope;
}

function notFound({ id }: RunScope): PortcullisError {
  return new PortcullisError('not_found', `There is no run "${id.slice(0, 100)}" that you may see.`);
}
