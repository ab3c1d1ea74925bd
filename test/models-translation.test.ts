import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { translatedBodyBytesMax } from '../server/src/base/limits.ts';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, doors, post, providerKeys, startGateWithMock } from './support/models.ts';

/** Another dialect on the other side: every field is mapped, refused by name, or dropped and listed. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

beforeAll(async () => {
  const lossy = (provider: string) => ({ targets: [{ provider }], lossy: 'allow' });
  ({ gate, mock, stop } = await startGateWithMock({
    models: {
      'claude-lossy': lossy('claude'),
      'gpt-lossy': lossy('gpt'),
      'gpt-elsewhere': { targets: [{ provider: 'elsewhere' }] },
    },
    extend: (yaml) => {
      const configuration = JSON.parse(yaml) as { providers: Record<string, object> };
      configuration.providers['elsewhere'] = { ...configuration.providers['gpt'] };
      return JSON.stringify(configuration);
    },
  }));
  ({ secret } = await gate.agent('translated'));
});

afterAll(() => stop());
beforeEach(() => mock.reset());

const call = (client: keyof typeof doors, model: string, rest: object = {}): Promise<RawAnswer> =>
  post(gate, doors[client].path, ask(model, rest), { authorization: `Bearer ${secret}` });

const crossings = [
  { client: 'anthropic', provider: 'gpt', unknown: { top_k: 5 }, param: 'top_k' },
  { client: 'chat', provider: 'claude', unknown: { logprobs: true }, param: 'logprobs' },
] as const;

test('reasoning goes back to the server that wrote it, and to no other', async () => {
  const chunks = [
    JSON.stringify({
      id: 'c1',
      model: 'm',
      choices: [
        { index: 0, message: { role: 'assistant', content: 'Hi.', reasoning_content: 'Hm.' }, finish_reason: 'stop' },
      ],
    }),
  ];
  await mock.script({ reply: { headers: { 'content-type': 'application/json' }, chunks } });
  const first = JSON.parse((await call('anthropic', 'gpt-1')).body.toString()) as { content: object[] };
  await mock.reset();
  const question = { role: 'user', content: 'hi' };
  const messages = [question, { role: 'assistant', content: first.content }, question];
  for (const model of ['gpt-1', 'gpt-elsewhere']) {
    expect((await call('anthropic', model, { messages })).status).toBe(200);
  }
  const bodies = (await mock.requests()).map(({ body }) => JSON.parse(String(body)) as { messages: object[] });
  expect(bodies.map((body) => body.messages[1])).toEqual([
    { role: 'assistant', content: 'Hi.', reasoning_content: 'Hm.' },
    { role: 'assistant', content: 'Hi.' },
  ]);
});

describe.each(crossings)('from $client to $provider', ({ client, provider, unknown, param }) => {
  test('a field without a counterpart is refused by name, before any money is held', async () => {
    const answer = await call(client, `${provider}-1`, unknown);
    expect(answer.status).toBe(400);
    expect(answer.headers['x-should-retry']).toBe('false');
    expect(answer.body.toString()).toContain(`"param":"${param}"`);
    expect(await mock.requests()).toEqual([]);
    expect((await gate.holds()).held).toBeUndefined();
  });

  test.each([false, true])('a lossy route drops and lists it (streamed: %s)', async (stream) => {
    const answer = await call(client, `${provider}-lossy`, { ...unknown, stream });
    expect(answer.status).toBe(200);
    expect(answer.headers['portcullis-dropped']).toBe(param);
    expect((await mock.requests())[0]?.body?.toString()).not.toContain(param);
  });

  test('an error of the provider keeps its wording, its class and when to try again, and loses credentials', async () => {
    const key = provider === 'claude' ? providerKeys.claude : providerKeys.gpt;
    const body = JSON.stringify({ error: { type: 'rate_limit_error', message: `Slow down, ${key}` } });
    const headers = { 'content-type': 'application/json', 'retry-after': '3', 'x-secret': key };
    await mock.script({ model: `${provider}-limited`, reply: { status: 429, headers, chunks: [body] } });
    const answer = await call(client, `${provider}-limited`);
    expect(answer.status).toBe(429);
    expect(answer.headers['retry-after']).toBe('3');
    expect(answer.headers).not.toHaveProperty('x-secret');
    const { error } = JSON.parse(answer.body.toString()) as { error: { type: string; message: string } };
    expect(error).toMatchObject({ type: 'rate_limit_error', message: 'Slow down, [redacted]' });
  });

  test('nothing of the client but its words reaches the provider', async () => {
    const headers = {
      authorization: `Bearer ${secret}`,
      'anthropic-beta': 'x',
      'openai-organization': 'y',
      cookie: 'z',
    };
    await post(gate, doors[client].path, ask(`${provider}-1`), headers);
    const names = ((await mock.requests())[0]?.headers ?? []).map(([name]) => name.toLowerCase());
    const ours = ['host', 'connection', 'content-type', 'content-length', 'accept-encoding', 'x-request-id'];
    const theirs =
      provider === 'claude' ? ['x-api-key', 'anthropic-version'] : ['authorization', 'x-client-request-id'];
    expect(new Set(names)).toEqual(new Set([...ours, ...theirs]));
  });
});

test('a body that must be parsed may not be as long as one that passes', async () => {
  const messages = [{ role: 'user', content: 'a'.repeat(translatedBodyBytesMax) }];
  for (const [client, model] of [
    ['anthropic', 'gpt-1'],
    ['chat', 'claude-1'],
    ['chat', 'sim'],
    ['anthropic', 'sim'],
  ] as const) {
    const answer = await call(client, model, { messages });
    expect(answer.status).toBe(413);
    expect(answer.body.toString()).toContain(`larger than ${translatedBodyBytesMax} bytes`);
  }
  const headers = { authorization: `Bearer ${secret}` };
  const counted = await post(gate, '/v1/messages/count_tokens', ask('gpt-1', { messages }), headers);
  expect(counted.status).toBe(413);
  expect(await mock.requests()).toEqual([]);
  expect((await call('chat', 'gpt-1', { messages })).status).toBe(200);
});

test('an overflow of the context reads as the client of each dialect expects it', async () => {
  const message = "This model's maximum context length is 8192 tokens.";
  const body = JSON.stringify({ error: { message, type: 'invalid_request_error', code: 'context_length_exceeded' } });
  const headers = { 'content-type': 'application/json' };
  await mock.script({ model: 'gpt-full', reply: { status: 400, headers, chunks: [body] } });
  const told = await call('anthropic', 'gpt-full');
  expect(told.body.toString()).toContain('"message":"prompt is too long: ');
  const wording = JSON.stringify({
    type: 'error',
    error: { type: 'invalid_request_error', message: 'prompt is too long: 9 tokens > 8' },
  });
  await mock.script({ model: 'claude-full', reply: { status: 400, headers, chunks: [wording] } });
  expect((await call('chat', 'claude-full')).body.toString()).toContain('"code":"context_length_exceeded"');
});

test('parallel tool calls, with big numbers in their arguments, come through in both directions', async () => {
  const blocks = [
    { type: 'tool_call' as const, id: 'a1', name: 'first', input: { x: 1 } },
    { type: 'tool_call' as const, id: 'b2', name: 'second', input: { y: ['é', null] } },
  ];
  const schema = { type: 'object', properties: {} };
  const tools = {
    anthropic: ['first', 'second'].map((name) => ({ name, input_schema: schema })),
    chat: ['first', 'second'].map((name) => ({ type: 'function', function: { name, parameters: schema } })),
  };
  for (const stream of [false, true]) {
    await mock.script({ model: 'gpt-tools', blocks, times: 1 });
    const toAnthropic = (await call('anthropic', 'gpt-tools', { tools: tools.anthropic, stream })).body.toString();
    expect(toAnthropic.match(/"type":"tool_use"/g)).toHaveLength(2);
    expect(toAnthropic).toContain('"stop_reason":"tool_use"');
    await mock.script({ model: 'claude-tools', blocks, times: 1 });
    const toChat = (await call('chat', 'claude-tools', { tools: tools.chat, stream })).body.toString();
    expect(toChat.match(/"name":"(first|second)"/g)).toHaveLength(2);
    expect(toChat).toContain('"finish_reason":"tool_calls"');
  }
  const id = 12345678901234567890n;
  const turns = `[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"a1","type":"function","function":{"name":"first","arguments":"{\\"id\\":${id}}"}}]},{"role":"tool","tool_call_id":"a1","content":"ok"}]`;
  const body = `{"model":"claude-1","max_tokens":9,"messages":${turns},"tools":${JSON.stringify(tools.chat)}}`;
  await mock.reset();
  const answer = await post(gate, doors.chat.path, body, { authorization: `Bearer ${secret}` });
  expect(answer.status).toBe(200);
  expect((await mock.requests())[0]?.body?.toString()).toContain(`"input":{"id":${id}}`);
});
