import type { TestGate } from '../../support/gate.ts';
import { agentCount, roomyAgent, runsPerAgent, workflows } from './calls.ts';

export type Unit = 'USD' | 'TOKENS' | 'REQUESTS' | 'CONCURRENT_REQUESTS';
export type Window = 'ATTEMPT' | 'RUN' | 'HOUR' | 'DAY' | 'LIFETIME';

/** Which calls a budget counts, as the API says it. */
export interface Selector {
  readonly agentId?: string;
  readonly keyId?: string;
  readonly workflow?: string;
  readonly runId?: string;
  readonly provider?: string;
  readonly model?: string;
}

export interface ChaosBudget {
  readonly id: string;
  readonly name: string;
  readonly unit: Unit;
  readonly window: Window;
  readonly selector: Selector;
  readonly dryRun: boolean;
  /** What its time zone is ahead of UTC, in milliseconds. */
  readonly zoneMs: number;
  /** The limits that it had, and since when they may have been in force (epoch milliseconds); null is none. */
  readonly limits: { readonly at: number; readonly limit: bigint | null }[];
  /** What an operator adds now and then, so that it is always near its limit; 0 for those that have room. */
  readonly step: bigint;
}

export interface Agent {
  readonly id: string;
  readonly keyId: string;
  readonly secret: string;
  readonly runs: readonly { readonly id: string; readonly workflow: string }[];
}

export interface Cast {
  readonly agents: readonly Agent[];
  readonly budgets: readonly ChaosBudget[];
}

export interface NewChaosBudget extends Pick<ChaosBudget, 'name' | 'unit' | 'window' | 'selector'> {
  readonly limit: bigint | null;
  readonly step?: bigint;
  readonly dryRun?: boolean;
  readonly india?: boolean;
}

// Half an hour off the whole hour, so that hours begin elsewhere.
const india = { timeZone: 'Asia/Kolkata', zoneMs: 5.5 * 3_600_000 };

const cent = 10_000_000n;
const plenty = 1_000_000_000_000n;

/** Agents, their runs, and budgets of every selector, unit and window, one within another. */
export async function makeCast(gate: TestGate): Promise<Cast> {
  const agents: Agent[] = [];
  for (let i = 0; i < agentCount; i++) {
    const { agentId, keyId, secret } = await gate.agent(`agent-${i}`);
    const runs = [];
    for (let j = 0; j < runsPerAgent; j++) {
      const workflow = workflows[j % workflows.length] ?? workflows[0];
      const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { agentId, workflow });
      runs.push({ id: run.id, workflow });
    }
    agents.push({ id: agentId, keyId, secret, runs });
  }
  const agentIds = agents.map(({ id }) => ({ agentId: id }));
  const roomy = agentIds[roomyAgent] ?? {};
  const [a0 = {}, a1 = {}, a2 = {}, a3 = {}] = agentIds;
  const wanted: readonly NewChaosBudget[] = [
    { name: 'project usd', unit: 'USD', window: 'LIFETIME', selector: {}, limit: plenty },
    { name: 'project tokens', unit: 'TOKENS', window: 'LIFETIME', selector: {}, limit: null },
    { name: 'project requests a day', unit: 'REQUESTS', window: 'DAY', selector: {}, limit: plenty },
    { name: 'a0 usd', unit: 'USD', window: 'LIFETIME', selector: a0, limit: 2n * cent, step: 2n * cent },
    {
      name: 'a0 run usd',
      unit: 'USD',
      window: 'LIFETIME',
      selector: { runId: agents[0]?.runs[0]?.id ?? '' },
      limit: cent,
      step: cent,
    },
    { name: 'a0 at once', unit: 'CONCURRENT_REQUESTS', window: 'LIFETIME', selector: a0, limit: 25n },
    { name: 'a1 requests', unit: 'REQUESTS', window: 'LIFETIME', selector: a1, limit: 50n, step: 40n },
    { name: 'a1 tokens an hour', unit: 'TOKENS', window: 'HOUR', selector: a1, limit: 20_000n, step: 1_000n },
    { name: 'a1 usd a call', unit: 'USD', window: 'ATTEMPT', selector: a1, limit: cent / 10n },
    { name: 'a2 usd an hour', unit: 'USD', window: 'HOUR', selector: a2, limit: 6n * cent, step: cent, india: true },
    {
      name: 'a2 requests of gpt',
      unit: 'REQUESTS',
      window: 'LIFETIME',
      selector: { ...a2, model: 'gpt-*' },
      limit: 30n,
      step: 12n,
    },
    {
      name: 'a3 usd by key',
      unit: 'USD',
      window: 'LIFETIME',
      selector: { keyId: agents[3]?.keyId ?? '' },
      limit: 2n * cent,
      step: 2n * cent,
    },
    { name: 'a3 usd shadow', unit: 'USD', window: 'LIFETIME', selector: a3, limit: 0n, dryRun: true },
    { name: 'a3 tokens shadow', unit: 'TOKENS', window: 'LIFETIME', selector: a3, limit: 0n, dryRun: true },
    { name: 'a3 requests shadow', unit: 'REQUESTS', window: 'HOUR', selector: a3, limit: 20n, dryRun: true },
    { name: 'roomy usd', unit: 'USD', window: 'LIFETIME', selector: roomy, limit: plenty },
    { name: 'roomy requests a day', unit: 'REQUESTS', window: 'DAY', selector: roomy, limit: plenty },
    {
      name: 'review tokens a day',
      unit: 'TOKENS',
      window: 'DAY',
      selector: { workflow: 'review' },
      limit: 60_000n,
      step: 9_000n,
    },
    {
      name: 'resp usd in builds',
      unit: 'USD',
      window: 'LIFETIME',
      selector: { provider: 'resp', workflow: 'build' },
      limit: 4n * cent,
      step: 3n * cent,
    },
    { name: 'requests a run', unit: 'REQUESTS', window: 'RUN', selector: {}, limit: 600n, step: 15n },
  ];
  const budgets: ChaosBudget[] = [];
  for (const budget of wanted) budgets.push(await makeBudget(gate, budget));
  return { agents, budgets };
}

export async function makeBudget(gate: TestGate, wanted: NewChaosBudget): Promise<ChaosBudget> {
  const { name, unit, window, selector, limit, step = 0n, dryRun = false } = wanted;
  const { timeZone, zoneMs } = wanted.india === true ? india : { timeZone: 'UTC', zoneMs: 0 };
  const { budget } = await gate.api<{ budget: { id: string } }>('BudgetService/CreateBudget', {
    name,
    selector,
    unit: `BUDGET_UNIT_${unit}`,
    window: `BUDGET_WINDOW_${window}`,
    timeZone,
    mode: dryRun ? 'BUDGET_MODE_DRY_RUN' : 'BUDGET_MODE_ENFORCE',
    ...(limit !== null && { limitAmount: limit.toString() }),
  });
  return { id: budget.id, name, unit, window, selector, dryRun, zoneMs, limits: [{ at: -Infinity, limit }], step };
}

/** An operator gives every budget that is near its limit some more. A raise that fails may stand all the same. */
export async function raise(gate: TestGate, budgets: readonly ChaosBudget[]): Promise<void> {
  for (const { id, step, limits } of budgets) {
    const limit = limits.at(-1)?.limit ?? null;
    if (step === 0n || limit === null) continue;
    limits.push({ at: Date.now(), limit: limit + step });
    await gate.setLimit(id, limit + step);
  }
}

/** The highest limit that may have been in force by then; null where there is none. */
export function limitAt({ limits }: ChaosBudget, at: number): bigint | null {
  return limits.findLast((each) => each.at <= at)?.limit ?? null;
}
