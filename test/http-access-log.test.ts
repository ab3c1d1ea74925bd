import { once } from 'node:events';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  bearer,
  type Body,
  chat,
  control,
  type Door,
  eventually,
  everyScope,
  knock,
  messages,
  metrics,
  send,
} from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';

let gate: TestGate;
let agent: Awaited<ReturnType<TestGate['agent']>>;
let projectId: string;
beforeAll(async () => {
  gate = await startGate();
  agent = await gate.agent('builder', { scopes: everyScope, models: ['sim', 'sim-*'] });
  const { agents } = await gate.api<{ agents: { projectId: string }[] }>('AgentService/ListAgents');
  projectId = agents[0]?.projectId ?? '';
});
afterAll(() => gate?.stop());

let requests = 0;

/** Sends it under a request id of its own. @returns the one line that the access log has of it */
async function lineOf(door: Door, headers: Record<string, string> = {}): Promise<Body> {
  const id = `req_line_${++requests}`;
  await knock(gate.url, door, { ...headers, 'x-request-id': id });
  return lineWith(id);
}

function lineWith(id: string): Promise<Body> {
  return eventually(() => {
    const lines = gate.log.split('\n').filter((line) => line.includes(`"${id}"`) && line.includes('"msg":"request"'));
    expect(lines).toHaveLength(1);
    return JSON.parse(lines[0] ?? '');
  });
}

const key = () => bearer(agent.secret);

it('has one line of JSON a request, with who, what and how it went', async () => {
  const line = await lineOf(messages, { ...key(), 'user-agent': 'test/1.0' });
  expect(line).toEqual({
    level: 'info',
    ts: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    msg: 'request',
    request_id: expect.any(String),
    project: projectId,
    agent: agent.agentId,
    sub: agent.agentId,
    key_id: agent.keyId,
    auth_method: 'api_key',
    method: 'POST',
    path: '/v1/messages',
    status: 200,
    latency_ms: expect.any(Number),
    bytes_in: messages.body?.length,
    bytes_out: expect.any(Number),
    ip: '127.0.0.1',
    user_agent: 'test/1.0',
    model: 'sim',
    decision: 'allow',
  });
  expect(line.bytes_out).toBeGreaterThan(100);
});

it('attributes control calls and metrics reads too', async () => {
  const known = { agent: agent.agentId, key_id: agent.keyId, status: 200, decision: 'allow' };
  expect(await lineOf(control, key())).toMatchObject({
    ...known,
    path: '/portcullis.v1.AgentService/ListAgents',
    bytes_in: 2,
  });
  expect(await lineOf(metrics, key())).toMatchObject({ ...known, path: '/metrics' });
  expect(await lineOf({ ...metrics, path: '/v1/models' }, key())).toMatchObject({ ...known, path: '/v1/models' });
});

it('names the pattern of a path, never the path or the query that somebody sent', async () => {
  for (const path of ['/v1/hunter2', '/v1/messages/hunter2', '/hunter2?key=hunter2']) {
    const line = await lineOf({ ...metrics, path });
    expect(line).toMatchObject({ path: 'unknown', status: 404, decision: 'deny', code: 'not_found' });
    expect(JSON.stringify(line)).not.toContain('hunter2');
  }
  const line = await lineOf({ ...metrics, path: '/metrics?name[]=hunter2' }, key());
  expect(line.path).toBe('/metrics');
});

describe('a denial has its decision, code and rule, attributed as far as the credential was verified', () => {
  it('of a stranger', async () => {
    for (const door of [messages, control, metrics]) {
      const line = await lineOf(door, bearer('who-am-i'));
      expect(line).toMatchObject({
        status: 401,
        decision: 'deny',
        code: 'unauthenticated',
        auth_reason: 'unrecognised',
      });
      expect(line.key_id).toBeUndefined();
    }
  });

  it('of a revoked key, by its id and reason', async () => {
    const { keyId, secret } = await gate.agent('revoked');
    await gate.api('AgentService/RevokeKey', { keyId });
    expect(await lineOf(messages, bearer(secret))).toMatchObject({
      status: 401,
      key_id: keyId,
      auth_reason: 'key_revoked',
    });
  });

  it('by scope', async () => {
    const { secret, agentId } = await gate.agent('scopeless', { scopes: ['tools:read'] });
    for (const [door, rule] of [
      [messages, 'scope:models:invoke'],
      [control, 'scope:keys:read'],
      [metrics, 'scope:metrics:read'],
      [{ ...metrics, path: '/v1/models' }, 'scope:models:invoke'],
    ] as const) {
      const line = await lineOf(door, bearer(secret));
      expect(line, door.path).toMatchObject({
        status: 403,
        agent: agentId,
        decision: 'deny',
        code: 'insufficient_scope',
        rule,
      });
    }
  });

  it("by the key's models", async () => {
    const door = { ...chat, body: chat.body?.replace('"sim"', '"gpt-5"') ?? '' };
    expect(await lineOf(door, key())).toMatchObject({
      status: 403,
      agent: agent.agentId,
      model: 'gpt-5',
      decision: 'deny',
      code: 'policy_denied',
      rule: 'key.models',
    });
  });

  it('by a budget', async () => {
    const { budget } = await gate.api<{ budget: { id: string } }>('BudgetService/CreateBudget', {
      name: 'nothing',
      selector: { agentId: agent.agentId },
      unit: 'BUDGET_UNIT_REQUESTS',
      window: 'BUDGET_WINDOW_DAY',
      limitAmount: '0',
      mode: 'BUDGET_MODE_ENFORCE',
    });
    const line = await lineOf(messages, key());
    await gate.api('BudgetService/DeleteBudget', { budgetId: budget.id });
    expect(line).toMatchObject({
      status: 429,
      decision: 'deny',
      code: 'budget_exceeded',
      rule: 'nothing',
    });
  });

  it('by the kill switch', async () => {
    const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
      scope: 'KILL_SCOPE_AGENT',
      value: agent.agentId,
      reason: 'test',
    });
    const line = await lineOf(messages, key());
    await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
    expect(line).toMatchObject({
      status: 503,
      agent: agent.agentId,
      decision: 'deny',
      code: 'killed',
      rule: expect.any(String),
    });
  });

  it('by Host, before anybody was asked who they are', async () => {
    const line = await lineOf(messages, { ...key(), host: 'evil.example.com' });
    expect(line).toMatchObject({ status: 421, decision: 'deny', code: 'misdirected' });
    expect(line.agent).toBeUndefined();
  });
});

it('has a line of a stream that its client left, as 499 with what had gone out', async () => {
  const id = 'req_left';
  const body = JSON.stringify({
    ...JSON.parse(messages.body ?? ''),
    model: 'sim-rate-20-tokens-2000',
    max_tokens: 2000,
    stream: true,
  });
  const leaving = request(new URL('/v1/messages', gate.url), {
    method: 'POST',
    headers: { ...messages.headers, ...key(), 'x-request-id': id },
  });
  leaving.on('error', () => undefined).end(body);
  const [response] = await once(leaving, 'response');
  await once(response, 'data');
  leaving.destroy();
  const line = await lineWith(id);
  expect(line).toMatchObject({
    status: 499,
    path: '/v1/messages',
    agent: agent.agentId,
    model: 'sim-rate-20-tokens-2000',
    decision: 'allow',
    code: 'client_closed',
  });
  expect(line.bytes_out).toBeGreaterThan(0);
});

it('has no bodies, prompts or credentials', async () => {
  await send(gate.url, {
    method: 'POST',
    path: '/v1/messages',
    headers: {
      ...messages.headers,
      ...key(),
      'user-agent': `curl ${agent.secret}`,
      referer: `https://x/?${agent.secret}`,
    },
    body: JSON.stringify({ model: 'sim', max_tokens: 5, messages: [{ role: 'user', content: 'canary-prompt' }] }),
  });
  await lineOf(messages, key());
  const log = await gate.settledLog();
  expect(log).not.toContain('canary-prompt');
  expect(log).not.toContain(agent.secret.slice(18));
  expect(log).not.toContain(gate.adminKey);
});
