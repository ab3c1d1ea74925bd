import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ControlApi, startControlApi } from '../../../test/support/control-api.ts';
import { newId } from '../base/ids.ts';
import { AgentService, AgentState, KeyState } from '../gen/portcullis/v1/agent_pb.ts';
import { AnalyticsService, AttemptOutcome, UsageGroup } from '../gen/portcullis/v1/analytics_pb.ts';
import { BudgetMode, BudgetService, BudgetUnit, BudgetWindow } from '../gen/portcullis/v1/budget_pb.ts';
import { ErrorInfoSchema } from '../gen/portcullis/v1/error_pb.ts';
import { KillScope, PolicyService } from '../gen/portcullis/v1/policy_pb.ts';
import { PersonState, ProjectService } from '../gen/portcullis/v1/project_pb.ts';
import { RunService, RunState } from '../gen/portcullis/v1/run_pb.ts';
import { PrincipalKind, SystemService } from '../gen/portcullis/v1/system_pb.ts';

let api: ControlApi;
let ours: string;
let theirs: string;
let adminKey: string;
let keysKey: string;

beforeAll(async () => {
  api = await startControlApi();
  ours = await api.newProject();
  theirs = await api.newProject();
  adminKey = await api.newKey(ours, ['admin']);
  keysKey = await api.newKey(ours, ['keys:write'], { lifetimeS: null });
});
afterAll(() => api.stop());

/** Code, stable code and field of a refusal. */
async function refusal(call: Promise<unknown>) {
  const error = ConnectError.from(
    await call.then(
      () => new Error('not refused'),
      (thrown: unknown) => thrown,
    ),
  );
  const info = error.findDetails(ErrorInfoSchema)[0];
  return { code: error.code, stable: info?.code, param: info?.param, message: error.rawMessage };
}

async function newAgent(projectId = ours) {
  const { agent } = await api.client(AgentService, adminKey).createAgent({ name: crypto.randomUUID(), projectId });
  return agent!;
}

async function agentKey(agentId: string, scopes: string[]) {
  return api.newKey(ours, scopes, { kind: 'agent', agentId });
}

describe('agents and keys', () => {
  test('are made, listed and used at once, in every protocol', async () => {
    for (const protocol of ['connect-json', 'connect-binary', 'grpc-web'] as const) {
      const client = api.client(AgentService, keysKey, protocol);
      const { agent } = await client.createAgent({ name: protocol, description: 'Fixes bugs.' });
      expect(agent).toMatchObject({ name: protocol, projectId: ours, state: AgentState.ACTIVE });
      expect((await client.getAgent({ agentId: agent!.id })).agent).toEqual(agent);
      expect((await client.listAgents({ pageSize: 1 })).agents).toEqual([agent]);
      const { key, secret } = await client.createKey({
        name: 'laptop',
        kind: PrincipalKind.AGENT,
        agentId: agent!.id,
        end: { case: 'lifetime', value: { seconds: 3600n, nanos: 0 } },
      });
      expect(key!.expireTime!.seconds - key!.createTime!.seconds).toBe(3600n);
      const self = await api.client(SystemService, secret, protocol).getSelf({});
      expect(self.serverVersion).toBe('0.0.0-test');
      expect(self.principal).toMatchObject({
        kind: PrincipalKind.AGENT,
        id: agent!.id,
        name: protocol,
        scopes: [],
        keyId: key!.id,
        expireTime: key!.expireTime,
      });
    }
  });

  test('show a secret once and never again', async () => {
    const client = api.client(AgentService, keysKey);
    const { secret, key } = await client.createKey({ name: 'once', kind: PrincipalKind.SERVICE });
    expect(secret).toContain(key!.id);
    const text = JSON.stringify(await api.post('AgentService/ListKeys', keysKey, '{"pageSize":500}'));
    expect(text).toContain(key!.id);
    expect(text).not.toContain(secret.split('_')[2]);
    expect(api.logLines.join()).not.toContain(secret);
  });

  test('end at once when they are revoked, rotated without overlap, or their agent is disabled', async () => {
    const client = api.client(AgentService, keysKey);
    const self = (key: string) => api.client(SystemService, key).getSelf({});
    const made = await client.createKey({
      name: 'a',
      kind: PrincipalKind.SERVICE,
      end: { case: 'neverExpires', value: true },
    });
    expect(made.key!.expireTime).toBeUndefined();
    const rotated = await client.rotateKey({ keyId: made.key!.id, overlap: { seconds: 60n, nanos: 0 } });
    expect(rotated.predecessor).toMatchObject({ state: KeyState.EXPIRING, successorId: rotated.key!.id });
    await self(made.secret);
    await self(rotated.secret);
    expect((await client.revokeKey({ keyId: rotated.key!.id })).key!.state).toBe(KeyState.REVOKED);
    expect((await refusal(self(rotated.secret))).code).toBe(Code.Unauthenticated);
    const cut = await client.rotateKey({
      keyId: (await client.createKey({ name: 'b', kind: PrincipalKind.SERVICE })).key!.id,
      overlap: { seconds: 0n, nanos: 0 },
    });
    expect(cut.predecessor!.state).toBe(KeyState.EXPIRED);

    const agent = await newAgent();
    const key = await agentKey(agent.id, []);
    await self(key);
    expect((await client.disableAgent({ agentId: agent.id })).agent!.state).toBe(AgentState.DISABLED);
    expect((await refusal(self(key))).code).toBe(Code.Unauthenticated);
  });

  test('can be given no scope that their maker lacks', async () => {
    const client = api.client(AgentService, keysKey);
    const request = { name: 'more', kind: PrincipalKind.SERVICE, scopes: ['policy:write'] };
    expect(await refusal(client.createKey(request))).toMatchObject({
      code: Code.PermissionDenied,
      stable: 'insufficient_scope',
    });
  });

  test('of another project do not exist, and naming it takes admin', async () => {
    const agent = await newAgent(theirs);
    const client = api.client(AgentService, keysKey);
    expect(await refusal(client.getAgent({ agentId: agent.id }))).toMatchObject({
      code: Code.NotFound,
      stable: 'not_found',
    });
    expect(await refusal(client.disableAgent({ agentId: agent.id }))).toMatchObject({ code: Code.NotFound });
    const named = { agentId: agent.id, projectId: theirs };
    expect(await refusal(client.getAgent(named))).toMatchObject({ code: Code.PermissionDenied });
    expect(await refusal(client.listKeys({ projectId: 'prj_nowhere' }))).toMatchObject({ code: Code.PermissionDenied });
    expect((await api.client(AgentService, adminKey).getAgent(named)).agent).toEqual(agent);
  });
});

describe('a list', () => {
  test('gives every row once, newest first, page by page', async () => {
    const project = await api.newProject();
    const client = api.client(AgentService, adminKey);
    const made: string[] = [];
    for (let n = 0; n < 5; n++) made.unshift((await newAgent(project)).id);
    const seen: string[] = [];
    let pageToken = '';
    do {
      const page = await client.listAgents({ projectId: project, pageSize: 2, pageToken });
      seen.push(...page.agents.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(seen).toEqual(made);
  });

  test('refuses the page token of another list or project, and a page size out of bounds', async () => {
    const client = api.client(AgentService, adminKey);
    await newAgent();
    await newAgent();
    const { nextPageToken: pageToken } = await client.listAgents({ pageSize: 1 });
    for (const call of [
      client.listKeys({ pageToken }),
      client.listAgents({ pageToken, projectId: theirs }),
      client.listAgents({ pageToken: `A${pageToken}` }),
    ]) {
      expect(await refusal(call)).toMatchObject({ code: Code.InvalidArgument, param: 'page_token' });
    }
    expect(await refusal(client.listAgents({ pageSize: 501 }))).toMatchObject({ param: 'page_size' });
    expect(await refusal(client.listAgents({ pageSize: -1 }))).toMatchObject({ param: 'page_size' });
  });
});

test('projects and people are for admin, and disabling a person stops the keys of their agents', async () => {
  expect(await refusal(api.client(ProjectService, keysKey).listProjects({}))).toMatchObject({
    code: Code.PermissionDenied,
  });
  const client = api.client(ProjectService, adminKey);
  const { project } = await client.createProject({ name: 'research' });
  expect((await client.listProjects({ pageSize: 1 })).projects).toEqual([project]);
  expect(await refusal(client.createProject({ name: 'research' }))).toMatchObject({ stable: 'conflict' });
  const { person } = await client.createPerson({ email: 'Ada@example.com', name: 'Ada' });
  expect((await client.listPeople({})).people).toEqual([person]);
  const { agent } = await api.client(AgentService, adminKey).createAgent({ name: 'of Ada', personId: person!.id });
  const key = await agentKey(agent!.id, []);
  await api.client(SystemService, key).getSelf({});
  expect((await client.disablePerson({ personId: person!.id })).person!.state).toBe(PersonState.DISABLED);
  expect((await refusal(api.client(SystemService, key).getSelf({}))).code).toBe(Code.Unauthenticated);
});

test('budgets are made, changed by a mask, listed with their standing, and deleted', async () => {
  const key = await api.newKey(ours, ['policy:write']);
  const client = api.client(BudgetService, key);
  const { budget } = await client.createBudget({
    name: 'daily',
    unit: BudgetUnit.USD,
    window: BudgetWindow.DAY,
    timeZone: 'Europe/Berlin',
    limitAmount: 5_000_000_000n,
    selector: { model: 'claude-*' },
  });
  expect(budget).toMatchObject({
    mode: BudgetMode.ENFORCE,
    limitAmount: 5_000_000_000n,
    selector: { model: 'claude-*' },
  });
  const [status] = (await client.listBudgets({})).budgets;
  expect(status).toMatchObject({
    budget: { id: budget!.id },
    standing: { postedAmount: 0n, remainingAmount: 5_000_000_000n },
  });
  const budgetId = budget!.id;
  const change = (paths: string[], rest: object) => client.updateBudget({ budgetId, updateMask: { paths }, ...rest });
  expect((await change(['mode'], { mode: BudgetMode.DRY_RUN })).budget).toMatchObject({
    mode: BudgetMode.DRY_RUN,
    limitAmount: 5_000_000_000n,
  });
  expect((await change(['limit_amount'], {})).budget!.limitAmount).toBeUndefined();
  for (const refused of [
    () => change([], { name: 'x' }),
    () => change(['unit'], {}),
    () => change(['name'], { name: 'x', limitAmount: 0n }),
  ]) {
    expect(await refusal(refused())).toMatchObject({ code: Code.InvalidArgument, param: 'update_mask' });
  }
  expect(await refusal(client.createBudget({ name: 'x', unit: BudgetUnit.USD }))).toMatchObject({ param: 'window' });
  await client.deleteBudget({ budgetId });
  expect((await client.listBudgets({})).budgets).toEqual([]);
  expect(await refusal(client.deleteBudget({ budgetId }))).toMatchObject({ code: Code.NotFound });
});

test('a kill switch is in force here when its answer is there, and audited with who set it', async () => {
  const client = api.client(PolicyService, adminKey);
  const agent = await newAgent();
  const { killSwitch } = await client.engageKillSwitch({
    scope: KillScope.AGENT,
    value: agent.name,
    reason: 'It loops.',
    expireTime: timestampFromMs(Date.now() + 3_600_000),
  });
  expect(killSwitch).toMatchObject({ scope: KillScope.AGENT, value: agent.id, projectId: ours, reason: 'It loops.' });
  const subject = {
    projectId: ours,
    agentId: agent.id,
    personId: null,
    keyId: null,
    runId: null,
    workflow: null,
    provider: null,
    models: [],
  };
  expect(api.kills.killedBy(subject, Date.now())?.id).toBe(killSwitch!.id);
  expect((await client.listKillSwitches({})).killSwitches).toEqual([killSwitch]);
  await client.releaseKillSwitch({ killSwitchId: killSwitch!.id });
  expect(api.kills.killedBy(subject, Date.now())).toBeNull();
  expect((await client.listKillSwitches({})).killSwitches).toEqual([]);
  expect(await refusal(client.engageKillSwitch({ scope: KillScope.RUN, value: 'run_x', reason: 'r' }))).toMatchObject({
    code: Code.NotFound,
  });
  const policyKey = await api.newKey(ours, ['policy:write']);
  expect(
    await refusal(api.client(PolicyService, policyKey).engageKillSwitch({ scope: KillScope.EVERYTHING, reason: 'r' })),
  ).toMatchObject({ code: Code.PermissionDenied, stable: 'insufficient_scope' });
  await api.deps.refusals.flush();
  const { rows } = await api.db.pool.query<{ target: string }>(
    "SELECT target FROM audit_entries WHERE action = 'scope.denied'",
  );
  expect(rows.map(({ target }) => target)).toContain('portcullis.v1.PolicyService.EngageKillSwitch');
});

test('runs are started and finished by their agent, and summed with usage', async () => {
  const agent = await newAgent();
  const client = api.client(RunService, await agentKey(agent.id, ['runs:write']));
  const { run } = await client.startRun({ workflow: 'fix-bug' });
  expect(run).toMatchObject({ agentId: agent.id, workflow: 'fix-bug', state: RunState.RUNNING });
  const attemptId = newId('att');
  await api.db.pool.query(
    `INSERT INTO attempts (id, request_id, project_id, agent_id, run_id, model_asked, dialect_in, streamed, tokens_input,
       tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning, cost_nanousd,
       provenance, outcome, started_at, queue_ms, total_ms, overrun)
     VALUES ($4, 'req', $1, $2, $3, 'claude-x', 'anthropic', true, 10, 5, 1, 2, 3, 0, 700, 'measured', 'success',
       now(), 0.5, 12, false)`,
    [ours, agent.id, run!.id, attemptId],
  );
  const finished = await client.finishRun({ runId: run!.id, outcome: RunState.SUCCEEDED, summary: 'Done.' });
  expect(finished).toMatchObject({
    run: { state: RunState.SUCCEEDED, summary: 'Done.' },
    totals: { attempts: 1n, costNanousd: 700n },
  });
  expect(await client.finishRun({ runId: run!.id, outcome: RunState.SUCCEEDED })).toEqual(finished);
  expect(await client.getRun({ runId: run!.id })).toMatchObject({ run: finished.run, totals: finished.totals });
  const finishAs = (outcome: RunState) => refusal(client.finishRun({ runId: run!.id, outcome }));
  expect(await finishAs(RunState.FAILED)).toMatchObject({ code: Code.AlreadyExists, stable: 'conflict' });
  expect(await finishAs(RunState.RUNNING)).toMatchObject({ code: Code.InvalidArgument, param: 'outcome' });
  const other = api.client(RunService, await agentKey((await newAgent()).id, ['runs:write']));
  expect(await refusal(other.getRun({ runId: run!.id }))).toMatchObject({ code: Code.NotFound });

  const analytics = api.client(AnalyticsService, await api.newKey(ours, ['telemetry:read']));
  const usage = await analytics.getUsage({ groupBy: UsageGroup.MODEL, filter: { agentId: agent.id } });
  expect(usage).toMatchObject({ rows: [{ key: 'claude-x', totals: finished.totals }], truncated: false });
  expect(usage.startTime).toBeDefined();
  const { attempts } = await analytics.listAttempts({ filter: { runId: run!.id } });
  expect(attempts).toMatchObject([
    { id: attemptId, outcome: AttemptOutcome.SUCCESS, costNanousd: 700n, cacheWrite1hTokens: 3n, queueMs: 0.5 },
  ]);
  expect(await refusal(analytics.getUsage({}))).toMatchObject({ param: 'group_by' });
  expect(await refusal(analytics.getUsage({ groupBy: UsageGroup.DAY, limit: 501 }))).toMatchObject({ param: 'limit' });
});

describe('a refusal', () => {
  test('says in plain JSON what is wrong, with its stable code and the request id', async () => {
    const { status, headers, body } = await api.post('AgentService/GetAgent', keysKey, '{"agentId":"agt_none"}');
    expect(status).toBe(404);
    expect(headers.get('x-should-retry')).toBe('false');
    expect(body).toMatchObject({
      code: 'not_found',
      message: 'There is no agent agt_none in this project.',
    });
    expect(body.details?.[0]).toMatchObject({
      type: 'portcullis.v1.ErrorInfo',
      debug: { code: 'not_found', final: true },
    });
    expect(body.details?.[0]?.debug['requestId']).toBe(api.records.at(-1)?.requestId);
    expect(api.records.at(-1)).toMatchObject({ decision: 'deny', code: 'not_found' });
  });

  test('names the field that the schema does not know', async () => {
    const { status, body } = await api.post('AgentService/CreateAgent', keysKey, '{"name":"x","nmae":"y"}');
    expect([status, body['code']]).toEqual([400, 'invalid_argument']);
    expect(body['message']).toContain('nmae');
  });

  test('meets a body that is too large, doubled or cut, and the server goes on', async () => {
    const bodies = [JSON.stringify({ name: 'x'.repeat(1024 * 1024) }), '{"name":"a","name":"b"}', '{"name":'];
    const codes: unknown[] = [];
    for (const body of bodies) codes.push((await api.post('AgentService/CreateAgent', keysKey, body)).body['code']);
    expect(codes).toEqual(['resource_exhausted', 'invalid_argument', 'invalid_argument']);
    expect((await api.post('SystemService/GetSelf', keysKey, '{}')).status).toBe(200);
  });

  test('meets text that no database can hold, wherever it stands', async () => {
    for (const hostile of ['\0', 'a\0b', '\ud800']) {
      const requests = {
        GetAgent: { agentId: hostile },
        CreateAgent: { name: 'x', personId: hostile },
        CreateKey: { name: 'x', kind: 1, runId: hostile },
      };
      for (const [method, request] of Object.entries(requests)) {
        const { status } = await api.post(`AgentService/${method}`, keysKey, JSON.stringify(request));
        expect([400, 404]).toContain(status);
      }
    }
  });

  test('shows zeros and empty lists for what they are', async () => {
    const { body } = await api.post(
      'AgentService/ListAgents',
      await api.newKey(await api.newProject(), ['keys:read']),
      '{}',
    );
    expect(body).toEqual({ agents: [], nextPageToken: '' });
  });
});

test('a fault of ours tells the caller nothing, and the log everything', async () => {
  const fault = () => Promise.reject(new Error('SELECT secret FROM somewhere'));
  const broken = await startControlApi((deps) => ({ ...deps, agents: Object.assign(deps.agents, { get: fault }) }));
  try {
    const key = await broken.newKey(await broken.newProject(), ['keys:read']);
    const { status, body } = await broken.post('AgentService/GetAgent', key, '{"agentId":"agt_1"}');
    expect([status, body['code'], body['message']]).toEqual([500, 'internal', 'The gate met an internal error.']);
    expect(JSON.stringify(body)).not.toContain('SELECT');
    expect(broken.logLines.join()).toContain('SELECT secret FROM somewhere');
    expect(broken.records.at(-1)).toMatchObject({ code: 'internal', internal: 'SELECT secret FROM somewhere' });

    await broken.deps.pool.end();
    const away = await broken.post('AgentService/ListKeys', key, '{}');
    expect([away.status, away.body['code']]).toEqual([503, 'unavailable']);
    expect(away.headers.get('retry-after')).toBe('1');
  } finally {
    await broken.stop();
  }
});
