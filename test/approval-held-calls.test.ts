import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import {
  approvalRule,
  approverKey,
  decideAs,
  getApproval,
  nextPending,
  pendingApprovals,
  putRules,
  withBody,
} from './support/held-calls.ts';
import { ask, post, startGateWithMock } from './support/models.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';

/** Model calls that wait for people: with the official SDKs, through each door. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let ann: string;
let secret: string;
let agentId: string;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env: { APPROVAL_WAIT_MS: '20000', STREAM_PING_MS: '300' } }));
  ann = await approverKey(gate, 'ann');
  ({ secret, agentId } = await gate.agent('asker'));
  await putRules(gate, [
    approvalRule('ask people', `resource.name.startsWith('claude-ask') || resource.name.startsWith('gpt-ask')`),
  ]);
});
afterAll(() => stop());
beforeEach(() => mock.reset());

let turn = 0;
const said = () => `turn ${++turn}`;
/** How the mock saw what was said. */
const bodies = async () => (await mock.requests()).map(({ body }) => body?.toString() ?? '');

const anthropic = (retries = 0) => new Anthropic({ baseURL: gate.url, apiKey: secret, maxRetries: retries });
const openai = (retries = 0) => new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: secret, maxRetries: retries });

interface Door {
  readonly name: string;
  readonly path: string;
  /** Calls, streamed or not, and says with what text the model answered. */
  readonly call: (text: string, streamed: boolean, retries?: number) => Promise<string>;
}

const doors: readonly Door[] = [
  {
    name: 'Messages',
    path: '/v1/messages',
    async call(text, streamed, retries) {
      const body = { model: 'claude-ask', max_tokens: 50, messages: [{ role: 'user' as const, content: text }] };
      const client = anthropic(retries);
      const message = streamed ? await client.messages.stream(body).finalMessage() : await client.messages.create(body);
      return message.content.map((block) => (block.type === 'text' ? block.text : '')).join('');
    },
  },
  {
    name: 'Chat Completions',
    path: '/v1/chat/completions',
    async call(text, streamed, retries) {
      const body = { model: 'gpt-ask', messages: [{ role: 'user' as const, content: text }] };
      const { completions } = openai(retries).chat;
      if (!streamed) return (await completions.create(body)).choices[0]?.message.content ?? '';
      let answer = '';
      for await (const chunk of await completions.create({ ...body, stream: true }))
        answer += chunk.choices[0]?.delta.content ?? '';
      return answer;
    },
  },
  {
    name: 'Responses',
    path: '/v1/responses',
    async call(text, streamed, retries) {
      const body = { model: 'gpt-ask', input: text, store: false };
      const { responses } = openai(retries);
      if (!streamed) return (await responses.create(body)).output_text;
      let answer = '';
      for await (const event of await responses.create({ ...body, stream: true }))
        if (event.type === 'response.output_text.delta') answer += event.delta;
      return answer;
    },
  },
];
const ways = doors.flatMap((door) => [
  [door.name, 'whole', door, false] as const,
  [door.name, 'streamed', door, true] as const,
]);

describe.each(ways)('a call by %s, %s', (_name, _way, door, streamed) => {
  test('is held until a person approves it, and answered to its client', async () => {
    const text = said();
    const answer = door.call(text, streamed);
    const approval = await nextPending(gate, ann);
    expect(approval).toMatchObject({ kind: 'APPROVAL_KIND_MODEL_CALL', requesterId: agentId, rule: 'ask people' });
    const what = JSON.parse(approval.whatJson ?? '') as { arguments: { path: string; body: unknown } };
    expect(what.arguments.path).toBe(door.path);
    expect(JSON.stringify(what.arguments.body)).toContain(text);
    // Nothing is held or sent while it waits.
    expect(await gate.holds()).toEqual({});
    expect(await bodies()).toEqual([]);
    await decideAs(gate, ann, approval.id, 'APPROVE');
    expect(await answer).not.toBe('');
    expect(await bodies()).toEqual([expect.stringContaining(text)]);
    expect((await getApproval(gate, ann, approval.id)).useTime).toBeDefined();
  });

  test('runs as the person edited it, and never as it was asked', async () => {
    const text = said();
    const answer = door.call(text, streamed);
    const approval = await nextPending(gate, ann);
    const editedArgumentsJson = withBody(
      approval,
      (body) => JSON.parse(JSON.stringify(body).replace(text, `edited ${turn}`)) as object,
    );
    const edited = await decideAs(gate, ann, approval.id, 'EDIT', { editedArgumentsJson });
    expect(edited.editedDigest).not.toBe(approval.digest);
    expect(await answer).not.toBe('');
    const [seen = '', ...others] = await bodies();
    expect(others).toEqual([]);
    expect(seen).toContain(`edited ${turn}`);
    expect(seen).not.toContain(text);
  });

  test('that a person rejects is refused with the reason, reaches no provider, and is not repeated by its SDK', async () => {
    const answer = door.call(said(), streamed, 2).catch(String);
    const approval = await nextPending(gate, ann);
    // A stream has begun by then, by its signs of life: an error is an event of it.
    if (streamed) await sleep(700);
    await decideAs(gate, ann, approval.id, 'REJECT', { reason: 'Not on a Friday' });
    expect(await answer).toMatch(/decided against this call. Reason: Not on a Friday/);
    expect(await bodies()).toEqual([]);
    expect(await pendingApprovals(gate, ann)).toEqual([]);
  });

  test('that a kill switch stops while it waits ends at once, and so does its request', async () => {
    const answer = door.call(said(), streamed).catch(String);
    const approval = await nextPending(gate, ann);
    const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
      scope: 'KILL_SCOPE_AGENT',
      value: agentId,
      reason: 'It loops.',
    });
    expect(await answer).toMatch(/It loops/);
    await expect(decideAs(gate, ann, approval.id, 'APPROVE')).rejects.toThrow(/cancelled/);
    await gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
    expect(await bodies()).toEqual([]);
  });
});

describe('a held call', () => {
  const headers = () => ({ authorization: `Bearer ${secret}` });
  const call = (body: string, more: Record<string, string> = {}) =>
    post(gate, '/v1/messages', body, { ...headers(), ...more });
  const asking = (text = said(), rest: object = {}) =>
    ask('claude-ask', { messages: [{ role: 'user', content: text }], ...rest });

  test('that was answered by a person gets their text', async () => {
    const answer = call(asking());
    const approval = await nextPending(gate, ann);
    await decideAs(gate, ann, approval.id, 'RESPOND', { response: 'The number is 42.' });
    const { status, body, headers: told } = await answer;
    expect([status, told['x-should-retry'], told['portcullis-approval']]).toEqual([403, 'false', approval.id]);
    expect(JSON.parse(body.toString())).toMatchObject({
      error: {
        type: 'permission_error',
        message: expect.stringContaining('The number is 42.'),
        details: { error_code: 'approval_refused', approval: approval.id, decision: 'rejected', rule: 'ask people' },
      },
    });
  });

  test('that nobody approves in time is refused when its request expires', async () => {
    const answer = call(asking());
    const approval = await nextPending(gate, ann);
    await gate.database.pool.query('UPDATE approvals SET expires_at = clock_timestamp() WHERE id = $1', [approval.id]);
    const { status, body } = await answer;
    expect([status, body.toString()]).toEqual([403, expect.stringContaining('Nobody approved this call in time')]);
    expect(await bodies()).toEqual([]);
  });

  test('that was rejected and comes again is told so without asking people again; a changed one asks anew', async () => {
    const body = asking();
    const first = call(body);
    const approval = await nextPending(gate, ann);
    await decideAs(gate, ann, approval.id, 'REJECT', { reason: 'No.' });
    expect((await first).status).toBe(403);
    const again = await call(body);
    expect([again.status, again.body.toString()]).toEqual([403, expect.stringContaining('Reason: No.')]);
    const changed = call(body.replace('"max_tokens":50', '"max_tokens":49'));
    const other = await nextPending(gate, ann);
    expect(other.id).not.toBe(approval.id);
    await decideAs(gate, ann, other.id, 'APPROVE');
    expect((await changed).status).toBe(200);
  });

  test('that comes twice at once runs once by one approval; the other is another request', async () => {
    const body = asking();
    const both = [call(body), call(body)];
    const approval = await nextPending(gate, ann);
    expect(await pendingApprovals(gate, ann)).toHaveLength(1);
    await decideAs(gate, ann, approval.id, 'APPROVE');
    const second = await nextPending(gate, ann, ({ id }) => id !== approval.id);
    expect(second.digest).toBe(approval.digest);
    await decideAs(gate, ann, second.id, 'REJECT', { reason: 'Once is enough.' });
    expect((await Promise.all(both)).map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 403]);
    expect(await bodies()).toHaveLength(1);
  });

  test('may be granted again, so many times and no more', async () => {
    const body = asking();
    const first = call(body);
    const approval = await nextPending(gate, ann);
    await decideAs(gate, ann, approval.id, 'APPROVE', { grant: { uses: 2, within: '600s' } });
    expect((await first).status).toBe(200);
    expect([(await call(body)).status, (await call(body)).status]).toEqual([200, 200]);
    const fourth = call(body);
    await decideAs(gate, ann, (await nextPending(gate, ann)).id, 'REJECT');
    expect((await fourth).status).toBe(403);
    expect(await bodies()).toHaveLength(3);
  });

  test('whose client leaves stays asked for, and the same call again attaches to it', async () => {
    const body = asking();
    const aborted = new AbortController();
    const left = fetch(`${gate.url}/v1/messages`, {
      method: 'POST',
      headers: { ...headers(), 'content-type': 'application/json' },
      body,
      signal: aborted.signal,
    });
    const approval = await nextPending(gate, ann);
    aborted.abort();
    await expect(left).rejects.toThrow(/abort/i);
    await decideAs(gate, ann, approval.id, 'APPROVE');
    expect(await bodies()).toEqual([]);
    const again = await call(body);
    expect([again.status, again.headers['portcullis-approval']]).toEqual([200, approval.id]);
    expect(await bodies()).toHaveLength(1);
    // It was used: once more asks anew.
    const third = call(body);
    const anew = await nextPending(gate, ann);
    expect(anew.id).not.toBe(approval.id);
    await decideAs(gate, ann, anew.id, 'REJECT');
    expect((await third).status).toBe(403);
  });

  test('with a number that people would see rounded is not asked for', async () => {
    const { status, body } = await call(
      asking(said()).replace('"max_tokens":50', '"max_tokens":50,"metadata":{"n":12345678901234567890}'),
    );
    expect([status, body.toString()]).toEqual([400, expect.stringContaining('more digits than people would be shown')]);
  });

  test('is edited in its body alone, and a stream stays a stream', async () => {
    const answer = call(asking());
    const approval = await nextPending(gate, ann);
    const edit = (editedArgumentsJson: string) => decideAs(gate, ann, approval.id, 'EDIT', { editedArgumentsJson });
    const args = JSON.parse(withBody(approval, (body) => body)) as Record<string, unknown>;
    await expect(edit(JSON.stringify({ ...args, path: '/v1/responses' }))).rejects.toThrow(/nothing else/);
    await expect(edit(JSON.stringify({ ...args, rule: 'another' }))).rejects.toThrow(/nothing else/);
    await expect(edit(withBody(approval, (body) => ({ ...body, stream: true })))).rejects.toThrow(/stream/);
    await expect(edit(withBody(approval, (body) => ({ ...body, model: undefined })))).rejects.toThrow(/model/);
    await decideAs(gate, ann, approval.id, 'REJECT');
    expect((await answer).status).toBe(403);
  });

  test('is judged anew when it was edited: the models of its key bind the editor too', async () => {
    const bound = await gate.agent('bound', { models: ['claude-ask*'] });
    const answer = post(gate, '/v1/messages', asking(), { authorization: `Bearer ${bound.secret}` });
    const approval = await nextPending(gate, ann);
    const editedArgumentsJson = withBody(approval, (body) => ({ ...body, model: 'claude-1' }));
    await decideAs(gate, ann, approval.id, 'EDIT', { editedArgumentsJson });
    const { status, body } = await answer;
    expect([status, body.toString()]).toEqual([403, expect.stringContaining('may not use the model')]);
    expect(await bodies()).toEqual([]);
  });
});
