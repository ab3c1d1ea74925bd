import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type TestGate, startGate } from './support/gate.ts';
import {
  approvalRule,
  approverKey,
  decideAs,
  getApproval,
  type HeldApproval,
  nextPendingWith,
  pendingApprovals,
  putRules,
  withBody,
} from './support/held-calls.ts';
import { ask, mockConfiguration, post, startGateWithMock } from './support/models.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';

/** Calls that wait longer than a client does, over restarts and replicas, while the policy changes. */

let gate: TestGate;
let other: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let ann: string;
let secret: string;
const env = { APPROVAL_WAIT_MS: '1500' };

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env }));
  other = await startGate({ yaml: mockConfiguration(mock), database: gate.database, env });
  ann = await approverKey(gate, 'ann');
  ({ secret } = await gate.agent('asker'));
});
afterAll(async () => {
  await other?.stop();
  await stop();
});
beforeEach(async () => {
  await mock.reset();
  await putRules(gate, rules);
});

const rules = [approvalRule('ask people', `resource.name.startsWith('claude-ask')`)];
let turn = 0;
/** What was said last, by which its request is found. */
const said = () => `waiting turn ${turn}.`;
const asking = () => ask('claude-ask', { messages: [{ role: 'user', content: `waiting turn ${++turn}.` }] });
const call = (body: string, at = gate, key = secret) =>
  post(at, '/v1/messages', body, { authorization: `Bearer ${key}` });
/** As a patient client calls: again and again while it is told to. */
async function insist(body: string, key = secret): Promise<Awaited<ReturnType<typeof call>>> {
  for (;;) {
    const answer = await call(body, gate, key);
    if (answer.status !== 409) return answer;
  }
}
const pendingNow = (matches?: (approval: HeldApproval) => boolean) => nextPendingWith(gate, ann, said(), matches);
const errorOf = ({ body }: { body: Buffer }) =>
  (JSON.parse(body.toString()) as { error: { message: string; details: Record<string, unknown> } }).error;
const sent = async () => (await mock.requests()).length;

describe('a call for which nobody decides while it waits', () => {
  test('is told to come back, with the request for approval; the same attaches, and runs once when it was approved', async () => {
    const body = asking();
    const first = await call(body);
    expect([first.status, first.headers['retry-after'], first.headers['x-should-retry']]).toEqual([
      409,
      '5',
      undefined,
    ]);
    const pending = await pendingNow();
    expect(errorOf(first).details).toMatchObject({
      error_code: 'approval_pending',
      approval: pending.id,
      rule: 'ask people',
      retry_after: 5,
    });
    // Another replica, the same request.
    const second = await call(body, other);
    expect(errorOf(second).details['approval']).toBe(pending.id);
    expect(await pendingApprovals(gate, ann)).toHaveLength(1);
    await decideAs(other, ann, pending.id, 'APPROVE');
    expect((await call(body, other)).status).toBe(200);
    expect(await sent()).toBe(1);
    const third = await call(body);
    expect(third.status).toBe(409);
    expect(errorOf(third).details['approval']).not.toBe(pending.id);
    expect(await sent()).toBe(1);
  });

  test('goes on by itself with the official SDKs, which try again', async () => {
    const anthropic = new Anthropic({ baseURL: gate.url, apiKey: secret, maxRetries: 5 });
    const content = `sdk one ${++turn}`;
    const one = anthropic.messages.create({
      model: 'claude-ask',
      max_tokens: 50,
      messages: [{ role: 'user', content }],
    });
    const openai = new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: secret, maxRetries: 5 });
    const two = openai.chat.completions.create({
      model: 'claude-ask',
      messages: [{ role: 'user', content: `sdk two ${turn}` }],
    });
    const approvals = [await nextPendingWith(gate, ann, content), await nextPendingWith(gate, ann, `sdk two ${turn}`)];
    // Both were told to come back.
    await vi.waitFor(
      async () => {
        const told = (await gate.settledLog()).split('\n').filter((line) => line.includes('"approval_pending"'));
        expect(told.some((line) => line.includes('Anthropic/JS'))).toBe(true);
        expect(told.some((line) => line.includes('OpenAI/JS'))).toBe(true);
      },
      { timeout: 20_000, interval: 100 },
    );
    for (const { id } of approvals) await decideAs(gate, ann, id, 'APPROVE');
    expect((await one).content).not.toEqual([]);
    expect((await two).choices).toHaveLength(1);
    expect(await sent()).toBe(2);
  }, 60_000);

  test('outlives its replica: killed while it waits, the same call attaches at another and runs exactly once', async () => {
    const dying = await startGate({
      yaml: mockConfiguration(mock),
      database: gate.database,
      env: { APPROVAL_WAIT_MS: '600000' },
    });
    try {
      const body = asking();
      const lost = call(body, dying).catch((error: unknown) => error);
      const approval = await pendingNow();
      await dying.end('SIGKILL');
      expect(await lost).toBeInstanceOf(Error);
      await decideAs(gate, ann, approval.id, 'APPROVE');
      await dying.start();
      const answers = await Promise.all([call(body, other), call(body, gate), call(body, other)]);
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(await sent()).toBe(1);
      expect((await getApproval(gate, ann, approval.id)).useTime).toBeDefined();
    } finally {
      await dying.stop();
    }
  }, 120_000);

  test('does not keep a replica from stopping: it is told to come back', async () => {
    const stopping = await startGate({
      yaml: mockConfiguration(mock),
      database: gate.database,
      env: { APPROVAL_WAIT_MS: '600000' },
    });
    try {
      const body = asking();
      const held = call(body, stopping);
      await pendingNow();
      const ended = stopping.end('SIGTERM');
      expect((await held).status).toBe(409);
      expect(await ended).toBe(0);
    } finally {
      await stopping.stop();
    }
  }, 120_000);
});

describe('what was approved is judged again when it runs', () => {
  /** A call that is waiting, and its approval. */
  async function held(body = asking(), key = secret) {
    const answer = insist(body, key);
    const approval = await pendingNow();
    return { body, answer, approval };
  }

  test('deny wins: a rule that was added meanwhile refuses it', async () => {
    const { answer, approval, body } = await held();
    await putRules(gate, [...rules, { name: 'stop it', actions: ['models.invoke'], effect: 'RULE_EFFECT_DENY' }]);
    await decideAs(gate, ann, approval.id, 'APPROVE');
    const { status, body: told } = await answer;
    expect([status, told.toString()]).toEqual([403, expect.stringContaining('stop it')]);
    expect(await sent()).toBe(0);
    // It was not used, and stands while it is valid.
    await putRules(gate, rules);
    expect((await call(body)).status).toBe(200);
  });

  test('an edit of the policy elsewhere does not void it', async () => {
    const { answer, approval } = await held();
    await putRules(gate, [
      ...rules,
      { name: 'elsewhere', actions: ['models.invoke'], condition: 'false', effect: 'RULE_EFFECT_DENY' },
    ]);
    await decideAs(gate, ann, approval.id, 'APPROVE');
    expect((await answer).status).toBe(200);
  });

  test('a change of the rule that asked voids it: people are asked anew', async () => {
    const { answer, approval } = await held();
    await putRules(gate, [approvalRule('ask people', `resource.name.startsWith('claude-ask')`, { expiry: '7200s' })]);
    await decideAs(gate, ann, approval.id, 'APPROVE');
    const anew = await pendingNow(({ id }) => id !== approval.id);
    expect(anew.digest).toBe(approval.digest);
    await decideAs(gate, ann, anew.id, 'APPROVE');
    expect((await answer).status).toBe(200);
    expect(await sent()).toBe(1);
  });

  test('the kill switch, the run and the agent', async () => {
    const { agentId, secret: key } = await gate.agent('short lived');
    const { run } = await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, key);
    const inRun = post(gate, '/v1/messages', asking(), { authorization: `Bearer ${key}`, 'x-portcullis-run': run.id });
    const ofRun = await pendingNow();
    await gate.api('RunService/FinishRun', { runId: run.id, outcome: 'RUN_STATE_CANCELLED' }, key);
    expect((await inRun).body.toString()).toContain('Its run ended');
    await expect(decideAs(gate, ann, ofRun.id, 'APPROVE')).rejects.toThrow(/cancelled/);

    const ofAgent = await held(asking(), key);
    await gate.api('AgentService/DisableAgent', { agentId });
    expect((await ofAgent.answer).status).toBe(401);
    await expect(decideAs(gate, ann, ofAgent.approval.id, 'APPROVE')).rejects.toThrow(/cancelled/);
    expect(await sent()).toBe(0);
  });

  test('a budget that has no room refuses what was approved, and no money is held while it waits', async () => {
    const poor = await gate.agent('poor');
    await gate.budget({ name: 'nothing', unit: 'USD', limit: 0n, selector: { agentId: poor.agentId } });
    const { answer, approval } = await held(asking(), poor.secret);
    expect(await gate.holds()).toEqual({});
    await decideAs(gate, ann, approval.id, 'APPROVE');
    expect((await answer).status).toBe(429);
    expect(await sent()).toBe(0);
  });
});

describe('several rules that ask for an approval of one call', () => {
  const both = [
    approvalRule('first', `resource.name.startsWith('claude-ask')`, { expiry: '600s' }),
    approvalRule('second', `resource.name.startsWith('claude-ask')`, {
      approvers: ['person:bob@example.com'],
      expiry: '7200s',
    }),
  ];

  test('must all be met, each by its own people; the shortest expiry holds', async () => {
    const bob = await approverKey(gate, 'bob');
    await putRules(gate, both);
    const body = asking();
    const answer = insist(body);
    const first = await pendingNow(({ rule }) => rule === 'first');
    const second = await pendingNow(({ rule }) => rule === 'second');
    const { rows } = await gate.database.pool.query<{ s: number }>(
      'SELECT round(extract(epoch FROM expires_at - created_at))::int AS s FROM approvals WHERE id = ANY ($1)',
      [[first.id, second.id]],
    );
    expect(rows).toEqual([{ s: 600 }, { s: 600 }]);
    await expect(decideAs(gate, ann, second.id, 'APPROVE')).rejects.toThrow(/none of the groups/);
    await decideAs(gate, ann, first.id, 'APPROVE');
    expect(await sent()).toBe(0);
    await decideAs(gate, bob, second.id, 'APPROVE');
    expect((await answer).status).toBe(200);
    expect(await sent()).toBe(1);
  });

  test('are both asked about what one of them edited', async () => {
    const bob = await approverKey(gate, 'bob2', 'approver');
    await putRules(gate, [both[0] ?? {}, approvalRule('second', 'true', { approvers: ['person:bob2@example.com'] })]);
    const body = asking();
    const answer = insist(body);
    const first = await pendingNow(({ rule }) => rule === 'first');
    const second = await pendingNow(({ rule }) => rule === 'second');
    await decideAs(gate, bob, second.id, 'APPROVE');
    const editedArgumentsJson = withBody(first, (asked) => ({ ...asked, max_tokens: 7 }));
    await decideAs(gate, ann, first.id, 'EDIT', { editedArgumentsJson });
    const anew = await pendingNow(({ rule, id }) => rule === 'second' && id !== second.id);
    expect(anew.whatJson).toContain('"max_tokens":7');
    expect(await sent()).toBe(0);
    await decideAs(gate, bob, anew.id, 'APPROVE');
    expect((await answer).status).toBe(200);
    const [request] = await mock.requests();
    expect(request?.body?.toString()).toContain('"max_tokens":7');
    expect(await sent()).toBe(1);
  });
});
