import { once } from 'node:events';
import { type AddressInfo, type Server, connect, createServer } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { LedgerRow, TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import type { ScriptInput } from './support/mock-upstream/script.ts';
import { type RawAnswer, ask, doors, post, startGateWithMock } from './support/models.ts';

/** However a provider fails, the client hears of it in its dialect, and the books say what it can have cost. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  ({ secret } = await gate.agent('unlucky'));
  await gate.budget({ name: 'all', unit: 'USD', limit: 10n ** 12n });
});

afterAll(() => stop());
beforeEach(() => mock.reset());

let calls = 0;

/** Makes one call of a scripted model, and returns its answer with its one row of the ledger. */
async function call(
  client: keyof typeof doors,
  provider: string,
  script: ScriptInput,
  rest: object,
): Promise<{ answer: RawAnswer; row: LedgerRow }> {
  const requestId = `fault-${calls++}`;
  const model = `${provider}-hasty-${requestId}`;
  await mock.script({ ...script, model });
  const headers = { authorization: `Bearer ${secret}`, 'x-request-id': requestId };
  const answer = await post(gate, doors[client].path, ask(model, rest), headers);
  return { answer, row: await gate.ledgerRow(requestId) };
}

/** The one error event that ends a stream; throws where it is not the end, or not the only one. */
function errorEvent(client: keyof typeof doors, { body }: RawAnswer): { code: string; message: string } {
  const events = body.toString().split('\n\n').slice(0, -1);
  const errors = events.filter((event) => event.includes('"error":{'));
  const last = events.at(-1) ?? '';
  if (errors.length !== 1 || errors[0] !== last) throw new Error(`no single error at the end of: ${body.toString()}`);
  const [, name, data = ''] = /^(?:event: (\w+)\n)?data: (.*)$/s.exec(last) ?? [];
  const { error } = JSON.parse(data) as { error: { code: string; message: string; details: { error_code: string } } };
  if (client === 'chat') return error;
  expect(name).toBe('error');
  return { ...error, code: error.details.error_code };
}

const combinations = (['anthropic', 'chat'] as const).flatMap((client) =>
  (['claude', 'gpt'] as const).map((provider) => ({ client, provider })),
);

describe.each(combinations)('a $client client of $provider, whose answer', ({ client, provider }) => {
  const streams: [string, ScriptInput, code: string, outcome: string, message: RegExp][] = [
    ['is cut', { cutAfter: 4 }, 'upstream_error', 'FAILED', /connection|before the answer was complete/],
    ['stalls', { stallAfter: 4 }, 'deadline_exceeded', 'TIMEOUT', /was silent for 0.5 s/],
    ['is broken', { malformedAt: 4 }, 'upstream_error', 'FAILED', /JSON|malformed|translated|protocol/],
  ];

  test.each(streams)('%s in mid-stream, gets an error event', async (_name, script, code, outcome, message) => {
    const { answer, row } = await call(
      client,
      provider,
      { tokens: 20, tokensPerSecond: 200, ...script },
      { stream: true },
    );
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).not.toContain('[DONE]');
    const error = errorEvent(client, answer);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(row).toMatchObject({ outcome: `ATTEMPT_OUTCOME_${outcome}`, errorClass: code, streamed: true });
    await expectEstimate(row);
  });

  const plain: [string, ScriptInput, status: number, code: string, outcome: string][] = [
    ['is cut', { cutAfter: 1 }, 502, 'upstream_error', 'FAILED'],
    ['is cut after its head', { cutAfter: 0 }, 502, 'upstream_error', 'FAILED'],
    ['stalls after its head', { stallAfter: 0 }, 504, 'deadline_exceeded', 'TIMEOUT'],
    ['is broken from the first', { malformedAt: 0, tokensPerSecond: 50 }, 502, 'upstream_error', 'FAILED'],
    ['stalls', { stallAfter: 1 }, 504, 'deadline_exceeded', 'TIMEOUT'],
    ['is broken', { malformedAt: 1 }, 502, 'upstream_error', 'FAILED'],
    ['never comes', { never: true }, 504, 'deadline_exceeded', 'TIMEOUT'],
    ['is a reset', { reset: true }, 502, 'upstream_error', 'FAILED'],
    ['is no JSON', { reply: { status: 200, chunks: ['hello'] } }, 502, 'upstream_error', 'FAILED'],
  ];

  test.each(plain)('%s, gets an HTTP error', async (_name, script, status, code, outcome) => {
    for (const stream of [false, true]) {
      if (stream && [script.cutAfter, script.stallAfter, script.malformedAt].includes(1)) continue;
      const { answer, row } = await call(client, provider, script, { stream });
      expect(answer.status).toBe(status);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ request_id: answer.headers['x-request-id'] });
      expect(answer.body.toString()).not.toContain(new URL(mock.url).port);
      expect(row).toMatchObject({ outcome: `ATTEMPT_OUTCOME_${outcome}`, errorClass: code });
      await expectEstimate(row);
    }
  });

  test.each([400, 429, 500, 503, 529])('is a refusal with status %s, is charged nothing', async (error) => {
    const { row } = await call(client, provider, { error }, {});
    expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_FAILED', errorClass: `http_${error}`, costNanousd: '0' });
    expect(row.provenance).toBe('PROVENANCE_MEASURED');
  });

  const page = { reply: { status: 500, headers: { 'content-type': 'text/html' }, chunks: ['<h1>Sorry</h1>'] } };
  test.each([
    ['status 502', { error: 502 }, 502],
    ['status 504', { error: 504 }, 504],
    ['status 500 in the words of a proxy', page, 500],
  ] as const)('is %s, is charged the worst case: the model may have worked', async (_what, script, status) => {
    const { row } = await call(client, provider, script, {});
    expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_FAILED', errorClass: `http_${status}` });
    await expectEstimate(row);
  });

  test.each([302, 307])('is a redirect (%s), gets an error without it, and is charged nothing', async (status) => {
    for (const stream of [false, true]) {
      const reply = { status, headers: { location: '/x' }, chunks: ['over there'] };
      const { answer, row } = await call(client, provider, { reply }, { stream });
      expect(answer.status).toBe(502);
      expect(answer.headers).not.toHaveProperty('location');
      expect(answer.body.toString()).toContain(`status ${status}`);
      expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_FAILED', errorClass: 'upstream_error', costNanousd: '0' });
    }
  });

  test('breaks off only after its end, gets it whole', async () => {
    // So many events are an answer of three words.
    const events = provider === 'claude' ? 9 : 7;
    for (const script of [{ cutAfter: events }, { stallAfter: events }]) {
      const { answer, row } = await call(client, provider, { ...script, tokens: 3 }, { stream: true });
      expect(answer.body.toString()).toMatch(/message_stop|\[DONE\]/);
      expect(answer.body.toString()).not.toContain('"error"');
      expect(row.outcome).toBe('ATTEMPT_OUTCOME_SUCCESS');
    }
  });
});

test('a translation that is longer than the body is held at its own length', async () => {
  const turns = Array.from({ length: 200 }, (_, i) => ({ role: i % 2 ? 'assistant' : 'user', content: 'a' }));
  const messages = [...turns, { role: 'user', content: 'a' }];
  const { row } = await call('chat', 'claude', { never: true }, { messages });
  const sent = (await mock.requests()).at(-1)?.bodyBytes ?? Infinity;
  expect(Number(row.inputTokens)).toBeGreaterThanOrEqual(sent + 16 * messages.length);
});

describe('the ending of a stream', () => {
  const events = { 'content-type': 'text/event-stream' };
  const finish = 'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n';
  const usage = 'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n';
  const stop = 'event: message_stop\ndata: {"type":"message_stop"}\n\n';

  test('of a chat answer keeps no comments back, and ends with its last event', async () => {
    const reply = { headers: events, chunks: [finish, ': still there\n\n', usage, 'data: [DONE]\n\n', finish, usage] };
    const { answer, row } = await call('chat', 'gpt', { reply }, { stream: true });
    expect(answer.body.toString()).toBe(`${finish}data: [DONE]\n\n`);
    expect(row).toMatchObject({ provenance: 'PROVENANCE_MEASURED', inputTokens: '3', outputTokens: '1' });
  });

  test('of a message does not wait for what comes after it', async () => {
    const reply = { headers: events, chunks: [stop, ': still there\n\n', stop] };
    const { answer } = await call('anthropic', 'claude', { reply, stallAfter: 2 }, { stream: true });
    expect(answer.body.toString()).toBe(stop);
    await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'));
  });

  test('that does not come to an end is an error', async () => {
    const more = `data: {"choices":[],"x":"${'x'.repeat(1024 * 1024)}"}\n\n`;
    const reply = { headers: events, chunks: [finish, ...Array.from({ length: 9 }, () => more)] };
    const { answer, row } = await call('chat', 'gpt', { reply }, { stream: true });
    expect(answer.status).toBe(502);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { code: 'upstream_error' } });
    expect(answer.body.length).toBeLessThan(10_000);
    expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_FAILED', errorClass: 'upstream_error' });
  });
});

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Money may have been spent: the row says no less than the provider charged, and that it is not measured. */
async function expectEstimate(row: LedgerRow): Promise<void> {
  expect(row.provenance).toBe('PROVENANCE_ESTIMATED');
  const seen = await mock.requests();
  const billed = seen.at(-1)?.billed;
  expect(Number(row.outputTokens)).toBeGreaterThanOrEqual(billed?.output ?? 0);
  expect(Number(row.inputTokens)).toBeGreaterThanOrEqual(billed?.input ?? 0);
  expect(BigInt(row.costNanousd ?? '0')).toBeGreaterThan(0n);
}

describe('a provider that cannot be reached', () => {
  /** Takes connections and says nothing, so that no TLS handshake ends. */
  const mute = createServer().listen(0, '127.0.0.1');
  let other: TestGate;
  let stopOther: () => Promise<void>;
  let headers: Record<string, string>;

  beforeAll(async () => {
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const shared = { kind: 'openai-compatible', allow_private: true, price: { input: 1, output: 1 } };
    const yaml = JSON.stringify({
      providers: {
        closed: { ...shared, base_url: `http://127.0.0.1:${portOf(closed)}/v1` },
        mute: { ...shared, base_url: `https://127.0.0.1:${portOf(mute)}/v1` },
        hidden: { ...shared, base_url: 'https://localtest.invalid/v1', allow_private: false },
      },
      models: Object.fromEntries(
        ['closed', 'mute', 'hidden'].map((name) => [name, { targets: [{ provider: name }], attempts_max: 1 }]),
      ),
    });
    await new Promise((done) => closed.close(done));
    ({ gate: other, stop: stopOther } = await startGateWithMock({ yaml, env: { MODEL_CONNECT_MS: '1000' } }));
    headers = { authorization: `Bearer ${(await other.agent('a')).secret}` };
    await other.budget({ name: 'all', unit: 'USD', limit: 10n ** 12n });
  });

  afterAll(async () => {
    await stopOther();
    mute.close();
  });

  test.each([
    ['closed', 502, 'upstream_error', 'FAILED'],
    ['mute', 504, 'deadline_exceeded', 'TIMEOUT'],
    ['hidden', 502, 'upstream_error', 'FAILED'],
  ])('(%s) costs nothing', async (model, status, code, outcome) => {
    const answer = await post(other, doors.chat.path, ask(model), { ...headers, 'x-request-id': model });
    expect(answer.status).toBe(status);
    expect(answer.body.toString()).toMatch(/could not be reached/);
    expect(answer.body.toString()).not.toMatch(/127\.0\.0\.1|invalid/);
    const row = await other.ledgerRow(model);
    expect(row).toMatchObject({ outcome: `ATTEMPT_OUTCOME_${outcome}`, errorClass: code, costNanousd: '0' });
    expect(row).not.toHaveProperty('connectMs');
  });

  test('does not keep a kill switch waiting, and costs nothing then either', async () => {
    const answer = post(other, doors.chat.path, ask('mute'), { ...headers, 'x-request-id': 'killed' });
    await expect.poll(async () => (await other.holds()).held).toBe(1);
    const kill = { scope: 'KILL_SCOPE_EVERYTHING', reason: 'stop' };
    await other.api('PolicyService/EngageKillSwitch', kill);
    expect((await answer).body.toString()).toContain('"code":"killed"');
    expect(await other.ledgerRow('killed')).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_KILLED', costNanousd: '0' });
    expect((await other.holds()).held).toBeUndefined();
    expect(await other.standing('all')).toMatchObject({ posted: 0n, held: 0n });
  });
});

test('a client that does not read its stream is given up after the idle deadline', async () => {
  await mock.script({ model: 'claude-hasty-flood', tokens: 400_000 });
  const { hostname, port } = new URL(gate.url);
  const body = ask('claude-hasty-flood', { stream: true, max_tokens: 400_000 });
  const head = [
    `POST ${doors.anthropic.path} HTTP/1.1`,
    'host: localhost',
    `authorization: Bearer ${secret}`,
    'content-type: application/json',
    `content-length: ${body.length}`,
    'x-request-id: flood',
  ];
  const socket = connect({ host: hostname, port: Number(port) });
  socket.pause().write(`${head.join('\r\n')}\r\n\r\n${body}`);
  const row = await gate.ledgerRow('flood');
  expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_TIMEOUT', errorClass: 'deadline_exceeded' });
  await mock.until((requests) => requests.every(({ outcome }) => outcome === 'client_aborted'));
  socket.destroy();
});

test('afterwards no hold is open, and what was spent is what the rows say', async () => {
  expect((await gate.holds()).held).toBeUndefined();
  const rows = await gate.ledger();
  const spent = rows.reduce((sum, { costNanousd }) => sum + BigInt(costNanousd ?? '0'), 0n);
  expect(await gate.standing('all')).toEqual({ posted: spent, held: 0n, remaining: 10n ** 12n - spent });
});
