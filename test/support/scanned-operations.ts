import { expect } from 'vitest';
import { bearer } from './doors.ts';
import type { TestGate } from './gate.ts';
import { ask, doors, post } from './models.ts';

/** What acceptance-p1-scans.test.ts measures: every read, and the hot writes. */

const pageSize = 10;

/** Somebody with one of everything, in a project of their own. */
export interface Caller {
  readonly projectId: string;
  readonly secret: string;
  readonly principalId: string;
  readonly keyId: string;
  readonly agentId: string;
  readonly agentSecret: string;
  readonly budgetId: string;
  readonly killSwitchId: string;
  readonly taskId: string;
  readonly webhookEventId: string;
  readonly endpointId: string;
  readonly deliveryId: string;
  readonly approvalId: string;
  /** With one call in it. */
  readonly runId: string;
  readonly busyRunId: string;
}

/** What tells apart what is written again and again. */
let keys = 0;

export async function startRun(at: TestGate, secret: string, workflow = 'own flow'): Promise<string> {
  const { run } = await at.api<{ run: { id: string } }>('RunService/StartRun', { workflow }, secret);
  return run.id;
}

/** Each time for something else. */
export async function askFor(at: TestGate, secret: string): Promise<string> {
  const asked = { kind: 'APPROVAL_KIND_TOOL_CALL', action: 'own', argumentsJson: `{"n":${++keys}}`, summary: 'own' };
  const { approval } = await at.api<{ approval: { id: string } }>('ApprovalService/RequestApproval', asked, secret);
  return approval.id;
}

/** What is measured, and what must be there before. */
export interface Operation {
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
export const projectDays = 'ReconciliationService/ListProjectDays';

/** Tell of days by the catalog, which has more rows than a scan may read; none is over, whose rows they would count. */
export const daysReads = ['AnalyticsService/GetLedgerRetention', 'AnalyticsService/GetTelemetryRetention'];

/** Minutes, an hour and a day, of which the end is no more than a day ahead; the same in all measurements, so that statements are. */
const midnight = new Date().setUTCHours(0, 0, 0, 0);
const fixedWindow = {
  startTime: new Date(midnight - 90 * 60_000).toISOString(),
  endTime: new Date(midnight + 86_400_000).toISOString(),
};

export const reads: readonly [string, Operation][] = [
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
  read('ApprovalService/GetApproval', ({ approvalId }) => ({ approvalId })),
  read('ApprovalService/ListApprovalVotes', ({ approvalId }) => ({ approvalId })),
  list('ApprovalService/ListApprovals'),
  list('ApprovalService/ListApprovals', () => ({ state: 'APPROVAL_STATE_EXPIRED' }), ', in a state'),
  list('ApprovalService/ListApprovals', ({ runId }) => ({ runId }), ', of a run'),
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
  list('WebhookEventService/ListWebhookEvents'),
  list('WebhookEventService/ListWebhookEvents', () => ({ source: 'grown' }), ', of a source'),
  list(
    'WebhookEventService/ListWebhookEvents',
    () => ({ source: 'grown', state: 'WEBHOOK_EVENT_STATE_DEAD' }),
    ', of a source in a state',
  ),
  list('WebhookEventService/ListWebhookEvents', ({ runId }) => ({ runId }), ', of a run'),
  read('WebhookEventService/GetWebhookEvent', ({ webhookEventId: eventId }) => ({ eventId })),
  read('WebhookEventService/ListWebhookRefusals'),
  read('WebhookService/GetWebhookEndpoint', ({ endpointId }) => ({ endpointId })),
  list('WebhookService/ListWebhookEndpoints'),
  list('WebhookService/ListWebhookDeliveries'),
  list('WebhookService/ListWebhookDeliveries', () => ({ state: 'WEBHOOK_DELIVERY_STATE_DEAD' }), ', dead'),
  list('WebhookService/ListWebhookDeliveries', ({ endpointId }) => ({ endpointId }), ', of an endpoint'),
  list(
    'WebhookService/ListWebhookDeliveries',
    ({ endpointId }) => ({ endpointId, state: 'WEBHOOK_DELIVERY_STATE_DEAD' }),
    ', of an endpoint, dead',
  ),
  read('WebhookService/GetWebhookDelivery', ({ deliveryId }) => ({ deliveryId })),
  list('WebhookService/ListWebhookAttempts', ({ deliveryId }) => ({ deliveryId })),
  read('WebhookService/ListWebhookEventTypes'),
  read('SystemService/GetSelf'),
];

/** A watch is measured where it looks (run-scans.test.ts); an export reads all that there is. */
export const streams = ['RunService/WatchRun', 'ExportService/ExportState'];

/** Judges anew the calls that were recorded in a span of time, which is what it costs. */
export const simulation = 'PolicyService/SimulatePolicy';

export async function callModel(
  at: TestGate,
  { agentSecret, busyRunId }: Pick<Caller, 'agentSecret' | 'busyRunId'>,
  more: Record<string, string> = {},
): Promise<void> {
  const { path, model } = doors.anthropic;
  const headers = { ...bearer(agentSecret), 'x-portcullis-run': busyRunId, ...more };
  const { status, body } = await post(at, path, ask(model), headers);
  expect(status, body.toString()).toBe(200);
}

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
export const writes: readonly [string, Operation][] = [
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
  [
    'ApprovalService/RequestApproval and CancelApproval',
    {
      call: async (at, { agentSecret }) => {
        const approvalId = await askFor(at, agentSecret);
        await at.api('ApprovalService/CancelApproval', { approvalId }, agentSecret);
      },
    },
  ],
  ['a model call', { call: (at, caller) => callModel(at, caller) }],
  ['a model call, once', { call: (at, caller) => callModel(at, caller, { 'idempotency-key': `scan-${++keys}` }) }],
];
