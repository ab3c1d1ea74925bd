import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, doors, post, startGateWithMock } from './support/models.ts';

/** What is refused is refused in the caller's dialect, and nothing of it reaches a provider. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  ({ secret } = await gate.agent('caller'));
});

afterAll(() => stop());

const bearer = (key = secret) => ({ authorization: `Bearer ${key}` });

interface Refusal {
  readonly type: string;
  readonly message: string;
  readonly code: string;
  readonly param: string | null;
}

/** Reads a refusal, which must have the shape of its dialect. */
function refusalOf(dialect: keyof typeof doors, { headers, body }: RawAnswer): Refusal {
  const json = JSON.parse(body.toString()) as {
    readonly type?: string;
    readonly request_id: string;
    readonly error: { readonly details: Record<string, unknown> } & Refusal;
  };
  const { error } = json;
  expect(json.request_id).toBe(headers['x-request-id']);
  expect(headers['content-type']).toBe('application/json');
  if (dialect === 'chat') return error;
  expect([json.type, headers['request-id']]).toEqual(['error', json.request_id]);
  const { error_code: code, param = null } = error.details as { error_code: string; param?: string };
  return { ...error, code, param };
}

describe.each(['anthropic', 'chat'] as const)('in the %s dialect', (dialect) => {
  const { path, model } = doors[dialect];
  const types = {
    anthropic: { bad: 'invalid_request_error', denied: 'permission_error', missing: 'not_found_error' },
    chat: { bad: 'invalid_request_error', denied: 'permission_error', missing: 'not_found_error' },
  }[dialect];

  test('a key without the scope is refused', async () => {
    const { secret: other } = await gate.agent(`no-scope-${dialect}`, { scopes: ['runs:write'] });
    const answer = await post(gate, path, ask(model), bearer(other));
    expect(answer.status).toBe(403);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(refusalOf(dialect, answer)).toMatchObject({ type: types.denied, code: 'insufficient_scope' });
    const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
    expect(row).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_REFUSED',
      errorClass: 'insufficient_scope',
      costNanousd: '0',
    });
  });

  test('a key without that model is refused, though a fallback name it', async () => {
    const { secret: other } = await gate.agent(`one-model-${dialect}`, { models: ['claude-1', 'gpt-1'] });
    const body =
      dialect === 'anthropic'
        ? ask('claude-1', { fallbacks: [{ model: 'claude-2' }] })
        : ask('gpt-1', { models: ['gpt-2'] });
    for (const refused of [ask(`${model}0`), body]) {
      const answer = await post(gate, path, refused, bearer(other));
      expect(answer.status).toBe(403);
      expect(refusalOf(dialect, answer)).toMatchObject({ type: types.denied, code: 'policy_denied', param: 'model' });
    }
  });

  test('an unknown model is refused with near matches', async () => {
    const answer = await post(gate, path, ask('simm'), bearer());
    expect(answer.status).toBe(404);
    expect(answer.headers['x-should-retry']).toBe('false');
    const refusal = refusalOf(dialect, answer);
    expect(refusal).toMatchObject({ type: types.missing, code: 'not_found', param: 'model' });
    expect(refusal.message).toContain('Did you mean sim');
  });

  test('a run that is not there is refused', async () => {
    const answer = await post(gate, path, ask(model), { ...bearer(), 'x-portcullis-run': 'run_nowhere' });
    expect(answer.status).toBe(404);
    expect(refusalOf(dialect, answer).param).toBe('x-portcullis-run');
  });

  const messages = '"messages":[{"role":"user","content":"hi"}]';
  const full = `"model":"${model}","max_tokens":5,${messages}`;
  const malformed: [string, string | Buffer][] = [
    ['nothing', ''],
    ['text', 'hello'],
    ['a list', '[]'],
    ['an object without its end', `{${full}`],
    ['something after the object', `{${full}} {}`],
    ['a trailing comma', `{${full},}`],
    ['single quotes', `{'model':'${model}',${messages}}`],
    ['a comment', `{${full}/**/}`],
    ['NaN', `{${full},"temperature":NaN}`],
    ['a control character', `{${full},"x":"\u0000"}`],
    ['a byte order mark', `\ufeff{${full}}`],
    ['UTF-16', Buffer.from(`{${full}}`, 'utf16le')],
    ['invalid UTF-8', Buffer.concat([Buffer.from(`{${full},"x":"`), Buffer.from([0xc3, 0x28]), Buffer.from('"}')])],
    [
      'an overlong encoding',
      Buffer.concat([Buffer.from(`{${full},"x":"`), Buffer.from([0xc0, 0xaf]), Buffer.from('"}')]),
    ],
    ['no model', `{"max_tokens":5,${messages}}`],
    ['a model that is no string', `{"model":["${model}"],"max_tokens":5,${messages}}`],
    ['a model with a line feed', `{"model":"${model}\\n","max_tokens":5,${messages}}`],
    ['nesting of 65 levels', `{${full},"x":${'['.repeat(64)}${']'.repeat(64)}}`],
    ['nesting of 100,000 levels', `{${full},"x":${'['.repeat(100_000)}`],
    ['more members than are accepted', `{${full},${Array.from({ length: 10_001 }, (_, i) => `"k${i}":0`).join(',')}}`],
  ];

  /** Bodies that one parser reads as one call and another as another. */
  const differentials: [string, string][] = [
    ['two models', `{"model":"sim","model":"${model}","max_tokens":5,${messages}}`],
    ['two models, one escaped', `{"model":"sim","mod\\u0065l":"${model}","max_tokens":5,${messages}}`],
    ['one model, escaped', `{"mod\\u0065l":"${model}","max_tokens":5,${messages}}`],
    ['a model in capitals beside one', `{"model":"sim","MODEL":"${model}","max_tokens":5,${messages}}`],
    ['a model in capitals alone', `{"Model":"${model}","max_tokens":5,${messages}}`],
    ['two limits', `{"model":"${model}","max_tokens":5,"max_tokens":500000,${messages}}`],
    ['two streams', `{"model":"${model}","max_tokens":5,"stream":false,"stream":true,${messages}}`],
    [
      'two roles in a message',
      `{"model":"${model}","max_tokens":5,"messages":[{"role":"user","role":"system","content":"hi"}]}`,
    ],
    [
      'two types in a block',
      `{"model":"${model}","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"a","type":"image"}]}]}`,
    ],
    ['a lone surrogate in a name', `{"model":"${model}","max_tokens":5,"x\\ud800":1,${messages}}`],
    ['a lone surrogate in the model', `{"model":"${model}\\ud800","max_tokens":5,${messages}}`],
    ['a zero byte in the model', `{"model":"${model}\\u0000","max_tokens":5,${messages}}`],
    ['a number for the stream', `{"model":"${model}","max_tokens":5,"stream":1,${messages}}`],
    ['a string for the limit', `{"model":"${model}","max_tokens":"5",${messages}}`],
    ['a fraction for the limit', `{"model":"${model}","max_tokens":5.5,${messages}}`],
    ['a limit beyond integers', `{"model":"${model}","max_tokens":1e300,${messages}}`],
    ['a negative limit', `{"model":"${model}","max_tokens":-5,${messages}}`],
  ];

  test.each([...malformed, ...differentials])('a body with %s is refused', async (_name, body) => {
    const answer = await post(gate, path, body, bearer());
    expect(answer.status).toBe(400);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(refusalOf(dialect, answer)).toMatchObject({ type: types.bad, code: 'invalid_argument' });
  });

  test.each([
    undefined,
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
  ])('a body of content type %s is refused', async (type) => {
    const answer = await post(gate, path, ask(model), { ...bearer(), 'content-type': type });
    expect(answer.status).toBe(400);
    expect(refusalOf(dialect, answer).message).toContain('application/json');
  });

  test('a compressed body is refused', async () => {
    const answer = await post(gate, path, ask(model), { ...bearer(), 'content-encoding': 'gzip' });
    expect(answer.status).toBe(400);
    expect(refusalOf(dialect, answer).message).toContain('Content-Encoding');
  });

  const big = Buffer.alloc(33 * 1024 * 1024, 0x20);

  test.each(['with its length', 'in chunks'])('an oversized body that is sent %s is refused', async (how) => {
    const headers = how === 'in chunks' ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(big.length) };
    const answer = await post(gate, path, big, { ...bearer(), ...headers });
    expect(answer.status).toBe(413);
    expect(refusalOf(dialect, answer).code).toBe('payload_too_large');
  });

  test('an oversized body is refused by its length alone', async () => {
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${secret}\r\ncontent-type: application/json\r\ncontent-length: 40000000\r\n\r\n`;
    expect(await exchange(head)).toMatch(/^HTTP\/1\.1 413 /);
  });

  test('a truncated body is refused', async () => {
    const body = ask(model);
    const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${secret}\r\ncontent-type: application/json\r\ncontent-length: ${body.length + 5}\r\n\r\n`;
    expect(await exchange(head + body, { end: true })).toMatch(/^(HTTP\/1\.1 400 |$)/);
  });
});

test('what is refused before its caller is known leaves no row', async () => {
  const answer = await post(gate, doors.anthropic.path, ask('claude-1'), { authorization: 'Bearer nonsense' });
  expect(answer.status).toBe(401);
  expect(refusalOf('anthropic', answer)).toMatchObject({ type: 'authentication_error', code: 'unauthenticated' });
  // A later row is there, so this one would be too.
  await gate.ledgerRow(String((await post(gate, doors.chat.path, '', bearer())).headers['x-request-id']));
  const ids = (await gate.ledger()).map(({ requestId }) => requestId);
  expect(ids).not.toContain(answer.headers['x-request-id']);
});

test('what a known caller is refused is audited once, and then counted', async () => {
  const { secret: other, agentId } = await gate.agent('audited', { models: ['nothing'] });
  for (let i = 0; i < 5; i++) await post(gate, doors.chat.path, ask('gpt-1'), bearer(other));
  await expect
    .poll(
      async () => {
        const { rows } = await gate.database.pool.query<{ action: string }>(
          'SELECT action, target FROM audit_entries WHERE actor_id = $1 ORDER BY action',
          [agentId],
        );
        return rows;
      },
      { timeout: 10_000 },
    )
    .toEqual([
      { action: 'call.denied', target: 'key.models' },
      { action: 'key.first_used', target: expect.any(String) },
    ]);
});

test('nothing of all this reached a provider, or held money', async () => {
  expect(await mock.requests()).toEqual([]);
  expect(await gate.holds()).toEqual({});
});

/** Writes these bytes on a connection of its own, and reads what comes back until the server closes. */
function exchange(bytes: string, { end = false } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(gate.url);
    const socket = connect(Number(port), hostname, () => (end ? socket.end(bytes) : socket.write(bytes)));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}
