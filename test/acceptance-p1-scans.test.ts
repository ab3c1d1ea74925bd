import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { methodTable } from '../server/src/api/methods.ts';
import { instanceBeatMs } from '../server/src/base/limits.ts';
import { createTestDatabase, queryAsOwner, type TestDatabase } from './support/database.ts';
import { bearer } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { gatherStatistics, grow } from './support/growth.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, mockConfiguration, post } from './support/models.ts';
import { type Cost, type CostReader, costOf, readCosts, type Statement } from './support/statement-costs.ts';

/** The hardening list, P1-05: what a call costs the database does not depend on what else is in it. */

const few = 30;
const many = { runs: 100_000, others: 20_000 };
const pageSize = 10;
/** Two pages of what has most to look up for each row. */
const rowsMax = 100;
const pagesMore = 60;

/** Somebody with one of everything, in a project of their own. */
interface Caller {
  readonly projectId: string;
  readonly secret: string;
  readonly principalId: string;
  readonly keyId: string;
  readonly agentId: string;
  readonly agentSecret: string;
  readonly budgetId: string;
  readonly killSwitchId: string;
  readonly taskId: string;
  /** With one call in it. */
  readonly runId: string;
  readonly busyRunId: string;
}

let database: TestDatabase;
let costs: CostReader;
let mock: MockUpstream;
let gate: TestGate | undefined;
const adminKey = 'scans-of-hot-paths-7q3w5e9r1t2y4u6i8o0p';

beforeAll(async () => {
  database = await createTestDatabase();
  mock = await startMockUpstream();
  costs = await readCosts(database);
});
afterAll(async () => {
  await gate?.stop();
  await costs?.close();
  await mock?.stop();
  await database?.drop();
});

async function startAnew(): Promise<TestGate> {
  await gate?.stop();
  // What rules saw is written in batches, at times of its own.
  const env = { DATABASE_URL: costs.url, ADMIN_API_KEY: adminKey, POLICY_RECORD_DAYS: '0' };
  gate = await startGate({ database, env, yaml: mockConfiguration(mock) });
  await summedUp();
  return gate;
}

/** What was grown is added up first, which costs what there is of it. */
async function summedUp(): Promise<void> {
  const look = async () => {
    const [row] = await queryAsOwner<{ busy: boolean }>(
      database,
      `SELECT EXISTS (SELECT FROM run_totals WHERE recount) OR EXISTS (
         SELECT FROM attempts AS a, rollup_watermarks AS w
         WHERE w.source = 'attempts' AND (a.tx_id, a.row_no) > (w.tx_id, w.row_no)) AS busy`,
    );
    expect(row?.busy).toBe(false);
  };
  await vi.waitFor(look, { timeout: 180_000, interval: 500 });
}

async function newCaller(at: TestGate, name: string): Promise<Caller> {
  const admin = <T>(method: string, body: object) => at.api<T>(method, body, adminKey);
  const { project } = await admin<{ project: { id: string } }>('ProjectService/CreateProject', { name });
  const projectId = project.id;
  const issue = (more: object) =>
    admin<{ key: { id: string }; secret: string }>('AgentService/CreateKey', { projectId, name, ...more });
  const { secret, key } = await issue({ kind: 'PRINCIPAL_KIND_OPERATOR', scopes: ['admin'] });
  const own = <T>(method: string, body: object) => at.api<T>(method, body, secret);
  const { agent } = await own<{ agent: { id: string } }>('AgentService/CreateAgent', { name: 'caller' });
  const scopes = ['models:invoke', 'runs:write', 'telemetry:write'];
  const ofAgent = await issue({ kind: 'PRINCIPAL_KIND_AGENT', agentId: agent.id, scopes });
  const limit = { unit: 'BUDGET_UNIT_USD', window: 'BUDGET_WINDOW_LIFETIME', limitAmount: '1000000000000' };
  const { budget } = await own<{ budget: { id: string } }>('BudgetService/CreateBudget', {
    name: 'own',
    selector: { agentId: agent.id },
    mode: 'BUDGET_MODE_ENFORCE',
    ...limit,
  });
  const rule = {
    name: 'never',
    actions: ['models.invoke'],
    condition: 'resource.name == "x"',
    effect: 'RULE_EFFECT_DENY',
  };
  const document = { rules: [rule], caps: [{ name: 'a cap', ...limit }] };
  await own('PolicyService/SetPolicy', { document, stage: 'POLICY_STAGE_ENFORCED' });
  const engaged = { scope: 'KILL_SCOPE_MODEL', value: 'never', reason: 'test' };
  const { killSwitch } = await own<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', engaged);
  for (const label of ['one', 'two']) {
    const version = { workflow: 'own flow', label, content: label };
    await own('AnalyticsService/RegisterPromptVersion', version);
  }
  await own('AnalyticsService/PublishWorkflow', { workflow: 'own flow', title: name });
  const { task } = await own<{ task: { id: string } }>('JournalService/CreateTask', { title: 'own' });
  const runId = await startRun(at, ofAgent.secret, 'quiet flow');
  await callModel(at, { agentSecret: ofAgent.secret, busyRunId: runId });
  const { principal } = await own<{ principal: { id: string } }>('SystemService/GetSelf', {});
  return {
    projectId,
    secret,
    principalId: principal.id,
    keyId: key.id,
    agentId: agent.id,
    agentSecret: ofAgent.secret,
    budgetId: budget.id,
    killSwitchId: killSwitch.id,
    taskId: task.id,
    runId,
    busyRunId: await startRun(at, ofAgent.secret),
  };
}

async function startRun(at: TestGate, secret: string, workflow = 'own flow'): Promise<string> {
  const { run } = await at.api<{ run: { id: string } }>('RunService/StartRun', { workflow }, secret);
  return run.id;
}

/** What is measured, and what must be there before. */
interface Operation {
  readonly prepare?: (at: TestGate, caller: Caller) => Promise<string>;
  readonly call: (at: TestGate, caller: Caller, prepared: string) => Promise<unknown>;
}

const none = () => ({});

/** A read by its method, with the request that it needs. */
function read(method: string, request: (caller: Caller) => object = none, which = ''): [string, Operation] {
  return [method + which, { call: (at, caller) => at.api(method, request(caller), caller.secret) }];
}

/** The first two pages of a list. */
function list(method: string, request: (caller: Caller) => object = none, which = ''): [string, Operation] {
  return [
    method + which,
    {
      call: async (at, caller) => {
        const page = (pageToken: string) =>
          at.api<{ nextPageToken: string }>(method, { ...request(caller), pageSize, pageToken }, caller.secret);
        const { nextPageToken } = await page('');
        if (nextPageToken !== '') await page(nextPageToken);
      },
    },
  ];
}

/** Finds the days of a project among those of all that were billed, which are few, and bounded by a first day. */
const projectDays = 'ReconciliationService/ListProjectDays';

/** Tell of days by the catalog, which has more rows than {@link rowsMax}; none is over, whose rows they would count. */
const daysReads = ['AnalyticsService/GetLedgerRetention', 'AnalyticsService/GetTelemetryRetention'];

/** Minutes, hours and days; the same in all measurements, so that statements are. */
const midnight = new Date().setUTCHours(0, 0, 0, 0);
const fixedWindow = {
  startTime: new Date(midnight - 90 * 60_000).toISOString(),
  endTime: new Date(midnight + 86_400_000).toISOString(),
};

const reads: readonly [string, Operation][] = [
  list('AgentService/ListAgents'),
  read('AgentService/GetAgent', ({ agentId }) => ({ agentId })),
  list('AgentService/ListKeys'),
  list('AgentService/ListSigningKeys', ({ keyId }) => ({ keyId })),
  list('ProjectService/ListProjects'),
  list('ProjectService/ListPeople'),
  list('ProjectService/ListTeams'),
  list('ProjectService/ListSessions'),
  list('ProjectService/ListSessions', () => ({ own: true }), ', own'),
  list('ProjectService/ListLogins'),
  list('ProjectService/ListLogins', () => ({ own: true }), ', own'),
  list('BudgetService/ListBudgets'),
  read('BudgetService/GetBudget', ({ budgetId }) => ({ budgetId })),
  list('BudgetService/ListBudgetNotices'),
  list('BudgetService/ListBudgetNotices', ({ budgetId }) => ({ budgetId }), ', of a budget'),
  list('BudgetService/ListLeasePostings'),
  list('BudgetService/ListLeasePostings', ({ budgetId }) => ({ budgetId }), ', of a budget'),
  read('PolicyService/GetKillSwitch', ({ killSwitchId }) => ({ killSwitchId })),
  list('PolicyService/ListKillSwitches'),
  list('PolicyService/ListKillAcknowledgements', ({ killSwitchId }) => ({ killSwitchId })),
  read('PolicyService/GetPolicy'),
  list('PolicyService/ListPolicyVersions'),
  read('PolicyService/ListRules'),
  read('PolicyService/ListPolicyCaps'),
  read('RunService/GetRun', ({ runId }) => ({ runId })),
  list('RunService/ListRuns'),
  list('RunService/ListRuns', ({ agentId }) => ({ agentId, state: 'RUN_STATE_SUCCEEDED' }), ', of an agent in a state'),
  list('RunService/ListRuns', () => ({ workflow: 'no flow' }), ', of a workflow with none'),
  list('RunService/ListRunEvents', ({ runId }) => ({ runId })),
  list('RunService/ListPromptAttempts'),
  list('RunService/ListPromptAttempts', ({ agentId }) => ({ agentId }), ', of an agent'),
  read('JournalService/GetTask', ({ taskId }) => ({ taskId })),
  list('JournalService/ListTasks'),
  list('JournalService/ListTasks', () => ({ status: 'TASK_STATUS_BLOCKED' }), ', of a status'),
  list('JournalService/ListNotes'),
  list('JournalService/ListChangelog'),
  list('JournalService/ListChangelog', () => ({ category: 'CHANGELOG_CATEGORY_POLICY' }), ', of a category'),
  list('JournalService/ListBenchmarks'),
  list('JournalService/ListBenchmarks', () => ({ workflow: 'flow 1' }), ', of a workflow'),
  list('AnalyticsService/ListAttempts'),
  list('AnalyticsService/ListAttempts', ({ agentId }) => ({ filter: { agentId } }), ', of an agent'),
  list('AnalyticsService/ListAttempts', ({ runId }) => ({ filter: { runId } }), ', of a run'),
  list('AnalyticsService/ListHolds'),
  read('AnalyticsService/GetPromptVersion', () => ({ workflow: 'own flow', version: 'one' })),
  list('AnalyticsService/ListPromptVersions'),
  list('AnalyticsService/ListPromptVersions', () => ({ workflow: 'own flow' }), ', of a workflow'),
  list('AnalyticsService/ListRunRatings', ({ runId }) => ({ runId })),
  list('AnalyticsService/ListRunEvaluations', ({ runId }) => ({ runId })),
  read('AnalyticsService/GetLeaderboard', () => ({ workflow: 'own flow' })),
  read('AnalyticsService/GetUsage', ({ runId }) => ({ groupBy: 'USAGE_GROUP_MODEL', filter: { runId } }), ', of a run'),
  read('AnalyticsService/GetTelemetrySummary', () => ({ workflow: 'quiet flow', ...fixedWindow }), ', of a workflow'),
  ...daysReads.map((method) => read(method)),
  read('AnalyticsService/GetPublicLeaderboard'),
  read('AnalyticsService/ComparePromptVersions', () => ({ workflow: 'own flow', first: 'one', second: 'two' })),
  list('AnalyticsService/ListRankedWorkflows'),
  list('AnalyticsService/ListPublishedWorkflows'),
  list('ReconciliationService/ListReconciledDays'),
  list('ReconciliationService/ListBillImports'),
  list(projectDays),
  read('SystemService/GetSelf'),
];

/** A watch is measured where it looks (run-scans.test.ts); an export reads all that there is. */
const streams = ['RunService/WatchRun', 'ExportService/ExportState'];

/** Judges anew the calls that were recorded in a span of time, which is what it costs. */
const simulation = 'PolicyService/SimulatePolicy';

async function callModel(
  at: TestGate,
  { agentSecret, busyRunId }: Pick<Caller, 'agentSecret' | 'busyRunId'>,
  more: Record<string, string> = {},
): Promise<void> {
  const { path, model } = doors.anthropic;
  const headers = { ...bearer(agentSecret), 'x-portcullis-run': busyRunId, ...more };
  const { status, body } = await post(at, path, ask(model), headers);
  expect(status, body.toString()).toBe(200);
}

let keys = 0;
async function write(at: TestGate, method: string, body: object, secret: string): Promise<void> {
  const headers = { 'content-type': 'application/json', ...bearer(secret), 'idempotency-key': `scan-${++keys}` };
  const answer = await fetch(`${at.url}/portcullis.v1.${method}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  expect(answer.status, await answer.text()).toBe(200);
}

const outcome = 'RUN_STATE_SUCCEEDED';
const writes: readonly [string, Operation][] = [
  ['RunService/StartRun', { call: (at, { agentSecret }) => startRun(at, agentSecret) }],
  [
    'RunService/StartRun, once',
    { call: (at, { agentSecret }) => write(at, 'RunService/StartRun', { workflow: 'own flow' }, agentSecret) },
  ],
  [
    'RunService/FinishRun',
    {
      prepare: (at, { agentSecret }) => startRun(at, agentSecret),
      call: (at, { agentSecret }, runId) => at.api('RunService/FinishRun', { runId, outcome }, agentSecret),
    },
  ],
  [
    'RunService/FinishRun, once',
    {
      prepare: (at, { agentSecret }) => startRun(at, agentSecret),
      call: (at, { agentSecret }, runId) => write(at, 'RunService/FinishRun', { runId, outcome }, agentSecret),
    },
  ],
  [
    'JournalService/UpdateTask',
    {
      call: (at, { taskId, secret }) =>
        at.api('JournalService/UpdateTask', { taskId, title: `own ${++keys}`, updateMask: 'title' }, secret),
    },
  ],
  [
    'RunService/RecordRunEvents',
    {
      call: (at, { agentSecret, busyRunId: runId }) =>
        at.api('RunService/RecordRunEvents', { runId, events: [{ type: 'step' }, { type: 'step' }] }, agentSecret),
    },
  ],
  [
    'RunService/RecordPromptAttempt',
    {
      call: (at, { agentSecret, busyRunId: runId }) => {
        const told = { clientId: `scan-${++keys}`, runId, provider: 'claude', model: 'claude-1' };
        const when = { outcome: 'ATTEMPT_OUTCOME_SUCCESS', startTime: new Date().toISOString() };
        return at.api('RunService/RecordPromptAttempt', { ...told, ...when }, agentSecret);
      },
    },
  ],
  ['a model call', { call: (at, caller) => callModel(at, caller) }],
  ['a model call, once', { call: (at, caller) => callModel(at, caller, { 'idempotency-key': `scan-${++keys}` }) }],
];

interface Measured extends Cost {
  readonly texts: readonly string[];
  /** Of those that are measured one by one: the one that looked at the most rows. */
  readonly dearest?: string | undefined;
}

const looksOfFeed = 'SELECT version, clock_timestamp() AS now FROM control_version';

interface Taken {
  readonly requests: Statement[];
  readonly feed: Statement[];
  readonly background: Statement[];
}

/**
 * What was run since the last call: by the requests, by what keeps control state new, which reads what a write changed, and by
 * what sums up in the background, which has a connection of its own and says so.
 */
function takeCosts(): Taken {
  const taken = costs.take();
  for (const { text, connection } of taken) if (text === looksOfFeed) feedConnections.add(connection);
  const by = ({ connection, application }: Statement): keyof Taken => {
    if (application === 'portcullis background') return 'background';
    return feedConnections.has(connection) ? 'feed' : 'requests';
  };
  const { requests = [], feed = [], background = [] } = Object.groupBy(taken, by);
  return { requests, feed, background };
}

const feedConnections = new Set<number>();

/** Sums up what was recorded since its last turn, a second's worth, and that is all that its statements may cost. */
const inBackground = 'a statement in the background';
const backgroundRowsMax = 500;
const daysMore = 10;

/** How often each operation is measured: what the gate does besides, at times of its own, only adds to what that cost. */
const times = 4;

/** A small table is read whole, a large one by its index; what was written while measuring is there the next time. */
function rowsAllowed(name: string, rowsAmongFew: number): number {
  if (name === inBackground) return backgroundRowsMax;
  // The catalog has the day that begins meanwhile too.
  if (daysReads.includes(name)) return rowsAmongFew + daysMore;
  return Math.min(Math.max(rowsAmongFew, times * writes.length), rowsMax);
}

/** What an operation cost at the least of some {@link times}, and what was run aside from it. */
async function measure(
  at: TestGate,
  caller: Caller,
  { prepare, call }: Operation,
  aside: Pick<Taken, 'feed' | 'background'>,
): Promise<Measured> {
  const taken: Measured[] = [];
  for (let time = 0; time < times; time++) {
    const prepared = (await prepare?.(at, caller)) ?? '';
    takeCosts();
    await call(at, caller, prepared);
    const run = takeCosts();
    taken.push({ ...costOf(run.requests), texts: run.requests.map(({ text }) => text) });
    aside.feed.push(...run.feed);
    aside.background.push(...run.background);
  }
  const least = (of: 'rows' | 'pages') => Math.min(...taken.map((cost) => cost[of]));
  const texts = taken
    .map((cost) => cost.texts)
    .reduce(inBoth)
    .toSorted();
  return { statements: texts.length, rows: least('rows'), pages: least('pages'), texts };
}

/** The texts of `first` that are also in `second`, each as often as in both. */
function inBoth(first: readonly string[], second: readonly string[]): string[] {
  return without(first, without(first, second));
}

/** The texts of `first` that are left when each of `second` took one away. */
function without(first: readonly string[], second: readonly string[]): string[] {
  const left = [...second];
  return first.filter((text) => {
    const at = left.indexOf(text);
    if (at !== -1) left.splice(at, 1);
    return at === -1;
  });
}

/** The dearest of some statements. */
function dearest(statements: readonly Statement[]): Measured {
  const most = (of: 'rows' | 'pages') => Math.max(0, ...statements.map((statement) => statement[of]));
  const rows = most('rows');
  const text = statements.find((statement) => statement.rows === rows)?.text;
  return { statements: 1, rows, pages: most('pages'), texts: [], dearest: text };
}

async function measureAll(at: TestGate, caller: Caller): Promise<Map<string, Measured>> {
  const measured = new Map<string, Measured>();
  const aside: Pick<Taken, 'feed' | 'background'> = { feed: [], background: [] };
  for (const [name, operation] of [...reads, ...writes])
    measured.set(name, await measure(at, caller, operation, aside));
  measured.set('a statement of the control feed', dearest(aside.feed));
  takeCosts();
  const idle = async () => {
    await sleep(instanceBeatMs + 1_000);
    return takeCosts();
  };
  const [first, second] = [await idle(), await idle()];
  // What is done once a minute, such as deleting, is in one of them at most.
  const again = new Set(second.requests.map(({ text }) => text));
  const background = [...first.background, ...second.background];
  measured.set('a statement between calls', dearest(first.requests.filter(({ text }) => again.has(text))));
  measured.set(inBackground, dearest([...aside.background, ...background]));
  return measured;
}

it('P1-05: reads, lists and hot writes cost as many statements and rows beside 100,000 runs as beside a few', async () => {
  const listed = new Set([...reads.map(([name]) => name.split(',')[0]), simulation, ...streams]);
  const allReads = methodTable().filter(({ access }) => access !== 'write');
  expect(listed).toEqual(new Set(allReads.map(({ path }) => path.replace('/portcullis.v1.', ''))));

  const first = await startAnew();
  const large = await newCaller(first, 'large');
  const small = await newCaller(first, 'small');
  await first.end();
  await grow(database, { ...small, era: '10', runs: few, others: few });
  await grow(database, { ...large, era: '50', runs: few, others: few });
  await gatherStatistics(database);
  const before = await measureAll(await startAnew(), large);
  await gate?.end();
  await grow(database, { ...large, era: '60', ...many });
  await gatherStatistics(database);
  const full = await startAnew();
  const after = await measureAll(full, large);
  const beside = await measureAll(full, small);

  const rows = [...before].map(([name, cost]) => {
    const [grown = cost, neighbour = cost] = [after.get(name), beside.get(name)];
    const three = (of: keyof Cost) => `${cost[of]} ${grown[of]} ${neighbour[of]}`;
    return { name, statements: three('statements'), rows: three('rows'), pages: three('pages') };
  });
  console.log(
    'Among few; among 100,000 runs and 20,000 of all else; few of their own beside all these of somebody else:',
  );
  console.table(rows);
  const faults: string[] = [];
  for (const [name, small] of before) {
    for (const [where, cost = small] of [
      ['among many', after.get(name)],
      ['beside many', beside.get(name)],
    ] as const) {
      if (name === projectDays && where === 'beside many') continue;
      const fault = (of: string) => faults.push(`${name} ${where}: ${of}${cost.dearest ? `: ${cost.dearest}` : ''}`);
      const [more, fewer] = [without(cost.texts, small.texts), without(small.texts, cost.texts)];
      if (more.length + fewer.length > 0) fault(`more: ${more.join('; ')}; fewer: ${fewer.join('; ')}`);
      const allowed = rowsAllowed(name, small.rows);
      if (cost.rows > allowed) fault(`${cost.rows} rows, ${allowed} allowed`);
      // Trees are deeper, and rows further apart.
      const pages = small.pages + 3 * (name === inBackground ? backgroundRowsMax : cost.rows) + pagesMore;
      if (cost.pages > pages) fault(`${cost.pages} pages, ${pages} allowed`);
    }
  }
  expect(faults).toEqual([]);
}, 500_000);
