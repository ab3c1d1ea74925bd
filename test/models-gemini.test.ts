import { randomUUID } from 'node:crypto';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readAnthropicStream } from '../server/src/llm/testing/anthropic-grammar.ts';
import { type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { ask, clientsOf, post } from './support/models.ts';

/** Provider kind `gemini`: OpenAI's wire format as Google speaks it, with what it has of its own. */

let gate: TestGate;
let mock: MockUpstream;
let secret: string;

const apiKey = 'gemini-key-90ab1f';
const to = '/v1beta/openai/chat/completions';

beforeAll(async () => {
  mock = await startMockUpstream();
  const gemini = { kind: 'gemini', base_url: `${mock.url}/v1beta/openai`, api_key: apiKey, allow_private: true };
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { gemini, claude: { kind: 'anthropic', base_url: mock.url, api_key: 'k', allow_private: true } },
      models: {
        'gemini-*': { targets: [{ provider: 'gemini' }], attempts_max: 1 },
        mine: { targets: [{ provider: 'gemini', model: 'gemini-3-flash-preview' }], attempts_max: 1 },
        'claude-*': { targets: [{ provider: 'claude' }], attempts_max: 1 },
      },
    }),
  });
  ({ secret } = await gate.agent('gemini'));
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

const bearer = (by = secret) => ({ authorization: `Bearer ${by}` });
const json = { 'content-type': 'application/json' };
const sse = { 'content-type': 'text/event-stream' };
const lastBody = async () => JSON.parse(String((await mock.requests()).at(-1)?.body)) as Record<string, unknown>;

test.each([
  [
    '/v1/chat/completions',
    to,
    '{"model": "mine","messages":[{"role":"user","content":"hi"}],"extra_body":{"google":{"thinking_config":{"thinking_budget":0}}}}',
  ],
  ['/v1/embeddings', '/v1beta/openai/embeddings', '{"input":"hi","model": "mine"}'],
])('%s goes to its address, bytes as they are but for the model', async (path, address, body) => {
  expect((await post(gate, path, body, bearer())).status).toBe(200);
  const [request] = await mock.requests();
  expect([request?.path, request?.body?.toString()]).toEqual([
    address,
    body.replace('"mine"', '"gemini-3-flash-preview"'),
  ]);
  expect(request?.headers).toContainEqual(['authorization', `Bearer ${apiKey}`]);
});

/** A call as Gemini 3 makes it: whole in one delta, without an index, the thoughts' signature beside the function. */
const signature = 'EjQKMgEMOdbHJChLX75Q+/UCJjyYlm==';
const calls = [
  {
    extra_content: { google: { thought_signature: signature } },
    function: { arguments: '{"city":"Oslo"}', name: 'get_weather' },
    id: 'a1b2',
    type: 'function',
  },
  { function: { arguments: '{"city":"Bergen"}', name: 'get_weather' }, id: 'c3d4', type: 'function' },
];
// Of 30 tokens of output, 20 were thoughts, which the count of the completion leaves out.
const usage = { prompt_tokens: 50, completion_tokens: 10, total_tokens: 80 };
const envelope = { created: 1, id: 'gm-1', model: 'gemini-3-flash-preview', object: 'chat.completion.chunk' };

async function callsTools(stream: boolean): Promise<void> {
  const message = { role: 'assistant', tool_calls: calls };
  const whole = {
    ...envelope,
    object: 'chat.completion',
    choices: [{ finish_reason: 'tool_calls', index: 0, message }],
    usage,
  };
  const chunks = [
    {
      ...envelope,
      choices: [{ delta: { role: 'assistant', tool_calls: [calls[0]] }, index: 0 }],
      usage: { ...usage, completion_tokens: 5, total_tokens: 55 },
    },
    {
      ...envelope,
      choices: [{ delta: { role: 'assistant', tool_calls: [calls[1]] }, finish_reason: 'stop', index: 0 }],
      usage,
    },
  ].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);
  const reply = stream
    ? { headers: sse, chunks: [...chunks, 'data: [DONE]\n\n'] }
    : { headers: json, chunks: [JSON.stringify(whole)] };
  await mock.script({ reply, times: 1 });
}

/** What reaches Gemini of the calls in the history: as it made them. */
async function expectSigned(): Promise<void> {
  const { messages } = (await lastBody()) as { messages: { role: string; tool_calls?: unknown }[] };
  expect(messages.find(({ role }) => role === 'assistant')?.tool_calls).toEqual(calls);
}

const schema = {
  type: 'object',
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};

describe.each([false, true])('the signature of the thoughts before a tool call (stream: %s)', (stream) => {
  beforeEach(() => callsTools(stream));

  test('survives the way back through an Anthropic client', async () => {
    const { anthropic } = clientsOf(gate, secret);
    const request = {
      model: 'gemini-3-flash-preview',
      max_tokens: 500,
      tools: [{ name: 'get_weather', input_schema: schema as { type: 'object' } }],
      metadata: { user_id: 'someone' },
    };
    const question = { role: 'user' as const, content: 'How is it in Oslo and Bergen?' };
    const first = stream
      ? await anthropic.messages.stream({ ...request, messages: [question] }).finalMessage()
      : await anthropic.messages.create({ ...request, messages: [question] });
    expect(first.content.map(({ type }) => type)).toEqual(['thinking', 'tool_use', 'tool_use']);
    expect(first.stop_reason).toBe('tool_use');
    const results = first.content.flatMap((block) =>
      block.type === 'tool_use' ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: 'rain' }] : [],
    );
    await anthropic.messages.create({
      ...request,
      messages: [question, { role: 'assistant', content: first.content }, { role: 'user', content: results }],
    });
    await expectSigned();
    // Google refuses fields and schemas that it does not know.
    const sent = await lastBody();
    expect(sent).not.toHaveProperty('user');
    expect(JSON.stringify(sent['tools'])).not.toMatch(/\$schema|additionalProperties/);
  });

  test('survives the way back through a Responses client', async () => {
    const { openai } = clientsOf(gate, secret);
    const tool = { type: 'function' as const, name: 'get_weather', parameters: schema, strict: false };
    const request = {
      model: 'gemini-3-flash-preview',
      tools: [tool],
      store: false,
      include: ['reasoning.encrypted_content' as const],
    };
    const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: 'How is it?' }];
    const first = stream
      ? await openai.responses.stream({ ...request, input }).finalResponse()
      : await openai.responses.create({ ...request, input });
    const output = first.output as OpenAI.Responses.ResponseInputItem[];
    expect(output.map(({ type }) => type)).toEqual(['reasoning', 'function_call', 'function_call']);
    const results = output.flatMap((item) =>
      item.type === 'function_call'
        ? [{ type: 'function_call_output' as const, call_id: item.call_id, output: 'rain' }]
        : [],
    );
    await openai.responses.create({ ...request, input: [...input, ...output, ...results] });
    await expectSigned();
  });

  test('passes untouched to a chat client, whose history passes as well', async () => {
    const body = { messages: [{ role: 'user', content: 'How is it?' }], stream };
    const first = await post(
      gate,
      '/v1/chat/completions',
      JSON.stringify({ model: 'gemini-3-flash-preview', ...body }),
      bearer(),
    );
    expect(first.body.toString()).toContain(JSON.stringify(calls[0]));
    const history = [
      ...body.messages,
      { role: 'assistant', tool_calls: calls },
      ...calls.map(({ id }) => ({ role: 'tool', tool_call_id: id, content: 'rain' })),
    ];
    await post(
      gate,
      '/v1/chat/completions',
      JSON.stringify({ model: 'gemini-3-flash-preview', messages: history }),
      bearer(),
    );
    await expectSigned();
    // Another model has no use for it, and is not bothered.
    const elsewhere = await post(
      gate,
      '/v1/chat/completions',
      JSON.stringify({ model: 'claude-1', max_tokens: 9, messages: history }),
      bearer(),
    );
    expect([elsewhere.status, elsewhere.headers['portcullis-dropped']]).toEqual([200, 'reasoning']);
    expect(JSON.stringify(await lastBody())).not.toContain(signature);
  });

  test.each(['/v1/chat/completions', '/v1/messages'])(
    'and its tokens are counted where no count but the total tells of them: %s',
    async (path) => {
      const answer = await post(gate, path, ask('gemini-3-flash-preview', { stream }), bearer());
      expect(await gate.ledgerRow(String(answer.headers['x-request-id']))).toMatchObject({
        inputTokens: '50',
        outputTokens: '30',
        reasoningTokens: '20',
        provenance: expect.stringContaining('MEASURED'),
        // 50 tokens at $0.50 a million, and 30 at $3.
        costNanousd: '115000',
      });
    },
  );
});

/** Google's errors are in a list at this surface, in the shape of AIP-193. */
const refusal = (code: number, status: string, message: string, details: unknown[] = []) =>
  JSON.stringify([{ error: { code, message, status, details } }]);

describe('a refusal by Google', () => {
  test.each([
    [400, 'INVALID_ARGUMENT', 'Invalid value at generation_config.', OpenAI.BadRequestError, 'invalid_request_error'],
    [404, 'NOT_FOUND', 'models/gemini-9 is not found.', OpenAI.NotFoundError, 'not_found_error'],
    [429, 'RESOURCE_EXHAUSTED', 'You exceeded your current quota.', OpenAI.RateLimitError, 'rate_limit_error'],
    [503, 'UNAVAILABLE', 'The model is overloaded.', OpenAI.InternalServerError, 'overloaded_error'],
  ])(
    'of status %i is one that the SDKs of both vendors read, in its own words',
    async (code, status, message, kind, type) => {
      const model = `gemini-${code}`;
      await mock.script({ model, reply: { status: code, headers: json, chunks: [refusal(code, status, message)] } });
      const openai = new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: secret, maxRetries: 0 });
      const failing = openai.chat.completions.create({ model, messages: [{ role: 'user', content: 'hi' }] });
      await expect(failing).rejects.toBeInstanceOf(kind);
      await expect(failing).rejects.toMatchObject({ status: code, message: `${code} ${message}` });
      const told = await post(gate, '/v1/messages', ask(model), bearer());
      expect([told.status, JSON.parse(String(told.body))]).toEqual([code, { type: 'error', error: { type, message } }]);
    },
  );

  test('for an overlong prompt lets clients shorten it', async () => {
    const message = 'The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).';
    await mock.script({ reply: { status: 400, headers: json, chunks: [refusal(400, 'INVALID_ARGUMENT', message)] } });
    expect((await post(gate, '/v1/messages', ask('gemini-full'), bearer())).body.toString()).toContain(
      `prompt is too long: ${message}`,
    );
    expect((await post(gate, '/v1/chat/completions', ask('gemini-full'), bearer())).body.toString()).toContain(
      '"code":"context_length_exceeded"',
    );
  });

  test.each(['/v1/chat/completions', '/v1/messages'])(
    "for the key of the gate, which is no 401, is the operator's affair at %s",
    async (path) => {
      const details = [
        { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID', domain: 'googleapis.com' },
      ];
      const body = refusal(400, 'INVALID_ARGUMENT', 'API key not valid. Please pass a valid API key.', details);
      await mock.script({ reply: { status: 400, headers: json, chunks: [body] } });
      const answer = await post(gate, path, ask('gemini-key'), bearer());
      expect([answer.status, answer.body.toString()]).toEqual([
        502,
        expect.stringContaining('an operator must renew its api_key'),
      ]);
    },
  );

  test('in mid-stream ends it by one error of its kind', async () => {
    const text = { ...envelope, choices: [{ delta: { role: 'assistant', content: 'Well' }, index: 0 }] };
    const error = { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } };
    await mock.script({
      reply: { headers: sse, chunks: [text, error].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`) },
    });
    const { body } = await post(gate, '/v1/messages', ask('gemini-broken', { stream: true }), bearer());
    expect(readAnthropicStream(body.toString()).ending).toBe('failed');
    expect(body.toString()).toMatch(/"type":"overloaded_error","message":"The model is overloaded\."/);
  });
});

test.each([
  ['content_filter: PROHIBITED_CONTENT', 200, '"stop_reason":"refusal"'],
  [
    'function_call_filter: MALFORMED_FUNCTION_CALL',
    502,
    'broke off its answer (function_call_filter: MALFORMED_FUNCTION_CALL)',
  ],
])('the reason "%s" is told for what it is', async (reason, status, told) => {
  const whole = {
    ...envelope,
    object: 'chat.completion',
    choices: [{ finish_reason: reason, index: 0, message: { role: 'assistant', content: '' } }],
    usage,
  };
  await mock.script({ reply: { headers: json, chunks: [JSON.stringify(whole)] } });
  const answer = await post(gate, '/v1/messages', ask('gemini-filtered'), bearer());
  expect([answer.status, answer.body.toString()]).toEqual([status, expect.stringContaining(told)]);
});

test.each([
  ['extra_body.google.cached_content', { extra_body: { google: { cached_content: 'cachedContents/1' } } }],
  ['extra_body.google.tools', { extra_body: { google: { tools: [{ google_search: {} }] } } }],
])('a budget in money refuses %s, which no byte of the body bounds', async (param, rest) => {
  const name = `gemini-${randomUUID()}`;
  const { agentId, secret: by } = await gate.agent(name);
  await gate.budget({ name, unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
  const refused = await post(gate, '/v1/chat/completions', ask('gemini-3-flash-preview', rest), bearer(by));
  expect([refused.status, refused.body.toString()]).toEqual([400, expect.stringContaining(`"param":"${param}"`)]);
  const thinking = { extra_body: { google: { thinking_config: { thinking_level: 'low' } } } };
  expect((await post(gate, '/v1/chat/completions', ask('gemini-3-flash-preview', thinking), bearer(by))).status).toBe(
    200,
  );
});
