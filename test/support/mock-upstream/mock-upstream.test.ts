import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type MockUpstream, type SeenRequest, startMockUpstream } from './client.ts';
import type { RequestRecord } from './record.ts';

let directory: string;
let mock: MockUpstream;
let anthropic: Anthropic;
let openai: OpenAI;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mock-upstream-'));
  mock = await startMockUpstream({ recordFile: join(directory, 'record.jsonl') });
  anthropic = new Anthropic({ apiKey: 'k', baseURL: mock.url, maxRetries: 0 });
  openai = new OpenAI({ apiKey: 'k', baseURL: `${mock.url}/v1`, maxRetries: 0 });
});

beforeEach(() => mock.reset());

afterAll(async () => {
  await mock.stop();
  await rm(directory, { recursive: true });
});

const messages = [{ role: 'user' as const, content: 'Say something.' }];
const ended = ([first]: readonly SeenRequest[]) => first !== undefined && first.outcome !== 'open';
const weather = {
  type: 'object' as const,
  properties: { city: { type: 'string' }, unit: { enum: ['c', 'f'] }, days: { type: 'integer' } },
  required: ['city', 'unit'],
};

describe('Anthropic Messages', () => {
  test('a stream adds up to the whole answer', async () => {
    const body = { model: 'mock-tokens-30', max_tokens: 100, messages };
    const whole = await anthropic.messages.create(body);
    const streamed = await anthropic.messages.stream(body).finalMessage();
    expect(streamed.content).toEqual(whole.content);
    expect(whole.stop_reason).toBe('end_turn');
    expect(whole.usage.output_tokens).toBe(30);
    expect(streamed.usage.output_tokens).toBe(30);
  });

  test('thinking, text and parallel tool calls come in their blocks, streaming and not', async () => {
    await mock.script({
      blocks: [
        { type: 'thinking', thinking: 'Two cities.', signature: 'c2ln' },
        { type: 'text', text: 'I look.' },
        { type: 'tool_call', id: 'a', name: 'weather', input: { city: 'Zürich' } },
        { type: 'tool_call', id: 'b', name: 'weather', input: { city: 'Genève' } },
      ],
    });
    const body = { model: 'any', max_tokens: 100, messages };
    const whole = await anthropic.messages.create(body);
    const streamed = await anthropic.messages.stream(body).finalMessage();
    expect(whole.content).toEqual([
      { type: 'thinking', thinking: 'Two cities.', signature: 'c2ln' },
      { type: 'text', text: 'I look.' },
      { type: 'tool_use', id: 'toolu_a', name: 'weather', input: { city: 'Zürich' } },
      { type: 'tool_use', id: 'toolu_b', name: 'weather', input: { city: 'Genève' } },
    ]);
    expect(streamed.content).toEqual(whole.content);
    expect(streamed.stop_reason).toBe('tool_use');
  });

  test('a model name asks for tool calls, which stop after the tool has answered', async () => {
    const tools = [{ name: 'weather', input_schema: weather }];
    const first = await anthropic.messages.create({ model: 'mock-tools-2', max_tokens: 100, messages, tools });
    expect(first.content).toMatchObject([
      { type: 'tool_use', name: 'weather', input: { city: 'mock', unit: 'c' } },
      { type: 'tool_use', name: 'weather' },
    ]);
    const second = await anthropic.messages.create({
      model: 'mock-tools-2',
      max_tokens: 100,
      tools,
      messages: [
        ...messages,
        { role: 'assistant', content: first.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_a', content: '12' }] },
      ],
    });
    expect(second.stop_reason).toBe('end_turn');
  });

  test('an answer keeps to max_tokens and says so', async () => {
    const answer = await anthropic.messages.create({ model: 'mock-tokens-50', max_tokens: 5, messages });
    expect(answer.stop_reason).toBe('max_tokens');
    expect(answer.usage.output_tokens).toBe(5);
  });

  test('scripted usage is reported by class', async () => {
    await mock.script({ usage: { input: 7, cacheRead: 100, cacheWrite5m: 20, cacheWrite1h: 3, output: 9 } });
    const { usage } = await anthropic.messages.create({ model: 'any', max_tokens: 100, messages });
    expect(usage).toMatchObject({
      input_tokens: 7,
      cache_read_input_tokens: 100,
      cache_creation_input_tokens: 23,
      cache_creation: { ephemeral_5m_input_tokens: 20, ephemeral_1h_input_tokens: 3 },
      output_tokens: 9,
    });
  });

  test('tokens are counted and models listed', async () => {
    const counted = await anthropic.messages.countTokens({ model: 'mock', messages });
    expect(counted.input_tokens).toBeGreaterThan(0);
    const models = await anthropic.models.list();
    expect(models.data[0]).toMatchObject({ id: 'mock', type: 'model' });
  });

  test('errors have their class, status and request id', async () => {
    const failure = await anthropic.messages
      .create({ model: 'mock-error-529', max_tokens: 1, messages })
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Anthropic.APIError);
    expect(failure).toMatchObject({ status: 529, type: 'overloaded_error' });
    expect((failure as InstanceType<typeof Anthropic.APIError>).requestID).toMatch(/^req_mock_/);
    await expect(anthropic.messages.create({ model: 'mock-nonsense', max_tokens: 1, messages })).rejects.toBeInstanceOf(
      Anthropic.NotFoundError,
    );
    await expect(anthropic.messages.create({ model: 'mock', max_tokens: 0, messages })).rejects.toBeInstanceOf(
      Anthropic.BadRequestError,
    );
  });
});

describe('OpenAI Chat Completions', () => {
  test('a stream adds up to the whole answer, with usage only where it was asked for', async () => {
    const body = { model: 'mock-tokens-30', messages };
    const whole = await openai.chat.completions.create(body);
    const stream = openai.chat.completions.stream({ ...body, stream_options: { include_usage: true } });
    const streamed = await stream.finalChatCompletion();
    expect(streamed.choices[0]?.message.content).toBe(whole.choices[0]?.message.content);
    expect(whole.usage?.completion_tokens).toBe(30);
    expect(streamed.usage?.completion_tokens).toBe(30);

    const chunks = [];
    for await (const chunk of await openai.chat.completions.create({ ...body, stream: true })) chunks.push(chunk);
    expect(chunks.every((chunk) => chunk.usage === undefined)).toBe(true);
  });

  test('parallel tool calls keep their own arguments, streaming and not', async () => {
    await mock.script({
      blocks: [
        { type: 'text', text: 'I look.' },
        { type: 'tool_call', id: 'a', name: 'weather', input: { city: 'Zürich' } },
        { type: 'tool_call', id: 'b', name: 'weather', input: { city: 'Genève' } },
      ],
    });
    const body = { model: 'any', messages };
    const whole = await openai.chat.completions.create(body);
    const streamed = await openai.chat.completions.stream(body).finalChatCompletion();
    const calls = [
      { id: 'call_a', type: 'function', function: { name: 'weather', arguments: '{"city":"Zürich"}' } },
      { id: 'call_b', type: 'function', function: { name: 'weather', arguments: '{"city":"Genève"}' } },
    ];
    expect(whole.choices[0]?.message.tool_calls).toEqual(calls);
    expect(streamed.choices[0]?.message.tool_calls).toMatchObject(calls);
    expect(whole.choices[0]?.finish_reason).toBe('tool_calls');
  });

  test('each of n choices is answered and charged', async () => {
    const answer = await openai.chat.completions.create({ model: 'mock-tokens-10', messages, n: 3 });
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1, 2]);
    expect(answer.usage?.completion_tokens).toBe(30);
  });

  test('models are listed', async () => {
    const models = await openai.models.list();
    expect(models.data[0]).toMatchObject({ id: 'mock', object: 'model' });
  });

  test('errors have their class, and scripted ones pass verbatim', async () => {
    await expect(openai.chat.completions.create({ model: 'mock-error-429', messages })).rejects.toBeInstanceOf(
      OpenAI.RateLimitError,
    );
    const text =
      '{"error":{"message":"context is 8192 tokens","type":"invalid_request_error","code":"context_length_exceeded"}}';
    await mock.script({
      times: 1,
      reply: { status: 400, headers: { 'retry-after': '7', 'x-request-id': 'mine' }, chunks: [text] },
    });
    const response = await fetch(`${mock.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'any', messages }),
    });
    expect(response.status).toBe(400);
    expect(response.headers.get('retry-after')).toBe('7');
    expect(response.headers.get('x-request-id')).toBe('mine');
    expect(await response.text()).toBe(text);
    expect((await openai.chat.completions.create({ model: 'any', messages })).object).toBe('chat.completion');
  });
});

describe('faults', () => {
  test('a cut stream delivers exactly the events before the cut', async () => {
    const seen: string[] = [];
    const stream = await anthropic.messages.create({ model: 'mock-cut-5', max_tokens: 100, stream: true, messages });
    await expect(
      (async () => {
        for await (const event of stream) seen.push(event.type);
      })(),
    ).rejects.toThrow('terminated');
    // The fifth event is a delta; the SDK hides pings.
    expect(seen).toEqual(['message_start', 'content_block_start', 'content_block_delta', 'content_block_delta']);
    const [request] = await mock.until(ended);
    expect(request).toMatchObject({ outcome: 'cut', chunksSent: 5, clientAbortedAt: null, billed: { output: 2 } });
  });

  test('a whole answer is cut in its middle, or before its first byte', async () => {
    for (const model of ['mock-cut-1', 'mock-cut-0']) {
      await expect(openai.chat.completions.create({ model, messages })).rejects.toThrow('terminated');
    }
    await expect(openai.chat.completions.create({ model: 'mock-reset', messages })).rejects.toBeInstanceOf(
      OpenAI.APIConnectionError,
    );
  });

  test('a stalled or silent provider holds the connection until the client leaves, which is recorded', async () => {
    for (const model of ['mock-stall-3', 'mock-never']) {
      await mock.reset();
      const client = new AbortController();
      const call = openai.chat.completions
        .create({ model, messages, stream: true }, { signal: client.signal })
        .then((stream) => new Response(stream.toReadableStream()).text())
        .catch(() => 'aborted');
      await mock.until(([request]) => (model === 'mock-never' ? request !== undefined : request?.chunksSent === 3));
      client.abort();
      await call;
      const [request] = await mock.until(ended);
      expect(request?.outcome).toBe('client_aborted');
      expect(request?.clientAbortedAt).toBeGreaterThan(request?.receivedAt ?? Infinity);
      expect(request?.chunksSent).toBe(model === 'mock-never' ? 0 : 3);
    }
  });

  test('a malformed event is broken JSON between sound ones', async () => {
    const response = await fetch(`${mock.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'mock-malformed-2', messages, stream: true }),
    });
    const events = (await response.text()).trim().split('\n\n');
    const sound = events.map((event) => {
      try {
        return typeof JSON.parse(event.slice('data: '.length)) === 'object';
      } catch {
        return false;
      }
    });
    expect(sound.slice(0, 4)).toEqual([true, true, false, true]);
  });

  test('headers can trickle, and the answer is still sound', async () => {
    for (const stream of [false, true]) {
      const response = await fetch(`${mock.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify({ model: 'mock-slow-1', messages, stream }),
      });
      expect(response.headers.get('content-type')).toMatch(stream ? 'text/event-stream' : 'application/json');
      expect(await response.text()).toContain('word12');
    }
  });

  test('latency and token rate pace the answer', async () => {
    await openai.chat.completions.create({ model: 'mock-latency-50-tokens-10-rate-100', messages });
    const [request] = await mock.until(ended);
    expect((request?.firstByteAt ?? 0) - (request?.receivedAt ?? 0)).toBeGreaterThanOrEqual(149);
  });
});

describe('the record', () => {
  test('has headers and body byte by byte as they came', async () => {
    const body = '{"model":"mock",  "messages":[{"role":"user","content":"\\u00e9 é"}]}';
    const request = [
      'POST /v1/chat/completions?a=1 HTTP/1.1',
      'Host: mock',
      'X-Twice: 1',
      'x-twice: 2',
      'Connection: close',
      `Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
    ];
    const socket = connect(Number(new URL(mock.url).port), '127.0.0.1');
    socket.end(request.join('\r\n'));
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    const [seen] = await mock.until(([request]) => request?.outcome === 'finished');
    expect(seen).toMatchObject({ method: 'POST', path: '/v1/chat/completions?a=1', model: 'mock', status: 200 });
    expect(seen?.headers.slice(0, 3)).toEqual([
      ['Host', 'mock'],
      ['X-Twice', '1'],
      ['x-twice', '2'],
    ]);
    expect(seen?.body?.toString()).toBe(body);
    expect(seen?.bytesSent).toBe(Buffer.byteLength(answer));
  });

  test('is in the file when the provider is killed, with what was under way', async () => {
    const file = join(directory, 'killed.jsonl');
    const provider = await startMockUpstream({ recordFile: file });
    const url = `${provider.url}/v1/messages`;
    const post = (model: string) =>
      fetch(url, { method: 'POST', body: JSON.stringify({ model, max_tokens: 9, messages }) }).catch(() => null);
    await post('mock');
    const open = post('mock-never');
    await provider.until((requests) => requests.length === 2 && requests[0]?.outcome === 'finished');
    process.kill(provider.pid, 'SIGKILL');
    await provider.stop();
    await open;
    const lines = (await readFile(file, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as RequestRecord);
    expect(lines.map(({ id, outcome }) => [id, outcome])).toEqual([
      [1, 'open'],
      [1, 'finished'],
      [2, 'open'],
    ]);
    expect(lines[1]?.billed).toMatchObject({ output: 9 });
  });

  test('a script with a mistake is refused', async () => {
    await expect(mock.script({ model: 'x', latency: 5 } as object)).rejects.toThrow(/latency/);
  });
});
