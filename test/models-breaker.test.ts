import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { follow } from './support/failover.ts';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** A target that fails again and again is left alone: for real, for a while, and for its own faults only. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;
let other: string;

const once = { attempts_max: 1 };

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({
    env: { RATE_LIMIT_ADMIN_PER_MINUTE: '10000' },
    models: {
      guarded: {
        targets: [
          { provider: 'claude', model: 'org/sick' },
          { provider: 'claude', model: 'well', weight: 0 },
        ],
        ...once,
      },
      alone: { targets: [{ provider: 'gpt', model: 'sick' }], ...once },
      resting: { targets: [{ provider: 'gpt', model: 'tired' }], ...once },
      stranger: { targets: [{ provider: 'gpt', model: 'locked' }], ...once },
      asked: { targets: [{ provider: 'gpt', model: 'strict' }], ...once },
      'slow-probes': { targets: [{ provider: 'gpt', model: 'sluggish' }], ...once },
      left: { targets: [{ provider: 'gpt', model: 'slow' }], ...once },
    },
  }));
  ({ secret } = await gate.agent('caller'));
  ({ secret: other } = await gate.agent('other'));
});
afterAll(() => stop());
beforeEach(() => mock.reset());

const call = (client: 'anthropic' | 'chat', model: string, rest = {}, by = secret) =>
  follow({ gate, mock }, by, client, model, rest);

async function get(path: string): Promise<string> {
  const answer = await fetch(gate.url + path, { headers: { authorization: `Bearer ${gate.adminKey}` } });
  return answer.text();
}

interface Level {
  readonly provider: string;
  readonly model: string;
  readonly state: string;
}

async function state(provider: string, model: string): Promise<string | undefined> {
  const { breakers } = JSON.parse(await get('/v1/metrics')) as { breakers: Level[] };
  const found = breakers.find((each) => each.provider === provider && each.model === model)?.state;
  const series = `breaker_state{provider="${provider}",model="${model}"} `;
  const number = (await get('/metrics'))
    .split('\n')
    .find((line) => line.startsWith(series))
    ?.slice(series.length);
  expect(number).toBe({ closed: '0', half_open: '1', open: '2' }[found ?? '']);
  return found;
}

test.each([
  { client: 'anthropic', provider: 'claude' },
  { client: 'chat', provider: 'gpt' },
] as const)('a $client client is refused after five failures in a row, until a probe succeeds', async (side) => {
  const { client, provider } = side;
  const wildcard = `${provider}-*`;
  await mock.script({ error: 500 });
  for (let i = 0; i < 5; i++) expect((await call(client, `${provider}-sick`)).answer.status).toBe(500);
  expect(await state(provider, wildcard)).toBe('open');

  const { answer, text, seen } = await call(client, `${provider}-sick`);
  expect([answer.status, seen]).toEqual([503, []]);
  expect(answer.headers['retry-after']).toMatch(/^[1-5]$/);
  expect(answer.headers['x-should-retry']).not.toBe('false');
  expect(text).toMatch(client === 'chat' ? /"code":"unavailable"/ : /"error_code":"unavailable"/);
  expect(await gate.ledgerRow(String(answer.headers['x-request-id']))).toMatchObject({
    outcome: 'ATTEMPT_OUTCOME_REFUSED',
    errorClass: 'unavailable',
    rule: 'breaker',
  });

  // Another model of the same provider is not its concern.
  await mock.reset();
  expect((await call(client, `${provider}-other`)).answer.status).toBe(200);
  await expect.poll(() => state(provider, wildcard), { timeout: 10_000 }).toBe('half_open');
  expect((await call(client, `${provider}-sick`)).answer.status).toBe(200);
  expect(await state(provider, wildcard)).toBe('closed');
});

test('a probe that fails opens it again', async () => {
  await mock.script({ error: 503 });
  for (let i = 0; i < 5; i++) await call('chat', 'alone');
  await expect.poll(() => state('gpt', 'sick'), { timeout: 10_000 }).toBe('half_open');
  const probe = await call('chat', 'alone');
  expect([probe.answer.status, probe.seen.length]).toEqual([503, 1]);
  expect(await state('gpt', 'sick')).toBe('open');
  expect((await call('chat', 'alone')).seen).toEqual([]);
});

test('the calls of an open target go to the next one at once', async () => {
  await mock.script({ model: 'org/sick', error: 500 });
  for (let i = 0; i < 5; i++) await call('anthropic', 'guarded');
  expect(await state('claude', 'sick')).toBe('open');
  const { answer, seen, rows } = await call('anthropic', 'guarded');
  expect([answer.status, seen.map(({ model }) => model), rows.length]).toEqual([200, ['well'], 1]);
  expect(answer.headers['portcullis-attempts']).toBeUndefined();
});

test('a provider that asks two callers in a row to be left alone is', async () => {
  await mock.script({ model: 'tired', error: 429, headers: { 'retry-after': '2' } });
  // One call that is larger than the limit of the account is refused in the same words.
  for (let i = 0; i < 8; i++) expect((await call('chat', 'resting')).answer.status).toBe(429);
  expect(await state('gpt', 'tired')).toBe('closed');
  expect((await call('chat', 'resting', {}, other)).answer.status).toBe(429);
  expect(await state('gpt', 'tired')).toBe('open');
  const { answer, seen } = await call('chat', 'resting');
  expect([answer.status, seen]).toEqual([503, []]);
  expect(answer.headers['retry-after']).toMatch(/^[12]$/);
  await mock.reset();
  await expect.poll(async () => (await call('chat', 'resting')).answer.status, { timeout: 10_000 }).toBe(200);
});

describe('what one caller asks for does not shut a model for another', () => {
  const toolAnswer = (finishReason: string) => ({
    reply: {
      status: 200,
      headers: { 'content-type': 'application/json' },
      chunks: [
        JSON.stringify({
          id: 'chatcmpl-1',
          object: 'chat.completion',
          created: 1,
          model: 'm',
          choices: [
            {
              index: 0,
              finish_reason: finishReason,
              message: {
                role: 'assistant',
                content: 'Writing it now.',
                tool_calls: [
                  { id: 'call_1', type: 'function', function: { name: 'write', arguments: '{"path":"/tmp/a","te' } },
                ],
              },
            },
          ],
          usage: { prompt_tokens: 10, completion_tokens: 50, total_tokens: 60 },
        }),
      ],
    },
  });
  const tools = [{ name: 'write', input_schema: { type: 'object', properties: {} } }];

  test('a limit that cuts a tool call ends an answer, which lacks that call', async () => {
    await mock.script({ model: 'gpt-cut', ...toolAnswer('length') });
    for (let i = 0; i < 6; i++) {
      const { answer, text, rows } = await call('anthropic', 'gpt-cut', { tools });
      expect([answer.status, answer.headers['portcullis-dropped']]).toEqual([200, 'content.tool_use']);
      expect(JSON.parse(text)).toMatchObject({
        content: [{ type: 'text', text: 'Writing it now.' }],
        stop_reason: 'max_tokens',
        usage: { output_tokens: 50 },
      });
      expect(rows).toMatchObject([{ outcome: 'ATTEMPT_OUTCOME_SUCCESS', provenance: 'PROVENANCE_MEASURED' }]);
    }
  });

  test('an answer that came whole and cannot be translated', async () => {
    await mock.script({ model: 'gpt-garbled', ...toolAnswer('tool_calls') });
    for (let i = 0; i < 6; i++) expect((await call('anthropic', 'gpt-garbled', { tools })).answer.status).toBe(502);
    await mock.reset();
    expect((await call('chat', 'gpt-garbled', {}, other)).answer.status).toBe(200);
  });

  test('a whole answer that takes too long', async () => {
    await mock.script({ model: 'gpt-hasty-long', never: true });
    for (let i = 0; i < 6; i++) expect((await call('chat', 'gpt-hasty-long')).answer.status).toBe(504);
    await mock.reset();
    expect((await call('chat', 'gpt-hasty-long', {}, other)).answer.status).toBe(200);
  });

  test('tokens that cannot be counted', async () => {
    await mock.script({ model: 'claude-uncounted', error: 500 });
    for (let i = 0; i < 6; i++) {
      const body = JSON.stringify({ model: 'claude-uncounted', messages: [{ role: 'user', content: 'hi' }] });
      const headers = { authorization: `Bearer ${secret}` };
      expect((await post(gate, '/v1/messages/count_tokens', body, headers)).status).toBe(500);
    }
    await mock.reset();
    expect((await call('anthropic', 'claude-uncounted', {}, other)).answer.status).toBe(200);
  });

  test('slow probes', async () => {
    await mock.script({ model: 'sluggish', error: 500 });
    for (let i = 0; i < 5; i++) await call('chat', 'slow-probes');
    await mock.reset();
    await mock.script({ model: 'sluggish', latencyMs: 60_000, times: 2 });
    await expect.poll(() => state('gpt', 'sluggish'), { timeout: 10_000 }).toBe('half_open');
    const client = new AbortController();
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${secret}` };
    const init = { method: 'POST', headers, body: ask('slow-probes'), signal: client.signal };
    const slow = [1, 2].map(() => fetch(gate.url + doors.chat.path, init).catch(() => 'left'));
    await mock.until((requests) => requests.filter(({ model }) => model === 'sluggish').length === 2);
    const quick = () => post(gate, doors.chat.path, ask('slow-probes'), { authorization: `Bearer ${other}` });
    await expect.poll(async () => (await quick()).status, { timeout: 5_000 }).toBe(200);
    expect(await state('gpt', 'sluggish')).toBe('closed');
    client.abort();
    expect(await Promise.all(slow)).toEqual(['left', 'left']);
  });
});

test("the gate's refused credential opens it, since no call can succeed with that", async () => {
  await mock.script({ model: 'locked', error: 401 });
  for (let i = 0; i < 5; i++) expect((await call('chat', 'stranger')).answer.status).toBe(502);
  expect((await call('chat', 'stranger')).seen).toEqual([]);
});

test('what callers do wrong, or do not wait for, does not open it', async () => {
  await mock.script({ model: 'strict', error: 400 });
  for (let i = 0; i < 8; i++) expect((await call('chat', 'asked')).answer.status).toBe(400);
  expect(await state('gpt', 'strict')).toBe('closed');

  await mock.script({ model: 'slow', never: true });
  for (let i = 0; i < 8; i++) {
    const client = new AbortController();
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${secret}` },
      body: JSON.stringify({ model: 'left', messages: [{ role: 'user', content: 'hi' }], max_tokens: 5 }),
      signal: client.signal,
    };
    const gone = fetch(`${gate.url}/v1/chat/completions`, init).catch(() => 'gone');
    await mock.until((requests) => requests.filter(({ model }) => model === 'slow').length === i + 1);
    client.abort();
    await gone;
  }
  await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'));
  expect(await state('gpt', 'slow')).toBe('closed');
});

test('many calls at once to a target that is half open make only a few of them probes', async () => {
  await mock.script({ model: 'gpt-crowded', error: 500 });
  for (let i = 0; i < 5; i++) await call('chat', 'gpt-crowded');
  await mock.reset();
  await mock.script({ model: 'gpt-crowded', latencyMs: 500, error: 500 });
  // Whenever the next half-open time begins, a crowd is there.
  const began = performance.now();
  const crowd = async () => {
    while (performance.now() - began < 8_000) {
      await fetch(`${gate.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${secret}` },
        body: JSON.stringify({ model: 'gpt-crowded', messages: [{ role: 'user', content: 'hi' }], max_tokens: 5 }),
      }).then((answer) => answer.arrayBuffer());
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  await Promise.all(Array.from({ length: 10 }, crowd));
  const probes = await mock.requests();
  expect(probes.length).toBeGreaterThan(0);
  expect(probes.length).toBeLessThanOrEqual(2);
});

test('a new configuration begins without a grudge', async () => {
  await mock.script({ model: 'gpt-mended', error: 500 });
  for (let i = 0; i < 5; i++) await call('chat', 'gpt-mended');
  expect((await call('chat', 'gpt-mended')).seen).toEqual([]);
  await mock.reset();
  process.kill(gate.pid, 'SIGHUP');
  await expect.poll(async () => (await call('chat', 'gpt-mended')).answer.status, { timeout: 4_000 }).toBe(200);
});
