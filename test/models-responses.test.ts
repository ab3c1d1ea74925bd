import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readResponsesStream } from '../server/src/llm/testing/responses-grammar.ts';
import type { TestGate } from './support/gate.ts';
import { startGate } from './support/gate.ts';
import { type MockUpstream, type SeenRequest, startMockUpstream } from './support/mock-upstream/client.ts';
import { mockConfiguration, post } from './support/models.ts';

/** `POST /v1/responses`, to a provider that speaks it, to providers that do not, and to the simulated model. */

let gate: TestGate;
let mock: MockUpstream;
let secret: string;
let openai: OpenAI;

const path = '/v1/responses';
const providerKey = 'provider-key-of-openai-2d91c4';

beforeAll(async () => {
  mock = await startMockUpstream();
  const yaml = JSON.parse(mockConfiguration(mock, {})) as { providers: object; models: object };
  const price = { input: 1, output: 2, cache_read: 1, cache_write_5m: 1, cache_write_1h: 1 };
  const provider = { kind: 'openai', base_url: `${mock.url}/v1`, api_key: providerKey, allow_private: true, price };
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { ...yaml.providers, openai: provider },
      models: {
        ...yaml.models,
        'openai-*': { targets: [{ provider: 'openai' }], attempts_max: 1 },
        'openai-hasty-*': { targets: [{ provider: 'openai', timeouts: { idle_ms: 500 } }], attempts_max: 1 },
        'openai-renamed': { targets: [{ provider: 'openai', model: 'the-real-name' }] },
      },
    }),
  });
  ({ secret } = await gate.agent('responses'));
  openai = new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: secret, maxRetries: 0 });
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

const bearer = () => ({ authorization: `Bearer ${secret}` });

async function seen(): Promise<SeenRequest> {
  const [request] = await mock.until((requests) => requests.length === 1 && requests[0]?.outcome !== 'open');
  if (!request) throw new Error('nothing reached the provider');
  return request;
}

async function seenBodies(count: number): Promise<Record<string, unknown>[]> {
  const requests = await mock.until((all) => all.length === count && all.every(({ outcome }) => outcome !== 'open'));
  return requests.map(({ body }) => JSON.parse(String(body)) as Record<string, unknown>);
}

describe('a body on its way to a provider that speaks Responses', () => {
  test.each([
    ['white space and order', '\r\n{ "store" : false ,"input":"hi",\t"model" : "openai-1" }\n'],
    [
      'fields that nobody knows',
      '{"model":"openai-1","store":false,"future":{"a":[1e2,null]},"input":[{"role":"user","content":"é\\u00e9"}]}',
    ],
    [
      'a tool that the provider runs',
      '{"store":false,"model":"openai-1","tools":[{"type":"web_search"}],"input":"hi"}',
    ],
  ])('keeps its bytes: %s', async (_name, body) => {
    expect((await post(gate, path, body, bearer())).status).toBe(200);
    const request = await seen();
    expect(request.body?.toString()).toBe(body);
    expect(request.path).toBe(path);
    expect(Object.fromEntries(request.headers.map(([name, value]) => [name.toLowerCase(), value]))).toMatchObject({
      authorization: `Bearer ${providerKey}`,
    });
  });

  test.each([
    ['{"model":"openai-1","input":"hi" }', '{"model":"openai-1","input":"hi" ,"store":false}'],
    ['{"store": null ,"model":"openai-1","input":"hi"}', '{"store": false ,"model":"openai-1","input":"hi"}'],
    ['{"model":"openai-renamed","input":"hi"}', '{"model":"the-real-name","input":"hi","store":false}'],
  ])('asks that nothing be stored where it left that open: %s', async (body, sent) => {
    expect((await post(gate, path, body, bearer())).status).toBe(200);
    expect((await seen()).body?.toString()).toBe(sent);
  });

  test.each([false, true])('brings back the very answer (stream: %s), and what it used', async (stream) => {
    const chunks = stream
      ? [
          'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":{"id":"r"}}\n\n',
          'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x","sequence_number":1}\n\n',
          'event: response.completed\ndata: {"type":"response.completed","response":{"id":"r","usage":{"input_tokens":7,"output_tokens":3}}}\n\n',
        ]
      : [' {"id":"r","object":"response","output":[],"usage":{"input_tokens":7,"output_tokens":3}}\n'];
    const type = stream ? 'text/event-stream' : 'application/json';
    await mock.script({ reply: { headers: { 'content-type': type }, chunks } });
    const answer = await post(gate, path, JSON.stringify({ model: 'openai-1', input: 'hi', stream }), bearer());
    expect(answer.body.toString()).toBe(chunks.join(''));
    const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
    expect(row).toMatchObject({
      dialectIn: 'responses',
      dialectOut: 'responses',
      inputTokens: '7',
      outputTokens: '3',
      provenance: expect.stringContaining('MEASURED'),
    });
  });
});

const message = { role: 'user', content: 'hi' };

describe.each(['openai-1', 'claude-1', 'gpt-1', 'sim'])('state that a provider stores, asked of %s', (model) => {
  test.each([
    ['previous_response_id', { input: 'hi', previous_response_id: 'resp_1' }],
    ['conversation', { input: 'hi', conversation: { id: 'conv_1' } }],
    ['prompt', { input: 'hi', prompt: { id: 'pmpt_1' } }],
    ['background', { input: 'hi', background: true }],
    ['store', { input: 'hi', store: true }],
    ['input[1]', { input: [message, { type: 'item_reference', id: 'msg_1' }] }],
    ['input[1]', { input: [message, { id: 'msg_1' }] }],
    ['input[1]', { input: [message, { type: 'reasoning', id: 'rs_1', summary: [] }] }],
    ['input[1]', { input: [message, { type: 'image_generation_call', id: 'ig_1' }] }],
    [
      'input[0].content[0].file_id',
      { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file_1' }] }] },
    ],
    [
      'input[0].content[0].file_id',
      { input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'file_1' }] }] },
    ],
    [
      'input[0].output[0].file_id',
      { input: [{ type: 'function_call_output', call_id: 'c', output: [{ type: 'input_file', file_id: 'f' }] }] },
    ],
    ['tools[0].vector_store_ids', { input: 'hi', tools: [{ type: 'file_search', vector_store_ids: ['vs_1'] }] }],
    ['tools[0].container', { input: 'hi', tools: [{ type: 'code_interpreter', container: 'cntr_1' }] }],
    [
      'prompt_cache_options.comparison_response_id',
      { input: 'hi', prompt_cache_options: { comparison_response_id: 'r' } },
    ],
  ])('is refused as "%s", and nothing goes out', async (param, body) => {
    const { status, body: answer } = await post(gate, path, JSON.stringify({ model, ...body }), bearer());
    expect(status).toBe(400);
    const { error } = JSON.parse(answer.toString()) as { error: { message: string; param: string } };
    expect(error).toMatchObject({ type: 'invalid_request_error', code: 'invalid_argument', param });
    expect(error.message).toContain(`"${param}"`);
    expect(await mock.requests()).toEqual([]);
  });

  test('is not what the arguments of a function, or what it says of itself, are taken for', async () => {
    const parameters = { type: 'object', properties: { file_id: { type: 'string' } }, required: ['file_id'] };
    const tools = [{ type: 'function', name: 'read', parameters }];
    const body = JSON.stringify({ model, input: 'hi', tools, max_output_tokens: 50 });
    expect((await post(gate, path, body, bearer())).status).toBe(200);
  });
});

const weather = {
  type: 'function' as const,
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
  strict: false,
};

describe.each(['openai-1', 'claude-1', 'gpt-1', 'sim'])('the official SDK, talking to %s', (model) => {
  const said = model === 'sim' ? '[simulated] You said: hello' : /^word1 word2 /;

  test('gets an answer', async () => {
    const response = await openai.responses.create({ model, input: 'hello', max_output_tokens: 50 });
    expect(response.output_text).toMatch(said);
    expect(response).toMatchObject({ object: 'response', status: 'completed', error: null, incomplete_details: null });
    expect(response.usage?.output_tokens).toBeGreaterThan(0);
  });

  test('gets a stream, and from it the same answer', async () => {
    const stream = openai.responses.stream({ model, input: 'hello', max_output_tokens: 50 });
    let told = '';
    stream.on('response.output_text.delta', ({ delta }) => (told += delta));
    const response = await stream.finalResponse();
    expect(response.status).toBe('completed');
    expect(told).toMatch(said);
    expect(response.output_text).toBe(told);
  });

  test.each([false, true])('calls a tool and tells its result (stream: %s)', async (stream) => {
    await mock.script({ toolCalls: 1 });
    const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: 'call get_weather' }];
    const request = { model, input, tools: [weather], max_output_tokens: 200 };
    const first = stream
      ? await openai.responses.stream(request).finalResponse()
      : await openai.responses.create(request);
    const call = (first.output as OpenAI.Responses.ResponseOutputItem[]).find((item) => item.type === 'function_call');
    expect(call).toMatchObject({ name: 'get_weather', status: 'completed' });
    expect(Object.keys(JSON.parse(call?.arguments ?? '') as object)).toEqual(['city']);
    const result = { type: 'function_call_output' as const, call_id: call?.call_id ?? '', output: 'sunny' };
    const history = [...input, ...(first.output as OpenAI.Responses.ResponseInput), result];
    const second = await openai.responses.create({ ...request, input: history });
    expect(second.output_text).toMatch(model === 'sim' ? 'The tool answered: sunny' : /^word1 /);
  });

  test('is told that the answer was cut at the limit', async () => {
    const response = await openai.responses.create({ model, input: 'hello', max_output_tokens: 4 });
    expect(response).toMatchObject({ status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } });
  });
});

test('what is stored cannot be asked for: such a path is not one of the gate, in the shape that the SDK reads', async () => {
  const asked = await openai.responses.retrieve('resp_1').catch((error: unknown) => error);
  expect(asked).toBeInstanceOf(OpenAI.NotFoundError);
  expect(asked).toMatchObject({ code: 'not_found' });
  expect(await mock.requests()).toEqual([]);
});

test('every stream is one that the vendor describes', async () => {
  for (const model of ['openai-1', 'claude-1', 'gpt-1', 'sim', 'sim-error-after-4']) {
    const body = JSON.stringify({ model, input: 'hello', stream: true, max_output_tokens: 50 });
    const { body: stream } = await post(gate, path, body, bearer());
    const { ending } = readResponsesStream(stream.toString().replaceAll(/^: .*\n\n/gm, ''));
    expect(ending, model).toBe(model.includes('error') ? 'failed' : 'finished');
  }
});

describe.each(['openai', 'claude', 'gpt'])('a stream that %s breaks', (provider) => {
  // A model that fails is left alone for a while, so each of these tests has its own.
  let tests = 0;
  let request: { model: string; input: string; max_output_tokens: number };
  beforeEach(() => {
    request = { model: `${provider}-hasty-${tests++}`, input: 'hello', max_output_tokens: 50 };
  });

  test.each([
    ['cuts', { cutAfter: 5 }],
    ['garbles', { malformedAt: 5 }],
    ['stalls', { stallAfter: 5 }],
  ])('off (%s) ends with one failed response, which goes on from what there was', async (_how, script) => {
    await mock.script(script);
    const { status, body, headers } = await post(gate, path, JSON.stringify({ ...request, stream: true }), bearer());
    expect(status).toBe(200);
    const { ending } = readResponsesStream(body.toString().replaceAll(/^: .*\n\n/gm, ''));
    expect(ending).toBe('failed');
    expect(await gate.ledgerRow(String(headers['x-request-id']))).toMatchObject({
      outcome: expect.stringMatching(/FAILED|TIMEOUT/),
      provenance: expect.stringContaining('ESTIMATED'),
    });
  });

  test('off is an exception for the official SDK, however it reads the stream', async () => {
    await mock.script({ cutAfter: 5 });
    const whole = await openai.responses
      .stream(request)
      .finalResponse()
      .catch((error: unknown) => error);
    expect(whole).toBeInstanceOf(OpenAI.APIError);
    expect(whole).toMatchObject({ code: 'upstream_error', message: expect.stringContaining('broke the connection') });
    const events = async () => {
      for await (const event of await openai.responses.create({ ...request, stream: true }))
        expect(event.type).toBeTruthy();
    };
    await expect(events()).rejects.toThrow(OpenAI.APIError);
  });

  test('by refusing is an error of the right class, with its wording', async () => {
    await mock.script({ error: 429, headers: { 'retry-after': '7' } });
    const refused = await openai.responses.create(request).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(OpenAI.RateLimitError);
    expect(refused).toMatchObject({ status: 429, message: expect.stringContaining('told to answer 429') });
    expect((refused as InstanceType<typeof OpenAI.RateLimitError>).headers?.get('retry-after')).toBe('7');
  });
});

test.each([
  ['claude-full', 'prompt is too long: 9 tokens > 8 maximum'],
  ['gpt-full', "This model's maximum context length is 8 tokens."],
])('an overflow of the context of %s is told as Codex knows it', async (model, message) => {
  const error = { type: 'invalid_request_error', message };
  const chunks = [JSON.stringify(model === 'claude-full' ? { type: 'error', error } : { error })];
  await mock.script({ reply: { status: 400, headers: { 'content-type': 'application/json' }, chunks } });
  const body = JSON.stringify({ model, input: 'hello', stream: true, max_output_tokens: 5 });
  const answer = await post(gate, path, body, bearer());
  expect(answer.status).toBe(400);
  expect(JSON.parse(answer.body.toString())).toMatchObject({ error: { code: 'context_length_exceeded', message } });
});

test('an overflow of the context that OpenAI tells in its stream reaches Claude Code in the words that it knows', async () => {
  const failed = {
    id: 'resp_1',
    status: 'failed',
    error: { code: 'context_length_exceeded', message: 'Too many tokens.' },
  };
  const events = [
    { type: 'response.created', sequence_number: 0, response: { id: 'resp_1', status: 'in_progress' } },
    { type: 'response.failed', sequence_number: 1, response: failed },
  ];
  const chunks = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  await mock.script({ reply: { headers: { 'content-type': 'text/event-stream' }, chunks } });
  const body = JSON.stringify({ model: 'openai-full', max_tokens: 9, stream: true, messages: [message] });
  const answer = await post(gate, '/v1/messages', body, { ...bearer(), 'anthropic-version': '2023-06-01' });
  expect(answer.status).toBe(400);
  const error = { type: 'invalid_request_error', message: 'prompt is too long: Too many tokens.' };
  expect(JSON.parse(answer.body.toString())).toMatchObject({ type: 'error', error });
});

describe('a caller of Messages at a provider that speaks Responses and Chat', () => {
  const ask = (more: object) =>
    post(gate, '/v1/messages', JSON.stringify({ model: 'openai-1', max_tokens: 50, messages: hi, ...more }), bearer());
  const hi = [{ role: 'user', content: 'hi' }];

  test('is served by Responses, which gives reasoning back', async () => {
    expect((await ask({})).status).toBe(200);
    expect((await seen()).path).toBe(path);
  });

  test('is served by Chat where Responses cannot say what it says', async () => {
    expect((await ask({ stop_sequences: ['END'] })).status).toBe(200);
    expect((await seen()).path).toBe('/v1/chat/completions');
    expect(await seenBodies(1)).toMatchObject([{ stop: ['END'] }]);
  });

  test('is refused by the name of the field where neither can', async () => {
    const refused = await ask({ top_k: 5, stop_sequences: ['END'] });
    expect(refused.status).toBe(400);
    expect(String(refused.body)).toContain('top_k');
    expect(await mock.requests()).toEqual([]);
  });
});

describe('reasoning', () => {
  const thinking = { type: 'thinking' as const, thinking: 'The mock weighs its words.', signature: 'bW9jaw==' };

  test.each([false, true])('of Anthropic survives the way to the caller and back (stream: %s)', async (stream) => {
    await mock.script({ times: 1, blocks: [thinking, { type: 'text', text: 'Well.' }] });
    const input: OpenAI.Responses.ResponseInput = [{ role: 'user', content: 'think' }];
    const request = {
      model: 'claude-1',
      input,
      max_output_tokens: 5000,
      reasoning: { effort: 'low', summary: 'auto' } as const,
    };
    const first = stream
      ? await openai.responses.stream(request).finalResponse()
      : await openai.responses.create(request);
    expect(first.output[0]).toMatchObject({
      type: 'reasoning',
      summary: [{ type: 'summary_text', text: thinking.thinking }],
      encrypted_content: expect.any(String),
    });
    expect(first.output_text).toBe('Well.');
    const history = [
      ...input,
      ...(first.output as OpenAI.Responses.ResponseInput),
      { role: 'user' as const, content: 'go on' },
    ];
    await openai.responses.create({ ...request, input: history });
    const [, second] = await seenBodies(2);
    expect(second).toMatchObject({
      messages: [
        { role: 'user' },
        { role: 'assistant', content: [thinking, { type: 'text', text: 'Well.' }] },
        { role: 'user' },
      ],
    });
  });

  test('of OpenAI survives the way to a caller of Anthropic, and back', async () => {
    await mock.script({ times: 1, blocks: [thinking, { type: 'text', text: 'Well.' }] });
    const request = { model: 'openai-1', max_tokens: 5000, thinking: { type: 'enabled', budget_tokens: 2000 } };
    const headers = { ...bearer(), 'anthropic-version': '2023-06-01' };
    const user = { role: 'user', content: 'think' };
    const first = await post(gate, '/v1/messages', JSON.stringify({ ...request, messages: [user] }), headers);
    const { content } = JSON.parse(first.body.toString()) as { content: object[] };
    expect(content).toMatchObject([
      { type: 'thinking', thinking: thinking.thinking },
      { type: 'text', text: 'Well.' },
    ]);
    const messages = [user, { role: 'assistant', content }, { role: 'user', content: 'go on' }];
    const next = await post(gate, '/v1/messages', JSON.stringify({ ...request, messages }), headers);
    expect(next.status).toBe(200);
    const [sent, second] = await seenBodies(2);
    expect(sent).toMatchObject({ store: false, include: ['reasoning.encrypted_content'] });
    expect(second).toMatchObject({
      input: [
        { role: 'user' },
        {
          type: 'reasoning',
          id: 'rs_0',
          encrypted_content: thinking.signature,
          summary: [{ text: thinking.thinking }],
        },
        { role: 'assistant' },
        { role: 'user' },
      ],
    });
  });
});

test('answers of a schema are parsed by the official SDK, whichever provider gives them', async () => {
  const schema = {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  };
  for (const model of ['openai-1', 'claude-1', 'gpt-1']) {
    await mock.reset();
    await mock.script({ blocks: [{ type: 'text', text: '{"city":"Bern"}' }] });
    const text = { format: { type: 'json_schema' as const, name: 'place', schema, strict: true } };
    const response = await openai.responses.parse({ model, input: 'where?', max_output_tokens: 50, text });
    expect(response.output_parsed, model).toEqual({ city: 'Bern' });
    expect(JSON.stringify(await seenBodies(1))).toContain('"required":["city"]');
  }
});

test('a budget counts what is sent: a search that is left out of a translation costs nothing', async () => {
  const { secret: own, agentId } = await gate.agent('searcher');
  await gate.budget({ name: 'searching', unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
  const ask = (model: string) =>
    JSON.stringify({
      model,
      input: 'hi',
      max_output_tokens: 50,
      tools: [{ type: 'web_search', external_web_access: false }],
    });
  const headers = { authorization: `Bearer ${own}` };
  const translated = await post(gate, path, ask('claude-1'), headers);
  expect(translated.status).toBe(200);
  expect(translated.headers['portcullis-dropped']).toBe('tools.web_search');
  const passed = await post(gate, path, ask('openai-1'), headers);
  expect(passed.status).toBe(400);
  expect(JSON.parse(passed.body.toString())).toMatchObject({ error: { param: 'web_search' } });
});
