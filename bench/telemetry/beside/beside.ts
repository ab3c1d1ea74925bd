import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Pool } from 'pg';
import { type Child, startChild } from '../../harness/children.ts';
import type { BenchOptions } from '../../harness/result.ts';
import { workloads } from '../../models/workloads.ts';
import { budgets } from '../../targets/gate.ts';
import { type Gate, type GateOptions, startGate } from '../gates.ts';
import { doorOf } from '../measure-reads.ts';
import type { Notebook } from '../notebook.ts';
import { eventsOf, newTellers, uniqueName } from '../tellers.ts';
import { Meter, replicaName } from './meter.ts';
import { type Loads, playRound, roundSample, type State, states } from './rounds.ts';

/**
 * Who takes the events: the gate that answers the models' calls, everything on one core; or a second replica, which works,
 * with its connections to the database, on the load's cores: what they then share is the database and its disk.
 */
export const arrangements = ['same-process', 'second-replica'] as const;
export const besideWorkload = 'beside-models';

const eventsPerS = 10_000;
const batchEvents = 500;
const concurrency = 4;

/** What is already running. */
export interface Stage {
  readonly gate: Gate;
  readonly databasePid: number;
  readonly client: Child;
  readonly pool: Pool;
  readonly gateOptions: GateOptions;
}

/** The main workload of the models benchmark while events come in at a rate, and while none do, by turns. */
export async function measureBeside(stage: Stage, notebook: Notebook, options: BenchOptions): Promise<void> {
  const { rounds, smoke, durationS } = options;
  const { gate, client, pool, databasePid } = stage;
  const databaseUrl = new URL(stage.gateOptions.databaseUrl);
  databaseUrl.searchParams.set('application_name', replicaName);
  const replica = await startGate('replica', 'load', { ...stage.gateOptions, databaseUrl: databaseUrl.href });
  const load = startChild([process.execPath, fileURLToPath(new URL('../../load/main.ts', import.meta.url))], {
    name: 'the load of the models',
    side: 'load',
    logFile: join(options.directory, 'load.log'),
    talks: true,
  });
  const models = { kind: 'closed_loop', url: gate.url, concurrency: 32, ...(await modelsCall(gate, options)) } as const;
  const times = smoke ? { warmupMs: 300, durationMs: 500 } : { warmupMs: 2_000, durationMs: durationS * 2_000 };
  const chosen = arrangements.filter((each) => options.targets.includes(each));
  const meter = new Meter(pool, { modelsGate: gate.pid, replica: replica.pid, database: databasePid });
  for (let round = smoke ? 1 : 0; round <= rounds; round += 1) {
    for (const arrangement of chosen) {
      await notebook.attempt(`${arrangement}: ${besideWorkload}`, async () => {
        const taker = arrangement === 'same-process' ? gate : replica;
        const runs = await newTellers(taker, arrangement);
        const job = {
          kind: 'ingest',
          ...doorOf(taker, 'connect'),
          runs,
          batchEvents,
          concurrency,
          eventsPerS,
        } as const;
        const loads: Loads = { load, client, models, events: job, meter };
        let events = 0;
        // Every other round begins at the other end: what drifts hits all.
        for (const state of round % 2 === 0 ? states : states.toReversed()) {
          const played = await playRound(state, loads, times);
          events += played.events?.told ?? 0;
          gate.alive();
          replica.alive();
          // Round 0 is there for compilers and caches.
          if (round > 0) notebook.add(arrangement, workloadOf(state), roundSample(played));
        }
        const missing_rows = events - (await eventsOf(pool, runs));
        if (round > 0) notebook.add(arrangement, 'beside: kept', { missing_rows });
      });
    }
  }
  await meter.stop();
  await replica.stop();
  await load.stop();
}

export function workloadOf(state: State): string {
  return { models: 'beside: models alone', both: 'beside: models and events', events: 'beside: events alone' }[state];
}

/** The call of the models benchmark's main workload, by an agent of its own, on the budgets of that benchmark. */
async function modelsCall(gate: Gate, options: BenchOptions) {
  // Data that was kept has them from the last time.
  const { budgets: known = [] } = await gate.api<{ budgets?: { budget: { name: string } }[] }>(
    'BudgetService/ListBudgets',
    {},
  );
  const names = new Set(known.map(({ budget }) => budget.name));
  for (const budget of budgets.filter(({ name }) => !names.has(name)))
    await gate.api('BudgetService/CreateBudget', { ...budget, mode: 'BUDGET_MODE_ENFORCE' });
  const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
    name: uniqueName('models'),
  });
  const { secret } = await gate.api<{ secret: string }>('AgentService/CreateKey', {
    agentId: agent.id,
    name: 'models',
    kind: 'PRINCIPAL_KIND_AGENT',
    scopes: ['models:invoke'],
  });
  const [small] = workloads(options);
  if (small === undefined) throw new Error('the models benchmark has no workload');
  const { path, body } = small.request;
  return { path, body, headers: { authorization: `Bearer ${secret}` } };
}
