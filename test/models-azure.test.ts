import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readAnthropicStream } from '../server/src/llm/testing/anthropic-grammar.ts';
import { type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, clientsOf, nanoPerToken, post } from './support/models.ts';

/** Provider kind `azure`: OpenAI's wire format at other addresses, with the verdicts of Azure's content filter in between. */

let gate: TestGate;
let mock: MockUpstream;
let secret: string;

const apiKey = 'azure-key-4c1d77e0';

beforeAll(async () => {
  mock = await startMockUpstream();
  const price = { input: 1, output: 2, cache_read: 1 };
  const azure = { kind: 'azure', base_url: mock.url, api_key: apiKey, allow_private: true, price };
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { azure, older: { ...azure, dialects: ['chat'] }, unpriced: { ...azure, price: undefined } },
      models: {
        'gpt-5-mini': { targets: [{ provider: 'azure', model: 'our-deployment' }], attempts_max: 1 },
        older: { targets: [{ provider: 'older', model: 'our-deployment' }], attempts_max: 1 },
        lossy: { targets: [{ provider: 'older', model: 'our-deployment' }], lossy: 'allow' },
        unpriced: { targets: [{ provider: 'unpriced', model: 'o1' }] },
      },
    }),
  });
  ({ secret } = await gate.agent('azure'));
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

const bearer = (by = secret) => ({ authorization: `Bearer ${by}` });
const sse = { 'content-type': 'text/event-stream; charset=utf-8' };

test.each([
  [
    '/v1/chat/completions',
    '/openai/v1/chat/completions',
    '{"model": "gpt-5-mini","messages":[{"role":"user","content":"hi"}]}',
    '{"model": "our-deployment","messages":[{"role":"user","content":"hi"}]}',
  ],
  [
    '/v1/responses',
    '/openai/v1/responses',
    '{"input":"hi","store":false,"model":"gpt-5-mini"}',
    '{"input":"hi","store":false,"model":"our-deployment"}',
  ],
  [
    '/v1/embeddings',
    '/openai/v1/embeddings',
    '{"input":"hi","model":"gpt-5-mini" }',
    '{"input":"hi","model":"our-deployment" }',
  ],
])('%s goes to its address with the name of the deployment and the key of the gate', async (path, to, body, sent) => {
  const answer = await post(gate, path, body, { ...bearer(), 'api-key': 'of the client' });
  expect(answer.status).toBe(200);
  const [request] = await mock.requests();
  expect([request?.path, request?.body?.toString()]).toEqual([to, sent]);
  const headers = request?.headers.map(([name, value]) => [name.toLowerCase(), value]) ?? [];
  expect(headers).toContainEqual(['api-key', apiKey]);
  expect(headers.filter(([name]) => name === 'authorization' || name === 'api-key')).toHaveLength(1);
  const { id } = await gate.ledgerRow(String(answer.headers['x-request-id']));
  expect(headers).toContainEqual(['x-ms-client-request-id', id]);
});

test('the official SDKs work, each in its own dialect', async () => {
  const { anthropic, openai } = clientsOf(gate, secret);
  const chat = await openai.chat.completions.create({
    model: 'gpt-5-mini',
    messages: [{ role: 'user', content: 'hi' }],
  });
  expect(chat.choices[0]?.message.content).toMatch(/^word1 /);
  const response = await openai.responses.create({ model: 'gpt-5-mini', input: 'hi' });
  expect(response.output_text).toMatch(/^word1 /);
  const message = await anthropic.messages.create({
    model: 'gpt-5-mini',
    max_tokens: 50,
    messages: [{ role: 'user', content: 'hi' }],
  });
  expect(message.content[0]).toMatchObject({ type: 'text', text: expect.stringMatching(/^word1 /) });
  const paths = (await mock.requests()).map(({ path }) => path);
  expect(paths).toEqual(['/openai/v1/chat/completions', '/openai/v1/responses', '/openai/v1/responses']);
});

/** As Microsoft Learn describes them ("Content filtering", "Streaming"): the prompt's verdict comes first and by itself. */
const safe = { hate: { filtered: false, severity: 'safe' }, violence: { filtered: false, severity: 'safe' } };
const envelope = { id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt-5-mini-2025-08-07' };
const choice = (rest: object) => ({
  ...envelope,
  choices: [{ index: 0, finish_reason: null, content_filter_results: {}, ...rest }],
});
const chunks = [
  {
    choices: [],
    created: 0,
    id: '',
    model: '',
    object: '',
    prompt_filter_results: [{ prompt_index: 0, content_filter_results: safe }],
  },
  choice({ delta: { role: 'assistant', content: '', refusal: null } }),
  choice({ delta: { content: 'All is ' }, content_filter_results: safe }),
  // Of the asynchronous filter: where it has got to, without a delta.
  choice({ content_filter_offsets: { check_offset: 1, start_offset: 1, end_offset: 9 }, content_filter_results: safe }),
  choice({ delta: { content: 'well.' }, content_filter_results: safe }),
  choice({ delta: {}, finish_reason: 'stop' }),
  { ...envelope, choices: [], usage: { prompt_tokens: 9, completion_tokens: 4, total_tokens: 13 } },
].map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`);

describe("a stream with the content filter's verdicts", () => {
  beforeEach(() => mock.script({ reply: { headers: sse, chunks: [...chunks, 'data: [DONE]\n\n'] } }));

  const used = { inputTokens: '9', outputTokens: '4', provenance: expect.stringContaining('MEASURED') };
  const usedBy = ({ headers }: RawAnswer) => gate.ledgerRow(String(headers['x-request-id']));

  test('passes byte for byte, without the usage that only the gate asked for', async () => {
    const answer = await post(gate, '/v1/chat/completions', ask('older', { stream: true }), bearer());
    expect(answer.body.toString()).toBe([...chunks.slice(0, -1), 'data: [DONE]\n\n'].join(''));
    expect(await usedBy(answer)).toMatchObject(used);
  });

  test('is translated, under the id and model of the answer', async () => {
    const answer = await post(gate, '/v1/messages', ask('older', { stream: true }), bearer());
    const { blocks, ending, stop } = readAnthropicStream(answer.body.toString());
    expect([blocks, ending, stop]).toEqual([
      [{ type: 'text', text: 'All is well.', closed: true }],
      'finished',
      'end_turn',
    ]);
    expect(answer.body.toString()).toContain('"model":"gpt-5-mini-2025-08-07"');
    expect(answer.body.toString()).toContain('chatcmpl-1');
    expect(await usedBy(answer)).toMatchObject(used);
  });
});

test("a whole answer with the content filter's verdicts is translated", async () => {
  const told = {
    ...envelope,
    object: 'chat.completion',
    prompt_filter_results: [{ prompt_index: 0, content_filter_results: safe }],
    choices: [
      {
        index: 0,
        finish_reason: 'stop',
        content_filter_results: safe,
        message: { role: 'assistant', content: 'Well.', refusal: null, annotations: [] },
      },
    ],
    usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 },
  };
  await mock.script({ reply: { headers: { 'content-type': 'application/json' }, chunks: [JSON.stringify(told)] } });
  const answer = await post(gate, '/v1/messages', ask('older'), bearer());
  expect(JSON.parse(String(answer.body))).toMatchObject({
    content: [{ type: 'text', text: 'Well.' }],
    stop_reason: 'end_turn',
    usage: { input_tokens: 9, output_tokens: 2 },
  });
  expect(answer.headers).not.toHaveProperty('portcullis-dropped');
});

test.each([
  ['/v1/chat/completions', 'older'],
  ['/v1/messages', 'older'],
])('a prompt that the filter refused is told in its words at %s', async (path, model) => {
  const message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.";
  const body = JSON.stringify({
    error: {
      message,
      type: null,
      param: 'prompt',
      code: 'content_filter',
      status: 400,
      innererror: { code: 'ResponsibleAIPolicyViolation', content_filter_result: safe },
    },
  });
  await mock.script({ reply: { status: 400, headers: { 'content-type': 'application/json' }, chunks: [body] } });
  const answer = await post(gate, path, ask(model), bearer());
  expect(answer.status).toBe(400);
  expect(answer.body.toString()).toContain(JSON.stringify(message));
  const isSame = path === '/v1/chat/completions';
  expect(answer.body.toString() === body).toBe(isSame);
});

test("its key is never told, and that it was refused is the operator's affair", async () => {
  const body = JSON.stringify({
    error: { code: '401', message: `Access denied due to invalid subscription key ${apiKey}.` },
  });
  await mock.script({ reply: { status: 401, headers: { 'content-type': 'application/json' }, chunks: [body] } });
  const answer = await post(gate, '/v1/chat/completions', ask('older'), bearer());
  expect(answer.status).toBe(502);
  expect(answer.body.toString()).toContain('an operator must renew its api_key');
  expect(answer.body.toString()).not.toContain(apiKey);
});

test('costs what was declared, and is not guessed from the name of a deployment', async () => {
  const name = `azure-${randomUUID()}`;
  const { agentId, secret: by } = await gate.agent(name);
  await gate.budget({ name, unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
  await mock.script({ usage: { input: 100, output: 10 }, blocks: [{ type: 'text', text: 'yes' }] });
  expect((await post(gate, '/v1/chat/completions', ask('gpt-5-mini'), bearer(by))).status).toBe(200);
  await expect
    .poll(() => gate.standing(name))
    .toMatchObject({ posted: 100n * nanoPerToken.input + 10n * nanoPerToken.output });
  const refused = await post(gate, '/v1/chat/completions', ask('unpriced'), bearer(by));
  expect([refused.status, refused.body.toString()]).toEqual([403, expect.stringContaining('must declare a price')]);
});

test('takes four stop sequences as OpenAI does: more are refused by name, or the first four go with leave', async () => {
  const ends = { stop_sequences: ['a', 'b', 'c', 'd', 'e'] };
  const refused = await post(gate, '/v1/messages', ask('older', ends), bearer());
  expect(refused.status).toBe(400);
  expect(refused.body.toString()).toContain('has more than 4 sequences');
  expect(await mock.requests()).toEqual([]);
  const answer = await post(gate, '/v1/messages', ask('lossy', ends), bearer());
  expect(answer.headers['portcullis-dropped']).toBe('stop_sequences');
  const [sent] = await mock.requests();
  expect(JSON.parse(sent?.body?.toString() ?? '')).toMatchObject({ stop: ['a', 'b', 'c', 'd'] });
});
