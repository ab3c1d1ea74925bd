import type { Pool } from 'pg';
import { appendAudit } from '../audit/append.ts';
import { PortcullisError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { attemptsMax, nameCharsMax, runsRunningPerAgentMax } from '../base/limits.ts';
import { runErrorCharsMax, runSummaryCharsMax } from '../base/telemetry-limits.ts';
import type { BudgetService } from '../budget/budget-service.ts';
import { checkLine, invalid } from '../identity/input.ts';
import type { Principal } from '../identity/model.ts';
import { requireActiveAgent } from '../identity/references.ts';
import { controlWrite, type Queryable, type Tx } from '../pg/tx.ts';
import { type KillIndex, killError } from '../policy/kill-index.ts';
import { boundArgs } from '../policy/facts.ts';
import type { PolicyJudge } from '../policy/judge.ts';
import { principalFacts } from '../policy/principal-facts.ts';
import type { NewRun, Run, RunOutcome, RunTotals } from './model.ts';
import { noSuchRun, noSuchVersion, reach } from './reach.ts';
import {
  countRunning,
  findPromptVersion,
  findRun,
  findStanding,
  finishRun,
  insertRun,
  markForCount,
  revokeRunKeys,
  type RunScope,
  type StandingRun,
} from './store.ts';
import { storable } from './storable.ts';
import { totalsOf } from './totals.ts';

/** What a caller says of a run when it starts. */
export interface StartOfRun {
  readonly projectId: string;
  /** Null is the calling agent. */
  readonly agentId: string | null;
  readonly workflow: string;
  readonly taskId: string | null;
  /** The digest or label of a registered version. */
  readonly promptVersion: string | null;
  readonly maxRetries: number | null;
}

type NewWork = Pick<NewRun, 'projectId' | 'agentId' | 'workflow'>;

/** What a caller says of a run when it ends. */
export interface EndOfRun {
  readonly id: string;
  readonly projectId: string;
  readonly outcome: RunOutcome;
  readonly summary: string;
  readonly error: string;
}

export interface RunWithTotals {
  readonly run: Run;
  readonly totals: RunTotals;
}

/** Starts, finishes and reads runs. A run belongs to its agent: to another agent it does not exist. */
export class RunService {
  readonly #pool: Pool;
  readonly #databaseNow: () => number;
  readonly #kills: KillIndex;
  readonly #budgets: Pick<BudgetService, 'requireLeft'>;
  readonly #policy: PolicyJudge;

  constructor(
    pool: Pool,
    databaseNow: () => number,
    kills: KillIndex,
    budgets: Pick<BudgetService, 'requireLeft'>,
    policy: PolicyJudge,
  ) {
    this.#pool = pool;
    this.#databaseNow = databaseNow;
    this.#kills = kills;
    this.#budgets = budgets;
    this.#policy = policy;
  }

  /**
   * Starts a run of the calling agent, or of the one that another principal names.
   * @throws PortcullisError killed, budget_exceeded (nothing is left of a budget that counts all of the run),
   * invalid_argument, policy_denied (a key bound to a run, a rule of the policy), not_found (no such agent, or version of the
   * prompt), conflict (the agent is disabled, or has too many runs)
   */
  async start(by: Principal, requestId: string, request: StartOfRun): Promise<{ result: Run; version: bigint }> {
    const workflow = checkLine('workflow', request.workflow, 1, nameCharsMax);
    const version = request.promptVersion;
    const promptName = version === null ? null : checkLine('prompt_version', version, 1, nameCharsMax);
    const taskId = request.taskId === null ? null : checkLine('task_id', request.taskId, 1, nameCharsMax);
    const maxRetries = checkRetries(request.maxRetries);
    if (by.runId !== null) {
      throw new PortcullisError('policy_denied', `This key is bound to the run ${by.runId}: it cannot start another.`, {
        rule: 'key.run',
      });
    }
    const { projectId } = request;
    const agentId = agentOf(by, request.agentId);
    this.#requireNoKill(by, { projectId, agentId, workflow });
    this.#requireAllowed(by, requestId, { projectId, agentId, workflow });
    await this.#budgets.requireLeft({ projectId, agentId, workflow });
    return controlWrite(this.#pool, async (tx, stamp) => {
      await requireActiveAgent(tx, projectId, agentId);
      if ((await countRunning(tx, agentId, runsRunningPerAgentMax)) === runsRunningPerAgentMax) {
        throw new PortcullisError('conflict', `${runsRunningPerAgentMax} runs of this agent are running: finish some.`);
      }
      const promptVersion = promptName === null ? null : await digestOf(tx, projectId, workflow, promptName);
      // The id says when it started, to the millisecond: lists by time are ranges of ids.
      const startedAt = Math.floor(this.#databaseNow());
      const made: NewRun = {
        id: newId('run', startedAt),
        projectId,
        agentId,
        workflow,
        taskId,
        promptVersion,
        maxRetries,
        startedAt,
      };
      const run = await insertRun(tx, stamp, made);
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
   * Ends a run by one conditional update, and the keys bound to it. The same outcome again gives the same answer, with what
   * the run had used when it ended, and writes nothing.
   * @throws PortcullisError not_found, conflict (it ended otherwise), invalid_argument
   */
  async finish(
    by: Principal,
    requestId: string,
    request: EndOfRun,
  ): Promise<{ result: RunWithTotals; version: bigint }> {
    const { outcome } = request;
    const summary = checkText('summary', request.summary.trim(), runSummaryCharsMax);
    const error = checkText('error', request.error, runErrorCharsMax);
    if (error !== '' && outcome === 'succeeded')
      throw invalid('error', 'error is of runs that did not succeed: leave it out.');
    const scope = reach(by, request);
    const found = await requireRun(this.#pool, scope);
    if (found.run.state !== 'running')
      return { result: await toldBefore(this.#pool, found, outcome), version: found.version };
    // Before the write, for which every other control write waits.
    const totals = await totalsOf(this.#pool, found.run);
    const end = { outcome, summary, error, totals };
    return controlWrite(
      this.#pool,
      async (tx, stamp) => {
        const run = await finishRun(tx, stamp, scope, end);
        if (run === null) return toldBefore(tx, await requireRun(tx, scope), outcome);
        const revokedKeys = await revokeRunKeys(tx, stamp, run.id);
        await appendAudit(tx, {
          actor: { kind: by.kind, id: by.id },
          action: 'run.finished',
          target: run.id,
          projectId: run.projectId,
          requestId,
          payload: { outcome, revoked_keys: revokedKeys },
        });
        return { run, totals };
      },
      // Whoever counts may hold that row for a while: it is waited for before all of control state is locked.
      (tx) => markForCount(tx, scope),
    );
  }

  /** @throws PortcullisError killed */
  #requireNoKill({ personId, keyId, loginId }: Principal, run: NewWork): void {
    const caller = { personId, keyId, loginId: loginId ?? null };
    const subject = { ...run, ...caller, runId: null, provider: null, models: [] };
    const kill = this.#kills.killedBy(subject, this.#databaseNow());
    if (kill) throw killError(kill);
  }

  /** @throws PortcullisError policy_denied, unavailable */
  #requireAllowed(by: Principal, requestId: string, { projectId, agentId, workflow }: NewWork): void {
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
    if (!run) throw noSuchRun(request.id);
    return { run, totals: await totalsOf(this.#pool, run) };
  }
}

function agentOf(by: Principal, named: string | null): string {
  if (by.agentId === null) {
    if (named !== null) return named;
    throw invalid('agent_id', 'agent_id is required: name the agent whose run it is.');
  }
  if (named === null || named === by.agentId) return by.agentId;
  throw new PortcullisError('not_found', `You are not the agent "${named}": leave agent_id out.`);
}

/** @throws PortcullisError not_found */
async function digestOf(tx: Tx, projectId: string, workflow: string, promptName: string): Promise<string> {
  const digest = await findPromptVersion(tx, { projectId, workflow }, promptName);
  if (digest !== null) return digest;
  throw noSuchVersion(workflow, promptName);
}

/** @throws PortcullisError not_found */
async function requireRun(db: Queryable, scope: RunScope): Promise<StandingRun> {
  const found = await findStanding(db, scope);
  if (found) return found;
  throw noSuchRun(scope.id);
}

/** What whoever finished it first was told. @throws PortcullisError conflict (it ended otherwise) */
async function toldBefore(db: Queryable, { run, totals }: StandingRun, outcome: RunOutcome): Promise<RunWithTotals> {
  if (run.state === outcome) return { run, totals: totals ?? (await totalsOf(db, run)) };
  throw new PortcullisError('conflict', `The run ended as ${run.state} already: an outcome never changes.`);
}

function checkRetries(maxRetries: number | null): number | null {
  if (maxRetries === null) return null;
  if (Number.isInteger(maxRetries) && maxRetries >= 0 && maxRetries < attemptsMax) return maxRetries;
  throw invalid('max_retries', `max_retries must be from 0 to ${attemptsMax - 1}.`);
}

/** Text of any lines. @throws PortcullisError invalid_argument */
function checkText(param: string, text: string, charsMax: number): string {
  // As protovalidate counts them: a character may be two units of UTF-16.
  if (text.length > charsMax && Array.from(text).length > charsMax)
    throw invalid(param, `${param} must be at most ${charsMax} characters: tell the rest as events.`);
  return storable(text);
}
