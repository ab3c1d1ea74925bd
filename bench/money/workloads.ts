import type { Budget, BudgetSelector, Spender } from '../../server/src/budget/model.ts';

/** Whom a caller stands for; a project has one of each kind for every caller, but one person. */
type Ids = Readonly<Record<'personId' | 'agentId' | 'keyId' | 'runId', string>>;

/** A budget of each project, or one for each of its callers. */
export interface BudgetPlan {
  readonly of: 'project' | 'caller';
  readonly unit: Budget['unit'];
  readonly window: Budget['window'];
  /** The members by which it selects. */
  readonly by: readonly (keyof BudgetSelector)[];
}

export interface Workload {
  readonly name: (typeof workloadNames)[number];
  /** What the numbers of this workload say. */
  readonly about: string;
  readonly projects: number;
  readonly callersPerProject: number;
  readonly budgets: readonly BudgetPlan[];
  /** Calls at a time of each process. */
  readonly callersPerProcess: number;
  /** Every call is another caller's; otherwise each loop is one caller. */
  readonly scattered?: boolean;
  /** A caller begins a new run after so many calls. */
  readonly callsPerRun?: number;
  /** The limit in calls, where it is to be reached. */
  readonly limitCalls?: number;
}

export const workloadNames = ['none', 'spread', 'hot', 'alone', 'nested', 'runs', 'many', 'limit'] as const;

export const processes = 4;
/** What is held for each call, and what it then costs; a hold of tokens is as large in their number. */
export const worstAmount = 1_000n;
export const trueAmount = 600n;

const callersPerProcess = 64;
const whole: BudgetPlan = { of: 'project', unit: 'usd', window: 'month', by: [] };

export function workloads(smoke: boolean): readonly Workload[] {
  const one = { projects: 1, callersPerProject: processes * callersPerProcess, callersPerProcess };
  return [
    { name: 'none', about: 'no budget counts the calls', ...one, budgets: [] },
    {
      name: 'spread',
      about: 'a budget for each caller',
      ...one,
      budgets: [{ ...whole, of: 'caller', by: ['agentId'] }],
    },
    { name: 'hot', about: 'one budget counts every call', ...one, budgets: [whole] },
    {
      name: 'alone',
      about: 'one budget counts every call, one call at a time of each process',
      ...one,
      callersPerProcess: 1,
      budgets: [whole],
    },
    {
      name: 'nested',
      about: 'ten budgets count every call',
      ...one,
      budgets: [
        whole,
        { ...whole, unit: 'tokens', window: 'day' },
        { ...whole, by: ['personId'] },
        { ...whole, by: ['workflow'] },
        { ...whole, by: ['providerType'] },
        { ...whole, by: ['provider'], unit: 'requests', window: 'hour' },
        { ...whole, by: ['provider', 'model'] },
        { ...whole, of: 'caller', by: ['agentId'] },
        { ...whole, of: 'caller', by: ['keyId'] },
        { ...whole, of: 'caller', by: ['runId'], window: 'lifetime' },
      ],
    },
    {
      name: 'runs',
      about: 'one hot budget and one a run, a new run every ten calls',
      ...one,
      budgets: [whole, { ...whole, window: 'run' }],
      callsPerRun: 10,
    },
    {
      name: 'many',
      about: `each call on another of ${smoke ? '2,000' : '100,000'} budgets`,
      projects: smoke ? 2 : 100,
      callersPerProject: 1_000,
      callersPerProcess,
      budgets: [{ ...whole, of: 'caller', by: ['agentId'], window: 'lifetime' }],
      scattered: true,
    },
    {
      name: 'limit',
      about: 'twice as many calls as the one budget has room for',
      ...one,
      budgets: [{ ...whole, window: 'lifetime' }],
      limitCalls: smoke ? 500 : 5_000,
    },
  ];
}

/** The ids of one caller of a project. */
export function idsOf(projectId: string, caller: number | string): Ids {
  return {
    personId: `${projectId}_psn`,
    agentId: `${projectId}_agt_${caller}`,
    keyId: `${projectId}_key_${caller}`,
    runId: `${projectId}_run_${caller}`,
  };
}

export function projectIdOf(set: string, project: number | ''): string {
  return `prj_${set}_${project}`;
}

export function budgetIdOf(projectId: string, plan: number, number: number | ''): string {
  return `bud_${projectId}_${plan}_${number}`;
}

/** What all callers have in common. */
export const shared = { workflow: 'bench', providerType: 'api', provider: 'mock', model: 'mock-1' } as const;

/** Which of a caller's calls it is. */
export interface CallNumber {
  readonly round: number;
  readonly call: number;
}

/** The spender of a caller's call; `set` names the projects. */
export function spenderOf(workload: Workload, set: string, caller: number, { round, call }: CallNumber): Spender {
  const { projects, callersPerProject, scattered = false, callsPerRun } = workload;
  const project = scattered ? Math.floor(Math.random() * projects) : 0;
  const number = scattered ? Math.floor(Math.random() * callersPerProject) : caller;
  const projectId = projectIdOf(set, project);
  const ids = idsOf(projectId, number);
  const run = callsPerRun === undefined ? '' : `_${round}_${Math.floor(call / callsPerRun)}`;
  return { ...shared, projectId, teams: [], ...ids, runId: `${ids.runId}${run}` };
}
