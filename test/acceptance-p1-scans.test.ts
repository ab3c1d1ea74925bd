import { afterAll, beforeAll, expect, it } from 'vitest';
import { methodTable } from '../server/src/api/methods.ts';
import { createTestDatabase, type TestDatabase } from './support/database.ts';
import { bearer } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { gatherStatistics, grow } from './support/growth.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, mockConfiguration, post } from './support/models.ts';
import { type Cost, type CostReader, costOf, readCosts } from './support/statement-costs.ts';

/** The hardening list, P1-05: what a call costs the database does not depend on what else is in it. */

const few = 30;
const many = { runs: 100_000, others: 20_000 };
const pageSize = 10;

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
  readonly runId: string;
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
  const env = { DATABASE_URL: costs.url, ADMIN_API_KEY: adminKey };
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
  const rule = { name: 'never', actions: ['models.invoke'], condition: 'resource.name == "x"', effect: 'RULE_EFFECT_DENY' };
  const document = { rules: [rule], caps: [{ name: 'a cap', ...limit }] };
  await own('PolicyService/SetPolicy', { document, stage: 'POLICY_STAGE_ENFORCED' });
  const engaged = { scope: 'KILL_SCOPE_MODEL', value: 'never', reason: 'test' };
  const { killSwitch } = await own<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', engaged);
  const runId = await startRun(at, ofAgent.secret);
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
function list(method: string, request: (caller: Caller) => object = none): [string, Operation] {
  return [
    method,
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

const reads: readonly [string, Operation][] = [
  list('AgentService/ListAgents'),
  read('AgentService/GetAgent', ({ agentId }) => ({ agentId })),
  list('AgentService/ListKeys'),
  list('AgentService/ListSigningKeys', ({ keyId }) => ({ keyId })),
  list('ProjectService/ListProjects'),
  list('ProjectService/ListPeople'),
  list('ProjectService/ListTeams'),
  list('ProjectService/ListSessions'),
  list('ProjectService/ListLogins'),
  list('BudgetService/ListBudgets'),
  read('BudgetService/GetBudget', ({ budgetId }) => ({ budgetId })),
  list('BudgetService/ListBudgetNotices'),
  list('BudgetService/ListLeasePostings'),
  read('PolicyService/GetKillSwitch', ({ killSwitchId }) => ({ killSwitchId })),
  list('PolicyService/ListKillSwitches'),
  list('PolicyService/ListKillAcknowledgements', ({ killSwitchId }) => ({ killSwitchId })),
  read('PolicyService/GetPolicy'),
  list('PolicyService/ListPolicyVersions'),
  read('PolicyService/ListRules'),
  read('PolicyService/ListPolicyCaps'),
  read('RunService/GetRun', ({ runId }) => ({ runId })),
  list('AnalyticsService/ListAttempts'),
  list('AnalyticsService/ListHolds'),
  list('ReconciliationService/ListReconciledDays'),
  list('ReconciliationService/ListBillImports'),
  list('ReconciliationService/ListProjectDays'),
  list('ReconciliationService/ListProvisional'),
  read('SystemService/GetSelf'),
];

/** Reads that add up a span of time, which is what they cost: nothing waits for them. */
const sums = ['AnalyticsService/GetUsage', 'AnalyticsService/GetLedgerRetention', 'PolicyService/SimulatePolicy'];

async function callModel(at: TestGate, { agentSecret, runId }: Caller, more: Record<string, string> = {}): Promise<void> {
  const { path, model } = doors.anthropic;
  const headers = { ...bearer(agentSecret), 'x-portcullis-run': runId, ...more };
  const { status, body } = await post(at, path, ask(model), headers);
  expect(status, body.toString()).toBe(200);
}

let keys = 0;
async function write(at: TestGate, method: string, body: object, secret: string): Promise<void> {
  const headers = { 'content-type': 'application/json', ...bearer(secret), 'idempotency-key': `scan-${++keys}` };
  const answer = await fetch(`${at.url}/portcullis.v1.${method}`, { method: 'POST', headers, body: JSON.stringify(body) });
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
      call: (at, { agentSecret, runId }) =>
        at.api(
          'ReconciliationService/RecordPromptAttempt',
          {
            ...{ clientId: `scan-${++keys}`, runId, provider: 'claude', model: 'claude-1' },
            ...{ outcome: 'ATTEMPT_OUTCOME_SUCCESS', startTime: new Date().toISOString() },
          },
          agentSecret,
        ),
    },
  ],
  ['a model call', { call: callModel }],
  ['a model call, once', { call: (at, caller) => callModel(at, caller, { 'idempotency-key': `scan-${++keys}` }) }],
];

/** The least that an operation cost of some times: what the gate does besides, at times of its own, only adds to it. */
async function measure(at: TestGate, caller: Caller, { prepare, call }: Operation): Promise<Cost> {
  const taken: Cost[] = [];
  for (let times = 0; times < 6; times++) {
    const prepared = (await prepare?.(at, caller)) ?? '';
    costs.take();
    await call(at, caller, prepared);
    taken.push(costOf(costs.take()));
  }
  const least = (of: keyof Cost) => Math.min(...taken.map((cost) => cost[of]));
  return { statements: least('statements'), rows: least('rows'), pages: least('pages') };
}

async function measureAll(at: TestGate, caller: Caller): Promise<Map<string, Cost>> {
  const measured = new Map<string, Cost>();
  for (const [name, operation] of [...reads, ...writes]) measured.set(name, await measure(at, caller, operation));
  return measured;
}

it('P1-05: reads, lists and hot writes cost as many statements and rows beside 100,000 runs as beside a few', async () => {
  const listed = new Set([...reads.map(([name]) => name), ...sums]);
  for (const { service, method, access } of methodTable())
    if (access === 'private_read') expect(listed).toContain(`${service.replace('portcullis.v1.', '')}/${method}`);

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
    const [grown, neighbour] = [after.get(name), beside.get(name)];
    return {
      'per call': name,
      statements: `${cost.statements} ${grown?.statements} ${neighbour?.statements}`,
      'rows read': `${cost.rows} ${grown?.rows} ${neighbour?.rows}`,
      pages: `${cost.pages} ${grown?.pages} ${neighbour?.pages}`,
    };
  });
  console.log('Beside a few; among many (100,000 runs, 20,000 of all else); few of their own beside many of others:');
  console.table(rows);
}, 500_000);
