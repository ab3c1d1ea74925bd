import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ConnectError } from '@connectrpc/connect';
import { AgentService, AgentState } from '../../gen/portcullis/v1/agent_pb.ts';
import { BudgetMode, BudgetService, BudgetUnit, BudgetWindow } from '../../gen/portcullis/v1/budget_pb.ts';
import { type Run, RunService, RunState } from '../../gen/portcullis/v1/run_pb.ts';
import { type Principal, PrincipalKind, SystemService } from '../../gen/portcullis/v1/system_pb.ts';
import { grants, isScope, type Scope } from '../../identity/scopes.ts';
import { CliError } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import type { GateClient } from '../gate-client.ts';
import { present } from '../gate-command.ts';
import { secretOf } from '../key-secret.ts';
import { modelsOf } from '../local-models.ts';
import { agentIdOf, projectOf } from '../references.ts';
import type { Access } from './tools.ts';

export interface LeaseRequest {
  readonly project?: string;
  readonly agent?: string;
  readonly workflow: string;
  /** Nano-USD that the run may spend. */
  readonly budget?: bigint;
  readonly model: string | null;
  /** How long the key lives if nobody ends the run. */
  readonly lifetimeMs: number;
}

/** A run that was started for a command, with the one key that its calls are made with. */
export interface Lease {
  readonly run: Run;
  readonly project: { readonly projectId?: string };
  readonly access: Access;
  /** Finishes the run, which ends its key. @returns the run as it ended; somebody else may have ended it before */
  end(outcome: RunState, summary: string): Promise<Run>;
}

/**
 * Starts a run and makes its key. Nothing of it stays when a part is refused.
 * @throws ConnectError when the gate refuses (kill switch, budget, scope), CliError when a choice is missing
 */
export async function openLease(gate: GateClient, request: LeaseRequest): Promise<Lease> {
  const { workflow, budget, model } = request;
  requireScopes(present((await gate.of(SystemService).getSelf({})).principal), budget !== undefined);
  const project = await projectOf(gate, request);
  const agentId = await agentOf(gate, request.agent, project);
  const started = await gate.of(RunService).startRun({ workflow, agentId, ...project });
  const run = present(started.run);
  const budgetIds: string[] = [];
  const end = async (outcome: RunState, summary: string) => {
    const ended = await finish(gate, run.id, outcome, summary, project);
    for (const budgetId of budgetIds) await gate.of(BudgetService).deleteBudget({ budgetId, ...project });
    return ended;
  };
  try {
    if (budget !== undefined) budgetIds.push(await limit(gate, run.id, budget, project));
    const made = await gate.of(AgentService).createKey({
      name: `run of ${workflow}`.slice(0, 100),
      kind: PrincipalKind.AGENT,
      agentId,
      scopes: ['models:invoke' satisfies Scope],
      runId: run.id,
      end: { case: 'lifetime', value: durationFromMs(request.lifetimeMs) },
      ...project,
    });
    const secret = secretOf(made);
    const models = await modelsOf(`${gate.url}/v1`, secret);
    return { run, project, access: { url: gate.url, key: secret, model, models: simulatedLast(models) }, end };
  } catch (error) {
    // What was refused first is what is to be told.
    await end(RunState.CANCELLED, 'The command was not started.').catch(() => undefined);
    throw error;
  }
}

/** Told before anything is started, and all at once. */
function requireScopes({ scopes }: Principal, withBudget: boolean): void {
  const held = new Set(scopes.filter(isScope));
  const needed: Scope[] = [
    'models:invoke',
    'runs:write',
    'keys:write',
    ...(withBudget ? ['policy:write' as const] : []),
  ];
  const missing = needed.filter((scope) => !grants(held, scope));
  if (missing.length === 0) return;
  throw new CliError(
    `This key lacks ${missing.join(', ')}: a run and its key are made by an operator. Nothing was started.`,
    exitCodes.denied,
  );
}

/** The agent that was named, or the only one that there is. */
async function agentOf(gate: GateClient, named: string | undefined, project: { projectId?: string }): Promise<string> {
  if (named !== undefined) return agentIdOf(gate, named, project);
  const { agents } = await gate.of(AgentService).listAgents({ pageSize: 500, ...project });
  const active = agents.filter(({ state }) => state === AgentState.ACTIVE);
  const [only] = active;
  if (only !== undefined && active.length === 1) return only.id;
  const names = active.slice(0, 10).map(({ name }) => name);
  throw new CliError(
    names.length === 0
      ? 'There is no active agent whose run this could be: `portcullis agents create NAME`.'
      : `Say whose run it is: --agent NAME (${names.join(', ')}${active.length > 10 ? ', …' : ''}).`,
    exitCodes.usage,
  );
}

async function limit(
  gate: GateClient,
  runId: string,
  limitAmount: bigint,
  project: { projectId?: string },
): Promise<string> {
  const { budget } = await gate.of(BudgetService).createBudget({
    name: `run ${runId}`,
    selector: { runId },
    unit: BudgetUnit.USD,
    window: BudgetWindow.LIFETIME,
    limitAmount,
    mode: BudgetMode.ENFORCE,
    ...project,
  });
  return present(budget).id;
}

async function finish(
  gate: GateClient,
  runId: string,
  outcome: RunState,
  summary: string,
  project: { projectId?: string },
): Promise<Run> {
  try {
    return present((await gate.of(RunService).finishRun({ runId, outcome, summary, ...project })).run);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    // An operator may have ended it otherwise meanwhile; anything else is told by this, too.
    const run = present((await gate.of(RunService).getRun({ runId, ...project })).run);
    if (run.state === RunState.RUNNING) throw error;
    return run;
  }
}

/** `sim` is there on every gate and meant by few. */
function simulatedLast(models: readonly string[]): string[] {
  return [...models.filter((name) => name !== 'sim'), ...models.filter((name) => name === 'sim')];
}
