import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../server/src/base/clock.ts';
import { newId } from '../server/src/base/ids.ts';
import { eventsLookedAtMax } from '../server/src/base/telemetry-limits.ts';
import { BudgetService } from '../server/src/budget/budget-service.ts';
import type { Page } from '../server/src/identity/page.ts';
import { createPool } from '../server/src/pg/pool.ts';
import { KillIndex } from '../server/src/policy/kill-index.ts';
import { RunEvents } from '../server/src/run/events.ts';
import type { RunFilter } from '../server/src/run/list-filter.ts';
import { listRuns } from '../server/src/run/list.ts';
import { PromptAttempts } from '../server/src/run/prompt-attempts.ts';
import { RunService } from '../server/src/run/service.ts';
import { lookAt } from '../server/src/run/watch-store.ts';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from './support/database.ts';
import { gatherStatistics } from './support/growth.ts';
import { judgeOf } from './support/policy.ts';
import { agentCaller, makeAgents, operatorCaller, projectId } from './support/runs.ts';
import { type CostReader, costOf, readCosts } from './support/statement-costs.ts';

/** What lists and reads of runs cost does not depend on how many runs there are, nor on how few of them a filter matches. */

const few = 30;
const many = 100_000;
const pageSize = 10;

let db: TestDatabase;
let costs: CostReader;
let pool: TestDatabase['pool'];
const busyRun = newId('run');
const everything: RunFilter = {
  projectId,
  agentId: null,
  workflow: null,
  state: null,
  promptVersion: null,
  taskId: null,
  from: null,
  to: null,
};
const digest = 'a'.repeat(64);
const rareDigest = 'b'.repeat(64);

beforeAll(async () => {
  db = await createTestDatabase();
  await makeAgents(db);
  costs = await readCosts(db);
  pool = createPool({ ...testBounds, connectionString: costs.url, max: 1 });
  // What each rare filter matches is older than all else.
  await writeRuns(db, 'prj_a', 'agt_1', '01', 3, "'rare', 'failed', 'rare task', repeat('b', 64)");
  await writeRuns(db, 'prj_a', 'agt_2', '02', 3, "'w', 'succeeded', 'task', repeat('a', 64)");
  await queryAsOwner(
    db,
    `INSERT INTO runs (id, project_id, agent_id, workflow, control_version) VALUES ($1, 'prj_a', 'agt_1', 'busy', 1)`,
    [busyRun],
  );
  await grow(db, '10', few);
});
afterAll(async () => {
  await pool?.end();
  await costs?.close();
  await db?.drop();
});

/** @param values workflow, state, task and version in SQL */
function writeRuns(at: TestDatabase, project: string, agent: string, era: string, runs: number, values: string) {
  return queryAsOwner(
    at,
    `INSERT INTO runs (id, project_id, agent_id, finished_at, control_version, workflow, state, task_id, prompt_version)
     SELECT 'run_00' || $3::text || lpad(n::text, 22, '0'), $1, $2, now(), 1, ${values}
     FROM generate_series(1, $4::int) AS n`,
    [project, agent, era, runs],
  );
}

/** Runs of ours, and of a neighbour for whom what is rare here is all that there is; with all that is told of them. */
async function grow(at: TestDatabase, era: string, runs: number): Promise<void> {
  await writeRuns(at, 'prj_a', 'agt_1', era, runs, "'w', 'succeeded', 'task', repeat('a', 64)");
  await writeRuns(at, 'prj_b', 'agt_b', `9${era}`, runs, "'rare', 'failed', 'rare task', repeat('b', 64)");
  await queryAsOwner(
    at,
    `INSERT INTO run_totals (run_id, project_id) SELECT id, project_id FROM runs WHERE id LIKE 'run_00%' ON CONFLICT DO NOTHING`,
  );
  await queryAsOwner(
    at,
    `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at, tx_id)
     SELECT 'evt_' || substr($1::text, 5, 10) || $2 || lpad(n::text, 14, '0'), 'prj_a', 'agt_1',
       CASE WHEN n <= $3::int / 2 THEN $1 ELSE 'run_00' || $2 || lpad(n::text, 22, '0') END, 'step', 'info', 'said', now(), n
     FROM generate_series(1, $3::int) AS n`,
    [busyRun, era, runs],
  );
  await queryAsOwner(
    at,
    `INSERT INTO provisional_attempts (id, project_id, agent_id, run_id, client_id, call_id, fingerprint, provider, model,
       tokens_input, tokens_output, tokens_cache_read, tokens_cache_write, cost_nanousd, outcome, started_at)
     SELECT 'prv_00' || $1::text || lpad(n::text, 22, '0'), 'prj_a', CASE WHEN n <= 2 THEN 'agt_2' ELSE 'agt_1' END,
       CASE WHEN n <= 2 THEN $3 END, $1 || n, $1 || n, sha256(n::text::bytea), 'p', 'm', 1, 1, 0, 0, 1, 'success', now()
     FROM generate_series(1, $2::int) AS n`,
    [era, runs, busyRun],
  );
  await gatherStatistics(at);
}

/** The first two pages. */
async function twoPages(list: (cursor: string | null) => Promise<Page<unknown>>): Promise<void> {
  const { nextCursor } = await list(null);
  if (nextCursor !== null) await list(nextCursor);
}

const lists: readonly (readonly [string, Partial<RunFilter>])[] = [
  ['all', {}],
  ['of an agent', { agentId: 'agt_1' }],
  ['of an agent with few', { agentId: 'agt_2' }],
  ['of an agent of others', { agentId: 'agt_b' }],
  ['of a workflow', { workflow: 'w' }],
  ['of a workflow with few', { workflow: 'rare' }],
  ['of a workflow with none', { workflow: 'none' }],
  ['in a state', { state: 'succeeded' }],
  ['in a state of few', { state: 'failed' }],
  ['in a state of none', { state: 'cancelled' }],
  ['of a task', { taskId: 'task' }],
  ['of a task with few', { taskId: 'rare task' }],
  ['of a workflow in a state', { workflow: 'w', state: 'succeeded' }],
  ['of a workflow in a state of few', { workflow: 'rare', state: 'failed' }],
  ['of a workflow in a state of none', { workflow: 'w', state: 'failed' }],
  ['of a version', { workflow: 'w', promptVersion: digest }],
  ['of a version with few', { workflow: 'rare', promptVersion: rareDigest }],
  ['of a version with none', { workflow: 'w', promptVersion: rareDigest }],
  ['of an agent and workflow', { agentId: 'agt_1', workflow: 'w' }],
  ['of an agent and workflow with few', { agentId: 'agt_1', workflow: 'rare' }],
  ['of an agent in a state', { agentId: 'agt_1', state: 'succeeded' }],
  ['of an agent in a state of few', { agentId: 'agt_1', state: 'failed' }],
  ['of an agent and task', { agentId: 'agt_1', taskId: 'task' }],
  ['of an agent and task with few', { agentId: 'agt_1', taskId: 'rare task' }],
  ['that started long ago', { to: Date.now() - 86_400_000 * 365 }],
  ['of few that started lately', { workflow: 'rare', from: Date.now() - 86_400_000 }],
];

function operations(): readonly (readonly [string, () => Promise<unknown>])[] {
  const runs = new RunService(pool, Date.now, new KillIndex(), new BudgetService(pool, Date.now), judgeOf());
  const events = new RunEvents(pool, Date.now);
  const attempts = new PromptAttempts(pool, systemClock);
  const ofEvents = (question: object) => () =>
    twoPages((cursor) => {
      const asked = { type: null, level: null, from: null, to: null, ...question };
      return events.list(operatorCaller, { id: busyRun, projectId }, asked, { pageSize, cursor });
    });
  const ofAttempts = (filter: object) => () =>
    twoPages((cursor) => {
      const asked = { projectId, agentId: null, runId: null, from: null, to: null, ...filter };
      return attempts.list(operatorCaller, asked, { pageSize, cursor });
    });
  return [
    ...lists.map(
      ([name, filter]) =>
        [
          `ListRuns ${name}`,
          () =>
            twoPages((cursor) => listRuns(pool, operatorCaller, { ...everything, ...filter }, { pageSize, cursor })),
        ] as const,
    ),
    ['ListRuns of oneself', () => listRuns(pool, agentCaller('agt_2'), everything, { pageSize, cursor: null })],
    ['GetRun', () => runs.get(operatorCaller, { id: busyRun, projectId })],
    ['ListRunEvents', ofEvents({})],
    ['ListRunEvents of a time', ofEvents({ to: Date.now() + 60_000 })],
    ['ListPromptAttempts', ofAttempts({})],
    ['ListPromptAttempts of an agent', ofAttempts({ agentId: 'agt_1' })],
    ['ListPromptAttempts of an agent with few', ofAttempts({ agentId: 'agt_2' })],
    ['ListPromptAttempts of an agent of others', ofAttempts({ agentId: 'agt_b' })],
    ['ListPromptAttempts of a run', ofAttempts({ runId: busyRun })],
    ['ListPromptAttempts of a run with none', ofAttempts({ runId: 'run_none' })],
    ['a look for those who watch', () => lookAt(pool, [busyRun], 1_000_000n, Date.now())],
    [
      'RecordRunEvents',
      () =>
        events.recordAll(agentCaller('agt_1'), { id: busyRun, projectId }, [
          { type: 'step', level: 'info', message: '', data: null, occurredAt: null, clientId: null },
        ]),
    ],
  ];
}

/** As it is where gates run: they count the events, and nobody else has to. */
async function countedLately(): Promise<void> {
  await queryAsOwner(db, 'UPDATE rollup_watermarks SET read_at = now()');
}

async function measure(): Promise<Map<string, { texts: string[]; rows: number; pages: number }>> {
  const measured = new Map<string, { texts: string[]; rows: number; pages: number }>();
  await countedLately();
  for (const [name, run] of operations()) {
    costs.take();
    await run();
    const taken = costs.take();
    measured.set(name, { ...costOf(taken), texts: taken.map(({ text }) => text) });
  }
  return measured;
}

test('lists and reads of runs cost the same statements and rows beside 100,000 runs as beside a few', async () => {
  const before = await measure();
  await grow(db, '50', many);
  const after = await measure();
  console.table(
    [...before].map(([name, cost]) => {
      const grown = after.get(name) ?? cost;
      const two = (of: 'rows' | 'pages') => `${cost[of]} ${grown[of]}`;
      return { name, statements: `${cost.texts.length} ${grown.texts.length}`, rows: two('rows'), pages: two('pages') };
    }),
  );
  for (const [name, small] of before) {
    const large = after.get(name);
    expect(large?.texts, name).toEqual(small.texts);
    // Of few rows all are read; an index reads those that are wanted.
    expect(large?.rows, name).toBeLessThanOrEqual(Math.max(small.rows, 5 * pageSize));
    expect(large?.pages, name).toBeLessThanOrEqual(small.pages + 5 * (large?.rows ?? 0) + 60);
  }
}, 300_000);

test('a filter that no event of a long run matches looks at so many events a page, and says where to go on', async () => {
  const events = new RunEvents(pool, Date.now);
  const question = { type: 'rare', level: null, from: null, to: null };
  costs.take();
  const page = await events.list(operatorCaller, { id: busyRun, projectId }, question, { pageSize, cursor: null });
  expect(page.items).toEqual([]);
  expect(page.nextCursor).toMatch(/^evt_/);
  expect(costOf(costs.take()).rows).toBeLessThanOrEqual(2 * eventsLookedAtMax + 10);
}, 60_000);
