import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream, SeenRequest } from './support/mock-upstream/client.ts';
import { ask, doors, post, providerKeys, startGateWithMock } from './support/models.ts';

/** Same dialect on both sides: what the client sends is what the provider gets, and the other way round. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

beforeAll(async () => {
  const renamed = (provider: string) => ({ targets: [{ provider, model: 'the-real-name' }] });
  const models = { 'claude-renamed': renamed('claude'), 'gpt-renamed': renamed('gpt') };
  ({ gate, mock, stop } = await startGateWithMock({ models }));
  ({ secret } = await gate.agent('bytes'));
});

afterAll(() => stop());
beforeEach(() => mock.reset());

const bearer = () => ({ authorization: `Bearer ${secret}` });

async function seen(): Promise<SeenRequest> {
  const [request] = await mock.until((requests) => requests.length === 1 && requests[0]?.outcome !== 'open');
  if (!request) throw new Error('nothing reached the provider');
  return request;
}

const headersOf = ({ headers }: SeenRequest) =>
  Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));

const oddBodies = (model: string) =>
  [
    [
      'odd white space',
      `\r\n\t{ "model"\t:\n "${model}" ,"max_tokens":50,\n\n"messages" : [ {"role":"user","content":"hi"}]}\n `,
    ],
    ['an unusual order of keys', `{"messages":[{"content":"hi","role":"user"}],"max_tokens":50,"model":"${model}"}`],
    [
      'unicode escapes',
      `{"model":"${model}","max_tokens":50,"messages":[{"role":"user","content":"\\u0068\\u00e9\\ud83d\\ude00 é😀\\/"}]}`,
    ],
    [
      'an escaped model name',
      `{"model":"\\u0063${model.slice(1)}","max_tokens":50,"messages":[{"role":"user","content":"hi"}]}`,
    ],
    [
      'big numbers',
      `{"model":"${model}","max_tokens":50,"x":[12345678901234567890123,1.0,1E400,-0,0.10000000000000000055],"messages":[{"role":"user","content":"hi"}]}`,
    ],
    [
      'fields that nobody knows',
      `{"model":"${model}","max_tokens":50,"future":{"a":[true,null,{"b":[]}]},"messages":[{"role":"user","content":"hi"}]}`,
    ],
  ] as const;

describe.each(['anthropic', 'chat'] as const)('the body of a call in the %s dialect', (dialect) => {
  const { path, model } = doors[dialect];

  // The name of an escaped model begins with "c" in both cases.
  const bodies = oddBodies(model).filter(([name]) => dialect === 'anthropic' || name !== 'an escaped model name');
  test.each(bodies)('reaches the provider byte for byte with %s', async (_name, body) => {
    expect((await post(gate, path, body, bearer())).status).toBe(200);
    const request = await seen();
    expect(request.body?.toString()).toBe(body);
    expect(request.path).toBe(path);
  });

  test('changes in the name of the model alone, where the route gives it another', async () => {
    const asked = dialect === 'anthropic' ? 'claude-renamed' : 'gpt-renamed';
    const body = `{ "messages":[{"role":"user","content":"${asked}"}], "max_tokens" : 50,"model" : "${asked}" , "z":1e2}`;
    expect((await post(gate, path, body, bearer())).status).toBe(200);
    expect((await seen()).body?.toString()).toBe(body.replace(`"model" : "${asked}"`, '"model" : "the-real-name"'));
  });
});

// Behind one account of the gate's are many tenants (decision 0011).
test.each([
  ['anthropic', 'container', { container: 'container_1' }],
  [
    'anthropic',
    'messages[0].content[0].source.file_id',
    part({ type: 'image', source: { type: 'file', file_id: 'f' } }),
  ],
  ['chat', 'messages[0].content[0].file.file_id', part({ type: 'file', file: { file_id: 'f' } })],
  ['chat', 'messages[0].audio', { messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] }],
] as const)(
  'what the provider stores is refused in the %s dialect, without any budget: %s',
  async (dialect, param, rest) => {
    const { path, model } = doors[dialect];
    const refused = await post(gate, path, ask(model, rest), bearer());
    expect([refused.status, refused.body.toString()]).toEqual([400, expect.stringContaining(`"param":"${param}"`)]);
    expect(await mock.requests()).toEqual([]);
  },
);

function part(content: object): object {
  return { messages: [{ role: 'user', content: [content] }] };
}

describe('a chat stream', () => {
  const body = '{"stream":true ,"model":"gpt-1","messages":[{"role":"user","content":"hello"}] }';

  test('asks the provider for usage, and keeps its chunk from a client that did not', async () => {
    const answer = await post(gate, doors.chat.path, body, bearer());
    const [request] = await mock.requests();
    expect(request?.body?.toString()).toBe(`${body.slice(0, -1)},"stream_options":{"include_usage":true}}`);
    const events = answer.body.toString().split('\n\n');
    expect(events.at(-2)).toBe('data: [DONE]');
    expect(events.at(-3)).toContain('"finish_reason":"stop"');
    expect(answer.body.toString()).not.toContain('prompt_tokens');
  });

  test('keeps other stream options, and leaves the usage to a client that asked for it', async () => {
    const asking = body.replace('{', '{"stream_options":{"x":1,"include_usage":true},');
    const answer = await post(gate, doors.chat.path, asking, bearer());
    expect((await seen()).body?.toString()).toBe(asking);
    expect(answer.body.toString()).toContain('"choices":[],"usage":{"prompt_tokens"');
    await mock.reset();
    await post(gate, doors.chat.path, body.replace('{', '{"stream_options":{"x":1},'), bearer());
    expect(JSON.parse(String((await seen()).body))).toMatchObject({ stream_options: { x: 1, include_usage: true } });
  });

  test('passes chunks without choices that are not the usage', async () => {
    const chunks = [
      'data: {"choices":[],"usage":null,"prompt_filter_results":[]}\n\n',
      'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}],"usage":null}\n\n',
      'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n',
      'data: [DONE]\n\n',
    ];
    await mock.script({ model: 'gpt-1', reply: { headers: { 'content-type': 'text/event-stream' }, chunks } });
    const answer = await post(gate, doors.chat.path, body, bearer());
    expect(answer.body.toString()).toBe([chunks[0], chunks[1], chunks[3]].join(''));
  });

  test('of several answers is held back only when all of them have ended', async () => {
    await mock.script({ model: 'gpt-two', tokens: 3, tokensPerSecond: 5 });
    const text: string[] = [];
    const response = await fetch(gate.url + doors.chat.path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...bearer() },
      body: ask('gpt-two', { n: 2, stream: true }),
    });
    for await (const chunk of response.body ?? []) text.push(Buffer.from(chunk).toString());
    const part = text.findIndex((chunk) => chunk.includes('"index":1'));
    // The second answer came in pieces, not all at once with the end.
    expect(part).toBeGreaterThan(0);
    expect(text.length - part).toBeGreaterThan(2);
    expect(text.join('').match(/"finish_reason":"stop"/g)).toHaveLength(2);
  });
});

test.each([
  [
    'anthropic',
    'an event',
    'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":1,"output_tokens":1}}}\n\n',
  ],
  ['anthropic', 'a ping', 'event: ping\ndata: {"type": "ping"}\n\n'],
  ['anthropic', 'a comment', ': keep-alive\n\n'],
  ['anthropic', 'an unknown event', 'event: novelty\nid: 7\ndata: {"type":"novelty",\ndata: "x":1}\n\n'],
  ['anthropic', 'carriage returns', 'event: ping\r\ndata: {"type": "ping"}\r\n\r\n'],
  ['chat', 'an unknown member', 'data: {"choices":[{"index":0,"delta":{"reasoning":"hm"}}],"provider":"x"}\n\n'],
] as const)('a stream in the %s dialect passes %s byte for byte', async (dialect, _what, chunk) => {
  const ending = {
    anthropic: 'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    chat: 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
  }[dialect];
  const { path, model } = doors[dialect];
  const chunks = [...Array.from({ length: 3 }, () => chunk), ending];
  await mock.script({ model, reply: { headers: { 'content-type': 'text/event-stream' }, chunks } });
  const answer = await post(gate, path, ask(model, { stream: true }), bearer());
  expect(answer.body.toString()).toBe(chunks.join(''));
});

/** The least event of an answer. */
const word = {
  anthropic: 'event: novelty\ndata: {"type":"novelty"}\n\n',
  chat: 'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
} as const;

describe('credentials', () => {
  const presented = [
    ['Authorization', () => ({ authorization: `Bearer ${secret}` })],
    ['x-api-key', () => ({ 'x-api-key': secret })],
  ] as const;

  test.each(presented)('in %s stay with the gate, which uses its own', async (_name, headers) => {
    await post(gate, doors.anthropic.path, ask('claude-1'), headers());
    await post(gate, doors.chat.path, ask('gpt-1'), headers());
    const [toClaude, toGpt] = await mock.requests();
    if (!toClaude || !toGpt) throw new Error('not both calls reached the provider');
    expect(headersOf(toClaude)).toMatchObject({ 'x-api-key': providerKeys.claude });
    expect(headersOf(toClaude)).not.toHaveProperty('authorization');
    expect(headersOf(toGpt)).toMatchObject({ authorization: `Bearer ${providerKeys.gpt}` });
    expect(headersOf(toGpt)).not.toHaveProperty('x-api-key');
    expect(JSON.stringify([toClaude.headers, toGpt.headers])).not.toContain(secret);
  });

  test.each(['anthropic', 'chat'] as const)(
    'of the gate never reach a %s client, though the provider echo them',
    async (dialect) => {
      const { path, model } = doors[dialect];
      const key = dialect === 'anthropic' ? providerKeys.claude : providerKeys.gpt;
      const echo = { error: { type: 'invalid_request_error', message: `Bad key ${key}!` } };
      const headers = { 'content-type': 'application/json' };
      await mock.script({ model, times: 1, reply: { status: 400, headers, chunks: [JSON.stringify(echo)] } });
      const plain = await post(gate, path, ask(model), bearer());
      expect(plain.status).toBe(400);
      expect(plain.body.toString()).toBe(JSON.stringify(echo).replace(key, '[redacted]'));
      const event = `event: error\ndata: {"type":"error",${JSON.stringify(echo).slice(1)}\n\n`;
      await mock.script({
        model,
        times: 1,
        reply: { headers: { 'content-type': 'text/event-stream' }, chunks: [event] },
      });
      const streamed = await post(gate, path, ask(model, { stream: true }), bearer());
      // An error before anything else is an HTTP error.
      expect(streamed.status).toBe(400);
      expect(JSON.parse(streamed.body.toString())).toMatchObject({ error: { message: 'Bad key [redacted]!' } });
      const late = [word[dialect], event];
      await mock.script({ model, times: 1, reply: { headers: { 'content-type': 'text/event-stream' }, chunks: late } });
      const begun = await post(gate, path, ask(model, { stream: true }), bearer());
      expect(begun.body.toString()).toBe(late.join('').replace(key, '[redacted]'));
    },
  );
});

test('headers for the provider pass, and all others stay', async () => {
  const passing = {
    'anthropic-beta': 'a-2026-01-01,b-2026-02-02',
    'anthropic-version': '2024-10-22',
    'openai-beta': 'assistants=v2',
    'x-stainless-lang': 'js',
    'x-claude-code-session-id': 'session-1',
    'user-agent': 'agent/1.0',
  };
  const staying = {
    cookie: 'a=b',
    'x-forwarded-for': '8.8.8.8',
    forwarded: 'for=8.8.8.8',
    'x-real-ip': '8.8.8.8',
    'x-portcullis-note': 'x',
    'x-request-id': 'mine-1',
    'accept-encoding': 'gzip',
    referer: 'http://x/',
    'proxy-authorization': 'Basic abc',
    te: 'trailers',
    'openai-organization': 'org-1',
    'openai-project': 'proj-1',
    'anthropic-organization-id': 'org-1',
    'anthropic-workspace-id': 'wrkspc-1',
  };
  for (const { path, model } of [doors.anthropic, doors.chat]) {
    await post(gate, path, ask(model), { ...bearer(), ...passing, ...staying });
    const got = headersOf(await seen());
    expect(got).toMatchObject(passing);
    for (const [name, value] of Object.entries(staying)) expect(got[name]).not.toBe(value);
    expect(Object.keys(got).filter((name) => /organization|project|workspace/.test(name))).toEqual([]);
    expect(Object.keys(got).filter((name) => name.startsWith('x-portcullis'))).toEqual([]);
    await mock.reset();
  }
  expect((await gate.ledger())[0]).toMatchObject({ clientSession: 'session-1', requestId: 'mine-1' });
});

test.each([
  ['an answer', 200, false],
  ['a stream', 200, true],
  ['a refusal', 403, false],
] as const)(
  '%s tells nothing of the account at the provider, and has the request id of the gate',
  async (_what, status, stream) => {
    const account = {
      'anthropic-organization-id': 'org-1',
      'openai-organization': 'org-1',
      'openai-project': 'proj-1',
      'request-id': 'req_theirs',
      'x-request-id': 'req_theirs',
      location: 'http://inside/',
      'www-authenticate': 'Bearer realm="inside"',
    };
    for (const [dialect, { path, model }] of Object.entries(doors)) {
      await mock.script({ model, headers: account, ...(status === 200 ? {} : { error: status }) });
      const { headers, status: answered } = await post(gate, path, ask(model, { stream }), bearer());
      expect(answered).toBe(status);
      for (const name of Object.keys(account).filter((name) => !name.endsWith('request-id')))
        expect(headers).not.toHaveProperty(name);
      expect(headers['x-request-id']).toMatch(/^req_(?!theirs)/);
      expect(headers['request-id']).toBe(dialect === 'anthropic' ? headers['x-request-id'] : undefined);
    }
  },
);

test.each([false, true])('what the gate tells of a call is not the provider’s to tell (stream: %s)', async (stream) => {
  const told = {
    ratelimit: '"theirs";r=0;t=9',
    'ratelimit-policy': '"theirs";q=1;w=60',
    'idempotent-replayed': 'true',
    'idempotency-replayed': 'true',
    'portcullis-attempts': '9',
    'portcullis-cache': 'hit; age=9',
    'portcullis-dropped': 'all',
    'clear-site-data': '"*"',
  };
  for (const { path, model } of Object.values(doors)) {
    await mock.script({ model, headers: told });
    const { headers } = await post(gate, path, ask(model, { stream }), bearer());
    expect(headers).toMatchObject({
      ratelimit: expect.stringMatching(/^"models";r=/),
      'ratelimit-policy': expect.stringMatching(/^"models";q=/),
    });
    expect(Object.keys(headers).filter((name) => /^portcullis-|replayed|site-data/.test(name))).toEqual([]);
  }
});

test('a header that may come once counts as absent when it is repeated', async () => {
  const headers = { ...bearer(), 'x-portcullis-run': ['run_a', 'run_b'] as unknown as string };
  expect((await post(gate, doors.chat.path, ask('gpt-1'), headers)).status).toBe(200);
});

describe('a refusal of the provider', () => {
  const bodies = [
    '{"type":"error","error":{"type":"overloaded_error", "message":"Überlastet"}}\n',
    '<html>Bad gateway</html>',
    '',
  ];

  test.each([400, 403, 404, 409, 413, 422, 429, 500, 503, 529])('with status %s passes as it came', async (status) => {
    for (const { path, model } of [doors.anthropic, doors.chat]) {
      for (const text of bodies) {
        const headers = {
          'content-type': 'text/x-strange',
          'retry-after-ms': '0',
          'retry-after': '7',
          'x-should-retry': 'false',
          server: 'them',
        };
        const reply = { status, headers: { ...headers, 'set-cookie': 'a=b' }, chunks: text === '' ? [] : [text] };
        // A name of its own, since the breaker of a model remembers what became of it.
        const refusing = `${model}-${status}`;
        await mock.script({ model: refusing, times: 1, reply });
        const answer = await post(gate, path, ask(refusing, { stream: status % 2 === 0 }), bearer());
        expect(answer.status).toBe(status);
        expect(answer.body.toString()).toBe(text);
        expect(answer.headers).toMatchObject({ 'content-type': 'text/x-strange', 'retry-after': '7' });
        expect(answer.headers).not.toHaveProperty('set-cookie');
        expect(answer.headers['x-request-id']).toMatch(/^req_/);
      }
    }
  });

  test('with status 401 is about the credential of the gate, so the client is told 502', async () => {
    for (const [dialect, { path, model }] of Object.entries(doors)) {
      await mock.script({ model, error: 401 });
      const answer = await post(gate, path, ask(model), bearer());
      expect(answer.status).toBe(502);
      const { error } = JSON.parse(answer.body.toString()) as { error: { message: string; type: string } };
      expect(error.message).toMatch(/^Provider (claude|gpt) refused the gate's credential/);
      expect(error.type).toBe(dialect === 'anthropic' ? 'api_error' : 'server_error');
    }
    expect((await gate.ledger()).slice(0, 2).map(({ errorClass }) => errorClass)).toEqual(['http_401', 'http_401']);
  });
});

test('count_tokens passes to a provider that offers it, and costs nothing', async () => {
  const answer = await post(gate, '/v1/messages/count_tokens', ask('claude-1'), {
    ...bearer(),
    'x-request-id': 'count-1',
  });
  expect(JSON.parse(answer.body.toString())).toEqual({ input_tokens: expect.any(Number) });
  expect((await seen()).path).toBe('/v1/messages/count_tokens');
  const row = await gate.ledgerRow('count-1');
  expect(row).toMatchObject({
    outcome: 'ATTEMPT_OUTCOME_SUCCESS',
    provenance: 'PROVENANCE_MEASURED',
    costNanousd: '0',
  });
});

test('count_tokens is answered here for a provider that does not offer it', async () => {
  for (const model of ['gpt-1', 'sim']) {
    const answer = await post(gate, '/v1/messages/count_tokens', ask(model), {
      ...bearer(),
      'x-request-id': `local-${model}`,
    });
    expect(answer.status).toBe(200);
    expect((JSON.parse(answer.body.toString()) as { input_tokens: number }).input_tokens).toBeGreaterThan(0);
    expect(answer.headers['request-id']).toBe(`local-${model}`);
  }
  expect(await mock.requests()).toEqual([]);
  await gate.ledgerRow((await post(gate, doors.chat.path, ask('none'), bearer())).headers['x-request-id'] as string);
  expect((await gate.ledger()).filter(({ requestId }) => requestId.startsWith('local-'))).toEqual([]);
});

test('no credential of all these calls is in the log', async () => {
  const log = await gate.settledLog();
  expect(log).toContain('"path":"/v1/messages"');
  for (const credential of [secret, ...Object.values(providerKeys)]) {
    expect(log + gate.output).not.toContain(credential);
  }
});
