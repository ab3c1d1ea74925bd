import { request as httpRequest, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readAnthropicStream } from '../server/src/llm/testing/anthropic-grammar.ts';
import { readChatStream } from '../server/src/llm/testing/chat-grammar.ts';
import { talk } from './support/doors.ts';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import type { ScriptInput } from './support/mock-upstream/script.ts';
import { type RawAnswer, ask, doors, post, startGateWithMock } from './support/models.ts';

/** What a stream does while nothing comes, while nobody reads, and when somebody leaves. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

beforeAll(async () => {
  const timeouts = { first_byte_ms: 30_000, idle_ms: 500 };
  const models = Object.fromEntries(
    ['claude', 'gpt'].map((name) => [`${name}-idle-*`, { targets: [{ provider: name, timeouts }] }]),
  );
  ({ gate, mock, stop } = await startGateWithMock({ models, env: { STREAM_PING_MS: '400' } }));
  ({ secret } = await gate.agent('streamer'));
  await gate.budget({ name: 'all', unit: 'USD', limit: 10n ** 15n });
});

afterAll(() => stop());
beforeEach(() => mock.reset());

type Client = keyof typeof doors;

const read = { anthropic: readAnthropicStream, chat: readChatStream } as const;
const signOfLife = { anthropic: 'event: ping\ndata: {"type": "ping"}\n\n', chat: ': keep-alive\n\n' } as const;
const combinations = (['anthropic', 'chat'] as const).flatMap((client) =>
  (['claude', 'gpt'] as const).map((provider) => ({ client, provider })),
);

let calls = 0;

/** A model name of its own for a script, and the request that asks for it. */
async function scripted(provider: string, script: ScriptInput, rest: object = {}) {
  const requestId = `stream-${calls++}`;
  const model = `${provider}-${requestId}`;
  await mock.script({ ...script, model });
  const headers = { authorization: `Bearer ${secret}`, 'x-request-id': requestId };
  return { requestId, headers, body: ask(model, { stream: true, ...rest }) };
}

async function call(client: Client, provider: string, script: ScriptInput, rest?: object): Promise<RawAnswer> {
  const { headers, body } = await scripted(provider, script, rest);
  return post(gate, doors[client].path, body, headers);
}

describe.each(combinations)('a $client client of $provider', ({ client, provider }) => {
  const signs = (body: string) => body.split(signOfLife[client]).length - 1;

  test.each([
    ['before its head', { latencyMs: 1500 }],
    ['after its head', { firstEventMs: 1500 }],
  ])('hears signs of life while the provider is silent %s, and then the answer', async (_when, script) => {
    const { status, headers, body } = await call(client, provider, { ...script, tokens: 3 });
    expect([status, headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8']);
    expect(body.toString().startsWith(signOfLife[client].repeat(2))).toBe(true);
    expect(read[client](body.toString())).toMatchObject({
      ending: 'finished',
      blocks: [{ type: 'text', text: 'word1 word2 word3' }],
    });
  });

  test('hears signs of life between the events of a slow answer, and none after its end', async () => {
    const { body } = await call(client, provider, { tokens: 3, tokensPerSecond: 0.7 });
    expect(signs(body.toString())).toBeGreaterThan(3);
    expect(read[client](body.toString()).ending).toBe('finished');
    expect(body.toString().endsWith(signOfLife[client])).toBe(false);
  });

  test('hears nothing but the answer of a provider that is quick', async () => {
    const { body } = await call(client, provider, { tokens: 100 });
    expect(signs(body.toString())).toBe(0);
  });

  test.each([400, 429, 529])('is told of a refusal (%s) after the head by an event', async (error) => {
    const { status, body } = await call(client, provider, { error, latencyMs: 1200 });
    expect(status).toBe(200);
    expect(read[client](body.toString())).toMatchObject({ ending: 'failed', blocks: [] });
    expect(body.toString()).toContain(`The mock was told to answer ${error}.`);
  });

  test('is told by a status of an error event that comes before anything else', async () => {
    const error = { type: 'overloaded_error', message: 'Overloaded' };
    const event = `event: error\ndata: ${JSON.stringify({ type: 'error', error })}\n\n`;
    const reply = { headers: { 'content-type': 'text/event-stream' }, chunks: [': hello\n\n', event] };
    const answer = await call(client, provider, { reply });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { message: 'Overloaded' } });
  });

  test('does not wait longer for the answer because the provider shows that it lives', async () => {
    const reply = { headers: { 'content-type': 'text/event-stream' }, chunks: [': wait\n\n', ': wait\n\n'] };
    const { body } = await call(client, `${provider}-hasty`, { reply, stallAfter: 2 });
    expect(read[client](body.toString())).toMatchObject({ ending: 'failed', blocks: [] });
    expect(body.toString()).toContain('The provider did not begin its answer within 0.7 s.');
  });
});

/** Makes a call whose answer nobody reads until `read`. */
async function unread(client: Client, provider: string, script: ScriptInput) {
  const { headers, body, requestId } = await scripted(provider, script, { max_tokens: 1_000_000 });
  const request = httpRequest(gate.url + doors[client].path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
  });
  request.on('error', () => undefined);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.on('error', () => undefined);
  return { requestId, leave: () => request.destroy(), read: () => text(response) };
}

const long: ScriptInput = { tokens: 700_000 };

/** The kernel's buffers of both connections. All of the answer is far more. */
const bufferedBytesMax = 50 * 1024 * 1024;

test('a client that does not read holds the provider up, and after the idle time the call ends and says why', async () => {
  for (const provider of ['claude-idle', 'gpt-idle']) {
    const client = await unread('anthropic', provider, long);
    const row = await gate.ledgerRow(client.requestId);
    expect(row).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_TIMEOUT',
      errorClass: 'deadline_exceeded',
      provenance: 'PROVENANCE_ESTIMATED',
    });
    const [seen] = (await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'))).slice(-1);
    expect(seen?.outcome).toBe('client_aborted');
    expect(seen?.bytesSent).toBeLessThan(bufferedBytesMax);
    // The bytes that were on their way are whole events, and the error comes after them.
    const body = await client.read();
    expect(readAnthropicStream(body).ending).toBe('failed');
    expect(body).toContain('The client took nothing of its answer for 0.5 s.');
  }
});

test('a client that reads again in time gets all of its answer', async () => {
  const tokens = 200_000;
  const client = await unread('chat', 'gpt', { tokens });
  await mock.until((requests) => (requests.at(-1)?.chunksSent ?? 0) > 1_000);
  const body = await client.read();
  expect(readChatStream(body).ending).toBe('finished');
  expect(body).toContain(`word${tokens}"`);
  expect(await gate.ledgerRow(client.requestId)).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_SUCCESS' });
});

/** A bar of one second, and as much again for a busy machine. */
const soonMs = 2_000;

describe('a client that leaves', () => {
  const moments: [string, ScriptInput][] = [
    ['before the head', { never: true }],
    ['before the first event', { stallAfter: 0 }],
    ['while the provider talks', { tokens: 100_000, tokensPerSecond: 20 }],
    ['while the provider is silent', { stallAfter: 4 }],
    ['while it does not read', long],
  ];

  test.each(moments)('%s takes the call away from the provider at once', async (_when, script) => {
    for (const [client, provider] of [
      ['anthropic', 'claude'],
      ['chat', 'claude'],
      ['chat', 'gpt'],
    ] as const) {
      // The head comes with the first sign of life at the latest.
      const { leave, requestId } = await unread(client, provider, script);
      leave();
      const seen = await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'), soonMs);
      expect(seen.at(-1)?.outcome).toBe('client_aborted');
      expect(await gate.ledgerRow(requestId)).toMatchObject({
        outcome: 'ATTEMPT_OUTCOME_CLIENT_CLOSED',
        errorClass: 'client_closed',
        provenance: 'PROVENANCE_ESTIMATED',
      });
    }
  });
});

test('a client of HTTP/1.0 gets its events unframed, and the end of the connection as their end', async () => {
  const { headers, body } = await scripted('gpt', { tokens: 20, tokensPerSecond: 100 });
  const head = Object.entries({ host: new URL(gate.url).host, 'content-type': 'application/json', ...headers });
  const lines = [...head, ['content-length', Buffer.byteLength(body)]].map(([name, value]) => `${name}: ${value}\r\n`);
  const heard = await talk(gate.url, `POST ${doors.chat.path} HTTP/1.0\r\n${lines.join('')}\r\n${body}`);
  const [answer = '', events = ''] = heard.split(/\r\n\r\n(.*)/s);
  expect(answer.toLowerCase()).not.toContain('transfer-encoding');
  expect(readChatStream(events).ending).toBe('finished');
});
