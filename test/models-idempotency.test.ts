import OpenAI from 'openai';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';

/** A call with an Idempotency-Key is made once, whoever repeats it, wherever, and whatever happens in between. */

const models = { 'claude-retried': { targets: [{ provider: 'claude' }], attempts_max: 2 } };

let gate: TestGate;
let replica: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ models }));
  replica = await startGate({ yaml: mockConfiguration(mock, models), database: gate.database });
});
afterAll(async () => {
  await replica.stop();
  await stop();
});
afterEach(() => mock.reset());

let names = 0;
const newAgent = (key: object = {}) => gate.agent(`agent-${++names}`, key);
const newKey = () => `key-${++names}`;

const headersOf = (secret: string, key: string, more: Record<string, string> = {}) => ({
  authorization: `Bearer ${secret}`,
  'idempotency-key': key,
  ...more,
});

const call = (secret: string, key: string, body = ask('claude-1'), more = {}, through = gate): Promise<RawAnswer> =>
  post(through, doors.anthropic.path, body, headersOf(secret, key, more));

const upstreamCalls = async () => (await mock.requests()).length;
const replayed = ({ headers }: RawAnswer) => headers['idempotency-replayed'];
const codeOf = ({ body }: RawAnswer) =>
  (JSON.parse(body.toString()) as { error: { details: { error_code: string } } }).error.details.error_code;

async function settled(secret: string, key: string, body?: string, more?: object): Promise<RawAnswer> {
  const answer = await call(secret, key, body, more);
  expect([answer.status, replayed(answer)]).toEqual([200, undefined]);
  return answer;
}

describe.each(['anthropic', 'chat'] as const)('a repeated call in the %s dialect', (dialect) => {
  const { path } = doors[dialect];

  test.each(['claude-1', 'gpt-1'])('of %s gets the same answer from any gate, and costs nothing', async (model) => {
    const { agentId, secret } = await newAgent();
    const budget = `budget-${agentId}`;
    await gate.budget({ name: budget, unit: 'USD', limit: null, selector: { agentId } });
    const headers = headersOf(secret, newKey());
    const first = await post(gate, path, ask(model), headers);
    expect([first.status, replayed(first)]).toEqual([200, undefined]);
    const { posted } = await gate.standing(budget);
    expect(posted).toBeGreaterThan(0n);
    for (const through of [gate, replica, gate]) {
      const again = await post(through, path, ask(model), headers);
      expect([again.status, replayed(again), again.body]).toEqual([200, 'true', first.body]);
      expect(again.headers['content-type']).toBe(first.headers['content-type']);
      expect(again.headers['x-request-id']).not.toBe(first.headers['x-request-id']);
      expect(await gate.ledgerRow(String(again.headers['x-request-id']))).toMatchObject({
        provider: '(replay)',
        outcome: 'ATTEMPT_OUTCOME_SUCCESS',
        agentId,
      });
    }
    expect(await upstreamCalls()).toBe(1);
    expect(await gate.standing(budget)).toMatchObject({ posted, held: 0n });
    expect((await gate.holds()).held).toBeUndefined();
  });
});

test('50 calls at once through two gates reach the provider once', async () => {
  const { secret } = await newAgent();
  const key = newKey();
  await mock.script({ model: 'claude-1', latencyMs: 300 });
  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) => call(secret, key, ask('claude-1'), {}, i % 2 ? replica : gate)),
  );
  expect(await upstreamCalls()).toBe(1);
  expect(answers.filter((answer) => answer.status === 200 && replayed(answer) === undefined)).toHaveLength(1);
  const body = answers.find(({ status }) => status === 200)?.body;
  const [given, refused] = [200, 409].map((status) => answers.filter((answer) => answer.status === status));
  expect((given?.length ?? 0) + (refused?.length ?? 0)).toBe(50);
  for (const answer of given ?? []) expect(answer.body).toEqual(body);
  for (const answer of refused ?? []) {
    expect([codeOf(answer), answer.headers['retry-after']]).toEqual(['in_progress', '1']);
    // SDKs try again by themselves, and shall.
    expect(answer.headers).not.toHaveProperty('x-should-retry');
  }
  const again = await call(secret, key);
  expect([again.status, replayed(again), again.body]).toEqual([200, 'true', body]);
});

test('an official client that repeats by itself ends with the one answer', async () => {
  const { secret } = await newAgent();
  const client = new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: secret, maxRetries: 5 });
  await mock.script({ model: 'gpt-1', latencyMs: 300 });
  const headers = { 'Idempotency-Key': newKey() };
  const ids = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const answer = await client.chat.completions.create(
        { model: 'gpt-1', max_tokens: 50, messages: [{ role: 'user', content: 'hello' }] },
        { headers },
      );
      return answer.id;
    }),
  );
  expect(new Set(ids).size).toBe(1);
  expect(await upstreamCalls()).toBe(1);
});

describe('another request under a used key is refused', () => {
  const others: Record<string, [body: string | undefined, headers: Record<string, string>]> = {
    'with another body': [ask('claude-1', { temperature: 1 }), {}],
    'with another byte of white space': [`${ask('claude-1')} `, {}],
    'with another version': [undefined, { 'anthropic-version': '2024-01-01' }],
    'with a beta': [undefined, { 'anthropic-beta': 'x' }],
    'with other terms of the cache': [undefined, { 'portcullis-cache': 'ttl=60' }],
  };
  test.each(Object.entries(others))('%s', async (_what, [body, headers]) => {
    const { secret } = await newAgent();
    const key = newKey();
    await settled(secret, key);
    const other = await call(secret, key, body, headers);
    expect([other.status, codeOf(other), other.headers['x-should-retry']]).toEqual([
      422,
      'idempotency_mismatch',
      'false',
    ]);
    expect(await upstreamCalls()).toBe(1);
    expect(await gate.ledgerRow(String(other.headers['x-request-id']))).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_REFUSED',
      errorClass: 'idempotency_mismatch',
    });
  });

  test('for another run', async () => {
    const { secret } = await newAgent();
    const start = async () =>
      (await gate.api<{ run: { id: string } }>('RunService/StartRun', { workflow: 'w' }, secret)).run.id;
    const [one, other] = [await start(), await start()];
    const key = newKey();
    await settled(secret, key, undefined, { 'x-portcullis-run': one });
    expect((await call(secret, key, undefined, { 'x-portcullis-run': one })).status).toBe(200);
    expect((await call(secret, key, undefined, { 'x-portcullis-run': other })).status).toBe(422);
  });
});

test('the key of another caller, or at another door, is another key', async () => {
  const key = newKey();
  const { secret } = await newAgent();
  await settled(secret, key);
  await settled((await newAgent()).secret, key);
  const chat = await post(gate, doors.chat.path, ask('claude-1'), headersOf(secret, key));
  expect([chat.status, replayed(chat)]).toEqual([200, undefined]);
  expect(await upstreamCalls()).toBe(3);
});

test('the answer outlives the credential: a renewed key of the same agent gets it', async () => {
  const { agentId, secret } = await newAgent();
  const key = newKey();
  const first = await settled(secret, key);
  const made = await gate.api<{ secret: string }>('AgentService/CreateKey', {
    agentId,
    name: 'renewed',
    kind: 'PRINCIPAL_KIND_AGENT',
    scopes: ['models:invoke'],
  });
  expect((await call(made.secret, key)).body).toEqual(first.body);
});

test('a key that is none is refused, and nothing goes upstream', async () => {
  const { secret } = await newAgent();
  for (const key of ['', 'with space', 'x'.repeat(256), 'caf\u00e9']) {
    const answer = await call(secret, key);
    expect([answer.status, codeOf(answer)], key).toEqual([400, 'invalid_argument']);
    expect(answer.body.toString()).toContain('Idempotency-Key must');
  }
  const twice = await post(gate, doors.anthropic.path, ask('claude-1'), {
    ...headersOf(secret, 'a'),
    'idempotency-key': ['a', 'b'] as unknown as string,
  });
  expect(twice.status).toBe(400);
  expect(await upstreamCalls()).toBe(0);
  await settled(secret, '!'.repeat(255));
});

test('streams and counted tokens are not covered', async () => {
  const { secret } = await newAgent();
  const key = newKey();
  for (let i = 0; i < 2; i++) {
    const answer = await call(secret, key, ask('claude-1', { stream: true }));
    expect([answer.status, replayed(answer)]).toEqual([200, undefined]);
    expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
  }
  expect(await upstreamCalls()).toBe(2);
  const counted = await post(gate, '/v1/messages/count_tokens', ask('gpt-1'), headersOf(secret, key));
  expect([counted.status, replayed(counted)]).toEqual([200, undefined]);
});

describe('how the first call ended', () => {
  test.each([400, 404, 413, 422])(
    'by a refusal with %i of the request: it is given again, word by word',
    async (error) => {
      const { secret } = await newAgent();
      const key = newKey();
      await mock.script({ model: 'claude-1', error, times: 1 });
      const first = await call(secret, key);
      expect(first.status).toBe(error);
      const again = await call(secret, key);
      expect([again.status, replayed(again), again.body]).toEqual([error, 'true', first.body]);
      expect(await gate.ledgerRow(String(again.headers['x-request-id']))).toMatchObject({
        outcome: 'ATTEMPT_OUTCOME_FAILED',
        errorClass: `http_${error}`,
      });
      expect(await upstreamCalls()).toBe(1);
    },
  );

  test.each([401, 402, 403, 408, 409, 429, 500, 503, 529])('by %i, which may pass: it is made again', async (error) => {
    const { secret } = await newAgent();
    const key = newKey();
    // A model of its own: its failures must not open the breaker of another.
    const model = `claude-fails-${error}`;
    await mock.script({ model, error });
    const first = await call(secret, key, ask(model));
    expect(first.status).toBe(error === 401 ? 502 : error);
    await mock.reset();
    await settled(secret, key, ask(model));
  });

  test('by a broken connection, a deadline, or something that is no answer: it is made again', async () => {
    const { secret } = await newAgent();
    for (const script of [{ reset: true }, { never: true }, { malformedAt: 0 }, { cutAfter: 1 }]) {
      const key = newKey();
      const body = ask('claude-hasty-1');
      await mock.script({ model: 'claude-hasty-1', ...script });
      expect((await call(secret, key, body)).status).toBeGreaterThanOrEqual(500);
      await mock.reset();
      await settled(secret, key, body);
    }
  });

  test('by a budget: it is made once there is money', async () => {
    const { agentId, secret } = await newAgent();
    const key = newKey();
    const budget = await gate.budget({ name: `none-${agentId}`, unit: 'USD', limit: 0n, selector: { agentId } });
    expect((await call(secret, key)).status).toBe(429);
    await gate.setLimit(budget, 10n ** 12n);
    await settled(secret, key);
  });

  test('by a second attempt of the gate: what that was answered is the answer', async () => {
    const { secret } = await newAgent();
    const key = newKey();
    const body = ask('claude-retried');
    await mock.script({ model: 'claude-retried', error: 503, times: 1 });
    const first = await settled(secret, key, body);
    expect(first.headers['portcullis-attempts']).toBe('2');
    const again = await call(secret, key, body);
    expect([replayed(again), again.body]).toEqual(['true', first.body]);
    expect(await upstreamCalls()).toBe(2);
  });

  test('by a settlement that could not be written in time: it was made, and is not made again', async () => {
    const { secret } = await newAgent();
    const key = newKey();
    const ledger = new Client({ connectionString: gate.database.ownerUrl });
    await ledger.connect();
    try {
      await mock.script({ model: 'claude-1', latencyMs: 300, times: 1 });
      const calling = call(secret, key);
      await mock.until((requests) => requests.length === 1);
      await ledger.query('BEGIN');
      await ledger.query('LOCK TABLE attempts IN EXCLUSIVE MODE');
      const unsettled = await calling;
      expect([unsettled.status, unsettled.headers['x-should-retry']]).toEqual([503, 'false']);
    } finally {
      await ledger.end();
    }
    const again = await call(secret, key);
    expect([again.status, codeOf(again)]).toEqual([409, 'in_progress']);
    expect(await upstreamCalls()).toBe(1);
  });

  test('by the leaving of its client: the provider is not paid for nothing, and a repetition is made', async () => {
    const { secret } = await newAgent();
    const key = newKey();
    await mock.script({ model: 'claude-1', never: true, times: 1 });
    const client = new AbortController();
    const headers = { 'content-type': 'application/json', ...headersOf(secret, key) };
    const init = { method: 'POST', headers, body: ask('claude-1'), signal: client.signal };
    const left = fetch(gate.url + doors.anthropic.path, init).catch(() => 'left');
    await mock.until((requests) => requests.length === 1);
    client.abort();
    expect(await left).toBe('left');
    await expect.poll(async () => (await call(secret, key)).status).toBe(200);
    expect(await upstreamCalls()).toBe(2);
  });
});

describe('what stops a call stops its repetition', () => {
  test('a kill switch', async () => {
    const { agentId, secret } = await newAgent();
    const key = newKey();
    await settled(secret, key);
    await gate.api('PolicyService/EngageKillSwitch', { scope: 'KILL_SCOPE_AGENT', value: agentId, reason: 'test' });
    const killed = await call(secret, key);
    expect([killed.status, codeOf(killed)]).toEqual([503, 'killed']);
  });

  test('a revoked key, and a disabled agent', async () => {
    const [one, other] = [await newAgent(), await newAgent()];
    const key = newKey();
    await settled(one.secret, key);
    await settled(other.secret, key);
    await gate.api('AgentService/RevokeKey', { keyId: one.keyId });
    await gate.api('AgentService/DisableAgent', { agentId: other.agentId });
    expect((await call(one.secret, key)).status).toBe(401);
    expect((await call(other.secret, key)).status).toBe(401);
  });

  test('a key of the same agent that may not use the model, or no model at all', async () => {
    const { agentId, secret } = await newAgent();
    const key = newKey();
    await settled(secret, key);
    for (const limits of [{ scopes: ['models:invoke'], models: ['gpt-*'] }, { scopes: ['runs:write'] }]) {
      const made = await gate.api<{ secret: string }>('AgentService/CreateKey', {
        agentId,
        name: newKey(),
        kind: 'PRINCIPAL_KIND_AGENT',
        ...limits,
      });
      expect((await call(made.secret, key)).status).toBe(403);
    }
  });
});

test('a gate that dies in mid-call leaves the key in progress, then unknown: nothing runs a second time by itself', async () => {
  const doomed = await startGate({ yaml: mockConfiguration(mock, models), database: gate.database });
  const { secret } = await newAgent();
  const key = newKey();
  await mock.script({ model: 'claude-1', never: true });
  const lost = call(secret, key, ask('claude-1'), {}, doomed).catch(() => 'lost');
  await mock.until((requests) => requests.length === 1);
  await doomed.end('SIGKILL');
  expect(await lost).toBe('lost');
  await doomed.stop();
  const during = await call(secret, key);
  expect([during.status, codeOf(during)]).toEqual([409, 'in_progress']);
  await queryAsOwner(
    gate.database,
    `UPDATE idempotency_keys SET lease_until = now() WHERE finished_at IS NULL AND lease_until > now()`,
  );
  const after = await call(secret, key);
  expect([after.status, codeOf(after), after.headers['x-should-retry']]).toEqual([409, 'conflict', 'false']);
  expect(after.body.toString()).toContain('is unknown');
  expect(await upstreamCalls()).toBe(1);
});

test('replays are counted, and take from the rate of their caller', async () => {
  const count = async () => {
    const text = await (
      await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } })
    ).text();
    return Number(/^idempotent_replays_total (\d+)$/m.exec(text)?.[1]);
  };
  const { secret } = await newAgent();
  const key = newKey();
  const first = await settled(secret, key);
  const before = await count();
  const again = await call(secret, key);
  expect(await count()).toBe(before + 1);
  const left = ({ headers }: RawAnswer) => Number(/r=(\d+)/.exec(String(headers['ratelimit']))?.[1]);
  expect(left(again)).toBeLessThanOrEqual(left(first));
  expect(again.headers).toHaveProperty('ratelimit');
});

test('neither a row nor the log has what was asked or answered, or the key', async () => {
  const { secret } = await newAgent();
  await mock.script({ model: 'claude-1', blocks: [{ type: 'text', text: 'canary-answer-77' }] });
  const key = 'canary-idempotency-key-77';
  const body = ask('claude-1', { messages: [{ role: 'user', content: 'canary-prompt-77' }] });
  expect((await settled(secret, key, body)).body.toString()).toContain('canary-answer-77');
  expect((await call(secret, key, body)).body.toString()).toContain('canary-answer-77');
  const rows = await queryAsOwner<{ text: string; answer: Buffer | null }>(
    gate.database,
    `SELECT k::text AS text, answer FROM idempotency_keys k`,
  );
  expect(rows.length).toBeGreaterThan(0);
  for (const { text, answer } of rows) expect(text + (answer?.toString('latin1') ?? '')).not.toContain('canary');
  expect(await gate.settledLog()).not.toContain('canary');
});
