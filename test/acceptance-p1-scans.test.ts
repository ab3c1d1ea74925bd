import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { methodTable } from '../server/src/api/methods.ts';
import { instanceBeatMs } from '../server/src/base/limits.ts';
import { createTestDatabase, type TestDatabase } from './support/database.ts';
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
  return gate;
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
  const runId = await startRun(at, ofAgent.secret);
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
    runId,
    busyRunId: await startRun(at, ofAgent.secret),
  };
}

async function startRun(at: TestGate, secret: string): Promise<string> {
  const { run } = await at.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'own flow' }, secret);
  return run.id;
}

/** What is measured, and what must be there before. */
interface Operation {
  readonly prepare?: (at: TestGate, caller: Caller) => Promise<string>;
  readonly call: (at: TestGate, caller: Caller, prepared: string) => Promise<unknown>;
}

const none = () => ({});

/** A read by its method, with the request that it needs. */
function read(method: string, request: (caller: Caller) => object = none): [string, Operation] {
  return [method, { call: (at, caller) => at.api(method, request(caller), caller.secret) }];
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
  list('AnalyticsService/ListAttempts'),
  list('AnalyticsService/ListAttempts', ({ agentId }) => ({ filter: { agentId } }), ', of an agent'),
  list('AnalyticsService/ListAttempts', ({ runId }) => ({ filter: { runId } }), ', of a run'),
  list('AnalyticsService/ListHolds'),
  list('ReconciliationService/ListReconciledDays'),
  list('ReconciliationService/ListBillImports'),
  list(projectDays),
  list('ReconciliationService/ListProvisional'),
  read('SystemService/GetSelf'),
];

/** Reads that add up a span of time, which is what they cost: nothing waits for them. */
const sums = ['AnalyticsService/GetUsage', 'AnalyticsService/GetLedgerRetention', 'PolicyService/SimulatePolicy'];

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
    'ReconciliationService/RecordPromptAttempt',
    {
      call: (at, { agentSecret, busyRunId: runId }) => {
        const told = { clientId: `scan-${++keys}`, runId, provider: 'claude', model: 'claude-1' };
        const when = { outcome: 'ATTEMPT_OUTCOME_SUCCESS', startTime: new Date().toISOString() };
        return at.api('ReconciliationService/RecordPromptAttempt', { ...told, ...when }, agentSecret);
      },
    },
  ],
  ['a model call', { call: (at, caller) => callModel(at, caller) }],
  ['a model call, once', { call: (at, caller) => callModel(at, caller, { 'idempotency-key': `scan-${++keys}` }) }],
];

interface Measured extends Cost {
  readonly texts: readonly string[];
}

const looksOfFeed = 'SELECT version, clock_timestamp() AS now FROM control_version';

/** What was run since the last call, by the requests and by what keeps control state new, which reads what a write changed. */
function takeCosts(): { readonly requests: Statement[]; readonly feed: Statement[] } {
  const taken = costs.take();
  for (const { text, connection } of taken) if (text === looksOfFeed) feedConnections.add(connection);
  const { requests = [], feed = [] } = Object.groupBy(taken, ({ connection }) =>
    feedConnections.has(connection) ? 'feed' : 'requests',
  );
  return { requests, feed };
}

const feedConnections = new Set<number>();

/** The least that an operation cost of some times: what the gate does besides, at times of its own, only adds to it. */
async function measure(
  at: TestGate,
  caller: Caller,
  { prepare, call }: Operation,
  feed: Statement[],
): Promise<Measured> {
  const taken: Measured[] = [];
  for (let times = 0; times < 4; times++) {
    const prepared = (await prepare?.(at, caller)) ?? '';
    takeCosts();
    await call(at, caller, prepared);
    const run = takeCosts();
    taken.push({ ...costOf(run.requests), texts: run.requests.map(({ text }) => text) });
    feed.push(...run.feed);
  }
  const least = (of: keyof Cost) => Math.min(...taken.map((cost) => cost[of]));
  const statements = least('statements');
  const texts = taken.find((cost) => cost.statements === statements)?.texts ?? [];
  return { statements, rows: least('rows'), pages: least('pages'), texts };
}

/** The dearest of some statements. */
function dearest(statements: readonly Statement[]): Measured {
  const most = (of: 'rows' | 'pages') => Math.max(0, ...statements.map((statement) => statement[of]));
  return { statements: 1, rows: most('rows'), pages: most('pages'), texts: [] };
}

async function measureAll(at: TestGate, caller: Caller): Promise<Map<string, Measured>> {
  const measured = new Map<string, Measured>();
  const feed: Statement[] = [];
  for (const [name, operation] of [...reads, ...writes]) measured.set(name, await measure(at, caller, operation, feed));
  measured.set('a statement of the control feed', dearest(feed));
  takeCosts();
  await sleep(instanceBeatMs + 1_000);
  measured.set('a statement between calls', dearest(takeCosts().requests));
  return measured;
}

it('P1-05: reads, lists and hot writes cost as many statements and rows beside 100,000 runs as beside a few', async () => {
  const listed = new Set([...reads.map(([name]) => name.split(',')[0]), ...sums]);
  const privateReads = methodTable().filter(({ access }) => access === 'private_read');
  expect(listed).toEqual(new Set(privateReads.map(({ path }) => path.replace('/portcullis.v1.', ''))));

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
  for (const [name, small] of before) {
    for (const [where, cost] of [
      ['among many', after.get(name)],
      ['beside many', beside.get(name)],
    ] as const) {
      if (name === projectDays && where === 'beside many') continue;
      const said = `${name} ${where}`;
      expect(cost?.texts, said).toEqual(small.texts);
      // A small table is read whole, a large one by its index.
      expect(cost?.rows, said).toBeLessThanOrEqual(Math.min(small.rows, rowsMax));
      // Trees are deeper, and rows further apart.
      expect(cost?.pages, said).toBeLessThanOrEqual(small.pages + 3 * (cost?.rows ?? 0) + pagesMore);
    }
  }
}, 500_000);
