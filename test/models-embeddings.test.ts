import { randomUUID } from 'node:crypto';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, mockConfiguration, nanoPerToken, post, providerKeys } from './support/models.ts';

/** `POST /v1/embeddings`: the same guards as any other call, exact money, and no provider that cannot do it. */

let gate: TestGate;
let mock: MockUpstream;
let secret: string;
let openai: OpenAI;

const path = '/v1/embeddings';

const models = {
  'embed-*': { targets: [{ provider: 'gpt' }], attempts_max: 1 },
  'embed-renamed': { targets: [{ provider: 'gpt', model: 'text-embedding-3-small' }] },
  'embed-cached': { targets: [{ provider: 'gpt' }], cache_ttl_s: 600 },
  // The first of the two cannot embed, however heavy it is.
  'embed-mixed': {
    targets: [
      { provider: 'claude', weight: 1000 },
      { provider: 'gpt', model: 'one', weight: 0 },
      { provider: 'gpt', model: 'other' },
    ],
  },
  'embed-spread': {
    targets: [
      { provider: 'gpt', model: 'space-a' },
      { provider: 'gpt', model: 'space-b', weight: 1000 },
      { provider: 'spare', model: 'space-a', weight: 0 },
    ],
  },
  'embed-responses': { targets: [{ provider: 'answers' }] },
  'embed-priced': { targets: [{ provider: 'openai', model: 'text-embedding-3-small' }] },
};

beforeAll(async () => {
  mock = await startMockUpstream();
  const yaml = JSON.parse(mockConfiguration(mock, models)) as { providers: Record<string, object>; models: object };
  const spare = { ...yaml.providers['gpt'], api_key: 'spare-key' };
  const answers = { ...yaml.providers['gpt'], dialects: ['responses'] };
  const priced = { kind: 'openai', base_url: `${mock.url}/v1`, api_key: 'k', allow_private: true };
  gate = await startGate({
    yaml: JSON.stringify({ ...yaml, providers: { ...yaml.providers, spare, answers, openai: priced } }),
  });
  ({ secret } = await gate.agent('embedding'));
  openai = new OpenAI({ baseURL: `${gate.url}/v1`, apiKey: secret, maxRetries: 0 });
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

const send = (body: object | string, headers: Record<string, string> = {}, by = secret): Promise<RawAnswer> =>
  post(gate, path, typeof body === 'string' ? body : JSON.stringify(body), {
    authorization: `Bearer ${by}`,
    ...headers,
  });

const errorOf = (answer: RawAnswer) => (JSON.parse(answer.body.toString()) as { error: Record<string, unknown> }).error;

describe('a body on its way to a provider', () => {
  test.each([
    ['white space and order', '\r\n{ "input" : "hi" ,\t"model" : "embed-1" }\n'],
    ['fields that nobody knows', '{"model":"embed-1","future":{"a":[1e2,null]},"input":["é\\u00e9","{"]}'],
    ['lists of tokens', '{"model":"embed-1","input":[[1,2],[3]],"dimensions":2,"encoding_format":"base64","user":"u"}'],
  ])('keeps its bytes: %s', async (_name, body) => {
    const answer = await send(body);
    expect(answer.status).toBe(200);
    const [request] = await mock.requests();
    expect(request?.body?.toString()).toBe(body);
    expect(request?.path).toBe(path);
    expect(request?.headers).toContainEqual(['authorization', `Bearer ${providerKeys.gpt}`]);
  });

  test('changes by the name of its model alone', async () => {
    await send('{"input":"hi","model": "embed-renamed" }');
    expect((await mock.requests())[0]?.body?.toString()).toBe('{"input":"hi","model": "text-embedding-3-small" }');
  });

  test('and its answer comes back byte for byte, with what it used in the ledger', async () => {
    const text = ' {"object":"list","data":[{"embedding":[1e-3]}],"usage":{"prompt_tokens":7,"total_tokens":7}}\n';
    await mock.script({ reply: { headers: { 'content-type': 'application/json' }, chunks: [text] } });
    const answer = await send({ model: 'embed-1', input: 'hi' });
    expect(answer.body.toString()).toBe(text);
    expect(await gate.ledgerRow(String(answer.headers['x-request-id']))).toMatchObject({
      dialectIn: 'chat',
      dialectOut: 'chat',
      inputTokens: '7',
      provenance: expect.stringContaining('MEASURED'),
      outcome: 'ATTEMPT_OUTCOME_SUCCESS',
    });
  });
});

describe('the official SDK', () => {
  test('gets vectors, which it asks for in base64 unless told otherwise', async () => {
    const { data, usage } = await openai.embeddings.create({ model: 'embed-1', input: ['a', 'b'], dimensions: 3 });
    expect(data.map(({ embedding }) => embedding)).toEqual([
      [0, 1, 0],
      [1, 1, 0],
    ]);
    expect(usage.prompt_tokens).toBe(usage.total_tokens);
    const floats = await openai.embeddings.create({ model: 'embed-1', input: 'a', encoding_format: 'float' });
    expect(floats.data[0]?.embedding).toHaveLength(4);
  });

  test.each([
    ['chat', 'embed-1', 503, OpenAI.InternalServerError],
    ['nobody', 'nothing-here', 404, OpenAI.NotFoundError],
    ['a model that cannot', 'claude-1', 400, OpenAI.BadRequestError],
  ])('meets the exception that it knows, from %s', async (_name, model, status, kind) => {
    await mock.script({ model: 'embed-1', error: 503 });
    const failing = openai.embeddings.create({ model, input: 'hi' });
    await expect(failing).rejects.toBeInstanceOf(kind);
    await expect(failing).rejects.toMatchObject({ status });
  });
});

describe('the simulated model', () => {
  test('gives the same unit vector for the same input, of the size that was asked for, and says what it is', async () => {
    const [a, b] = await Promise.all(
      ['float', 'base64'].map((format) =>
        send({ model: 'sim', input: ['one', 'two'], dimensions: 5, encoding_format: format }),
      ),
    );
    const told = JSON.parse(String(a?.body)) as { data: { embedding: number[] }[]; simulated: boolean; usage: unknown };
    const same = JSON.parse(String(b?.body)) as { data: { embedding: string }[] };
    expect(told).toMatchObject({ simulated: true, model: 'sim', usage: { prompt_tokens: 2, total_tokens: 2 } });
    for (const [i, { embedding }] of told.data.entries()) {
      expect(embedding).toHaveLength(5);
      expect(Math.hypot(...embedding)).toBeCloseTo(1, 5);
      const bytes = Buffer.from(String(same.data[i]?.embedding), 'base64');
      expect(embedding).toEqual(Array.from({ length: 5 }, (_, n) => bytes.readFloatLE(4 * n)));
    }
    expect(told.data[0]?.embedding).not.toEqual(told.data[1]?.embedding);
  });

  test('works with the SDK, counts tokens as tokens, and follows the script in its name', async () => {
    const { data, usage } = await openai.embeddings.create({ model: 'sim', input: [[5, 6, 7], [8]] });
    expect(data.map(({ embedding }) => embedding.length)).toEqual([1536, 1536]);
    expect(usage.prompt_tokens).toBe(4);
    await expect(openai.embeddings.create({ model: 'sim-error-429', input: 'x' })).rejects.toBeInstanceOf(
      OpenAI.RateLimitError,
    );
  });

  test.each([
    ['input', {}],
    ['input', { input: '' }],
    ['input', { input: ['a', ''] }],
    ['input', { input: Array.from({ length: 257 }, () => 'x') }],
    ['dimensions', { input: 'x', dimensions: 4097 }],
    ['encoding_format', { input: 'x', encoding_format: 'int8' }],
  ])('refuses a wrong %s by name', async (param, rest) => {
    const answer = await send({ model: 'sim', ...rest });
    expect([answer.status, String(errorOf(answer)['message'])]).toEqual([400, expect.stringContaining(`"${param}"`)]);
  });
});

describe('a model that cannot embed', () => {
  test('is refused by name before any money is held', async () => {
    const answer = await send({ model: 'claude-1', input: 'hi' });
    expect(answer.status).toBe(400);
    expect(errorOf(answer)).toMatchObject({ type: 'invalid_request_error', code: 'invalid_argument', param: 'model' });
    expect(errorOf(answer)['message']).toContain('"claude-1" at provider claude, and kind anthropic has no embeddings');
    expect((await gate.holds()).held).toBeUndefined();
    expect(await mock.requests()).toEqual([]);
  });

  test('is passed over where its route has others', async () => {
    for (let i = 0; i < 5; i++) expect((await send({ model: 'embed-mixed', input: 'hi' })).status).toBe(200);
    const bodies = (await mock.requests()).map(({ body }) => String(body));
    expect(new Set(bodies)).toEqual(new Set(['{"model":"other","input":"hi"}']));
  });
});

test('vectors of two models never come from one route, also when its first target fails', async () => {
  await mock.script({ model: 'space-a', error: 500, times: 1 });
  expect((await send({ model: 'embed-spread', input: 'hi' })).status).toBe(200);
  const seen = (await mock.requests()).map(({ body, headers }) => [
    (JSON.parse(String(body)) as { model: string }).model,
    headers.find(([name]) => name === 'authorization')?.[1],
  ]);
  expect(seen).toEqual([
    ['space-a', `Bearer ${providerKeys.gpt}`],
    ['space-a', 'Bearer spare-key'],
  ]);
});

test('a provider that speaks no chat embeds all the same', async () => {
  expect((await send({ model: 'embed-responses', input: 'hi' })).status).toBe(200);
});

describe('money', () => {
  const budgetOf = async (limit: bigint) => {
    const name = `embedding-${randomUUID()}`;
    const { agentId, secret: by } = await gate.agent(name);
    await gate.budget({ name, unit: 'USD', limit, selector: { agentId } });
    return { name, by };
  };

  test('is exact to the token', async () => {
    await mock.script({ usage: { input: 1234 } });
    const { name, by } = await budgetOf(10n ** 12n);
    expect((await send({ model: 'embed-1', input: 'hi' }, {}, by)).status).toBe(200);
    await expect.poll(() => gate.standing(name)).toMatchObject({ posted: 1234n * nanoPerToken.input, held: 0n });
  });

  test('has the public price where nobody declared one', async () => {
    await mock.script({ usage: { input: 1_000_000 } });
    const { name, by } = await budgetOf(10n ** 12n);
    expect((await send({ model: 'embed-priced', input: 'hi' }, {}, by)).status).toBe(200);
    await expect.poll(() => gate.standing(name)).toMatchObject({ posted: 20_000_000n, held: 0n });
  });

  test('is held for all texts of a request together, whatever the context of one', async () => {
    // 20 texts of 8,000 bytes are more than the 8,192 tokens of one text.
    const input = Array.from({ length: 20 }, () => 'x'.repeat(8_000));
    const worst = 160_000n * 20n;
    const { by } = await budgetOf(worst);
    const answer = await send({ model: 'embed-priced', input }, {}, by);
    expect(answer.status).toBe(429);
    expect(errorOf(answer)).toMatchObject({ code: 'budget_exceeded' });
    expect(await mock.requests()).toEqual([]);
    const { by: rich } = await budgetOf(2n * worst);
    expect((await send({ model: 'embed-priced', input }, {}, rich)).status).toBe(200);
  });

  test.each([
    ['an answer that reports none', { object: 'list', data: [] }],
    ['an answer that reports nothing', { data: [{ embedding: [1] }], usage: { prompt_tokens: 0, total_tokens: 0 } }],
  ])('is estimated from above for %s, and vectors are no output', async (_name, told) => {
    await mock.script({ reply: { headers: { 'content-type': 'application/json' }, chunks: [JSON.stringify(told)] } });
    const body = JSON.stringify({ model: 'embed-1', input: 'hi' });
    const answer = await send(body);
    const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
    expect(row).toMatchObject({ provenance: expect.stringContaining('ESTIMATED') });
    expect(Number(row.inputTokens)).toBeGreaterThanOrEqual(body.length);
    expect(row.outputTokens ?? '0').toBe('0');
  });

  test.each([
    ['input', { input: [{ type: 'image', url: 'https://example.com/a.png' }] }],
    ['messages', { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://x' } }] }] }],
  ])('bounds no %s that is not text or tokens, so a budget refuses it', async (param, rest) => {
    const { by } = await budgetOf(10n ** 12n);
    const answer = await send({ model: 'embed-1', ...rest }, {}, by);
    expect([answer.status, errorOf(answer)['param']]).toEqual([400, param]);
    expect((await send({ model: 'embed-1', ...rest })).status).toBe(200);
  });
});

describe('the guards of every call', () => {
  test('count it against the rate of its key', async () => {
    const answer = await send({ model: 'embed-1', input: 'x' });
    expect(answer.headers['ratelimit-policy']).toBe('"models";q=100000;w=60');
  });

  test('refuse a wrong type by name', async () => {
    for (const [param, rest] of Object.entries({
      dimensions: { dimensions: 'many' },
      user: { user: 1 },
      model: { model: 5 },
    })) {
      const answer = await send({ model: 'embed-1', input: 'x', ...rest });
      expect([answer.status, errorOf(answer)['param']]).toEqual([400, param]);
    }
  });

  test("hold a key to its models, and the kill switch stops a model's embeddings", async () => {
    const { secret: narrow } = await gate.agent('narrow', { models: ['gpt-*'] });
    expect((await send({ model: 'embed-1', input: 'hi' }, {}, narrow)).status).toBe(403);
    await gate.api('PolicyService/EngageKillSwitch', {
      scope: 'KILL_SCOPE_MODEL',
      value: 'embed-killed',
      reason: 'It ran amok',
    });
    const killed = await send({ model: 'embed-killed', input: 'hi' });
    expect([killed.status, errorOf(killed)['code']]).toEqual([503, 'killed']);
    expect(await mock.requests()).toEqual([]);
  });

  test('repeat an answer by its Idempotency-Key, and by the cache where the route has one', async () => {
    const headers = { 'idempotency-key': randomUUID() };
    const first = await send({ model: 'embed-1', input: 'once' }, headers);
    const again = await send({ model: 'embed-1', input: 'once' }, headers);
    expect([again.headers['idempotency-replayed'], again.body]).toEqual(['true', first.body]);
    const stored = await send({ model: 'embed-cached', input: 'kept' });
    const hit = await send({ model: 'embed-cached', input: 'kept' });
    expect([stored.headers['portcullis-cache'], hit.headers['portcullis-cache'], hit.body]).toEqual([
      'stored',
      expect.stringMatching(/^hit/),
      stored.body,
    ]);
    expect(await mock.requests()).toHaveLength(2);
  });

  test("a stream is not what embeddings can be: the wish is the provider's to judge", async () => {
    const answer = await send({ model: 'embed-1', input: 'hi', stream: true });
    expect(answer.headers['content-type']).toBe('application/json');
    const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
    expect(row.streamed ?? false).toBe(false);
  });
});
