import type { Pool } from 'pg';
import { systemClock, type Clock } from '../../server/src/base/clock.ts';
import { newId } from '../../server/src/base/ids.ts';
import { createLogger } from '../../server/src/base/log.ts';
import { BudgetIndex } from '../../server/src/budget/budget-index.ts';
import type { NewBudget } from '../../server/src/budget/budget-input.ts';
import { BudgetService } from '../../server/src/budget/budget-service.ts';
import type { BudgetRecord } from '../../server/src/budget/budget-store.ts';
import { Instance } from '../../server/src/budget/instances.ts';
import { type Hold, Ledger } from '../../server/src/budget/ledger.ts';
import { TouchedCounters } from '../../server/src/budget/touched-counters.ts';
import type { Attempt, Spender, WorstCase } from '../../server/src/budget/model.ts';
import type { Principal } from '../../server/src/identity/model.ts';
import { noUsage } from '../../server/src/llm/usage.ts';

export const projectId = 'prj_test';
export const agentId = 'agt_test';
export const runId = 'run_test';

export const operator: Principal = {
  kind: 'operator',
  id: 'psn_test',
  name: 'Test',
  projectId,
  scopes: new Set(['admin']),
  method: 'api_key',
  agentId: null,
  personId: null,
  keyId: null,
  runId: null,
  models: null,
  teams: [],
  requiresSignature: false,
  binding: null,
  cidrs: null,
  token: null,
  expiresAt: null,
};

export const spender: Spender = {
  projectId,
  teams: [],
  personId: null,
  agentId,
  keyId: null,
  workflow: 'flow',
  runId,
  providerType: 'api',
  provider: 'sim',
  model: 'sim-1',
};

/** A project with one agent and one run. */
export async function seedProject(pool: Pool): Promise<void> {
  await pool.query(`INSERT INTO projects (id, name, control_version) VALUES ($1, 'test', 1)`, [projectId]);
  await pool.query(
    `INSERT INTO agents (id, project_id, name, created_by, control_version) VALUES ($1, $2, 'agent', 'test', 1)`,
    [agentId, projectId],
  );
  await pool.query(
    `INSERT INTO runs (id, project_id, agent_id, workflow, control_version) VALUES ($1, $2, $3, 'flow', 1)`,
    [runId, projectId, agentId],
  );
}

let budgetCount = 0;

/** Makes a budget in whole units for the whole project and all time, unless said otherwise. */
export async function makeBudget(pool: Pool, budget: Partial<NewBudget> = {}): Promise<BudgetRecord> {
  const service = new BudgetService(pool, () => Date.now());
  const { result } = await service.create(operator, 'req_test', {
    projectId,
    name: `budget-${++budgetCount}`,
    selector: {
      teamId: null,
      personId: null,
      agentId: null,
      keyId: null,
      workflow: null,
      runId: null,
      providerType: null,
      provider: null,
      model: null,
    },
    unit: 'usd',
    window: 'lifetime',
    timeZone: 'UTC',
    limit: 100n,
    mode: 'enforce',
    ...budget,
  });
  return result;
}

/** One gate process's share of the ledger. */
export interface Gate {
  readonly ledger: Ledger;
  readonly instance: Instance;
  /** Reads the budgets anew, as the control feed does. */
  reload(): Promise<void>;
}

export async function openGate(
  pool: Pool,
  clock: Clock = systemClock,
  durability: 'strict' | 'relaxed' = 'strict',
): Promise<Gate> {
  const instance = new Instance(pool, clock);
  await instance.beat();
  const budgets = new BudgetIndex();
  const ledger = new Ledger({
    pool,
    instance,
    budgets,
    durabilityOf: () => durability,
    touched: new TouchedCounters(),
    clock,
    log: createLogger('silent'),
  });
  const reload = async () => (await budgets.load(pool, 0n))();
  await reload();
  return { ledger, instance, reload };
}

export function attempt(known: Partial<Attempt> = {}): Attempt {
  return {
    id: newId('att'),
    requestId: newId('req'),
    attemptNo: 1,
    projectId,
    agentId,
    personId: null,
    keyId: null,
    runId,
    workflow: 'flow',
    clientSession: null,
    route: 'sim-*',
    provider: 'sim',
    modelAsked: 'sim-1',
    modelServed: 'sim-1',
    dialectIn: 'anthropic',
    dialectOut: 'anthropic',
    streamed: false,
    priceVersion: 'test',
    usage: noUsage,
    costUsd: 0n,
    notionalUsd: 0n,
    provenance: 'measured',
    outcome: 'success',
    errorClass: null,
    rule: null,
    startedAt: Date.now(),
    queueMs: 0,
    connectMs: null,
    firstTokenMs: null,
    totalMs: 1,
    overrun: false,
    corrects: null,
    ...known,
  };
}

/** A worst case of so many nano-USD, and as many output tokens unless said otherwise. */
export function worst(usd: bigint, tokens: bigint = usd): WorstCase {
  return { usd, feesUsd: 0n, tokens, usage: { ...noUsage, output: Number(tokens) }, bounded: true };
}

export interface Asked {
  readonly usd: bigint;
  readonly tokens?: bigint;
  readonly by?: Partial<Spender>;
  readonly deadlineMs?: number;
  readonly attempt?: Partial<Attempt>;
  readonly worst?: Partial<WorstCase>;
}

export function reserve(
  { ledger }: Gate,
  { usd, tokens, by, deadlineMs = 60_000, attempt: known, worst: more }: Asked,
): Promise<Hold> {
  return ledger.reserve({
    attempt: attempt(known),
    spender: { ...spender, ...by },
    worst: { ...worst(usd, tokens), ...more },
    deadlineMs,
  });
}

/** The attempt of a hold, over, at so many nano-USD and as many output tokens. */
export function used(hold: Hold, usd: bigint): Attempt {
  return attempt({ id: hold.id, costUsd: usd, usage: { ...noUsage, output: Number(usd) } });
}

export interface Counter {
  readonly budget_id: string;
  readonly window_key: string;
  readonly posted: bigint;
  readonly held: bigint;
}

export async function counters(pool: Pool, budgetId: string): Promise<Counter[]> {
  const { rows } = await pool.query<Counter>(
    'SELECT budget_id, window_key, posted, held FROM budget_counters WHERE budget_id = $1 ORDER BY window_key',
    [budgetId],
  );
  return rows;
}
