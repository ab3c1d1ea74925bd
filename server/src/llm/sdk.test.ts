import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import fc from 'fast-check';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import type { AnswerEvent } from './stream-events.ts';
import { simulate } from './sim/simulate.ts';
import { legalEvents } from './testing/arbitrary.ts';
import { readAnthropicStream } from './testing/anthropic-grammar.ts';
import { readChatStream } from './testing/chat-grammar.ts';
import { wireFormats } from './wire-formats.ts';

/** What the server answers next: a stream's text, or a request that the simulated model answers. */
let next: { readonly stream: string } | 'simulate' = { stream: '' };

const server = createServer((request, response) => {
  const dialect = request.url?.endsWith('/messages') ? 'anthropic' : 'chat';
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    if (next !== 'simulate') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end(next.stream);
      return;
    }
    const simulation = simulate({ dialect, body: JSON.parse(Buffer.concat(chunks).toString()), requestId: 'req_1' });
    if (simulation.kind === 'stream') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const { text } of simulation.events) response.write(text);
      response.end();
    } else {
      const status = simulation.kind === 'error' ? simulation.status : 200;
      response.writeHead(status, { 'content-type': 'application/json' }).end(simulation.body);
    }
  });
});

let anthropic: Anthropic;
let openai: OpenAI;

beforeAll(async () => {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  anthropic = new Anthropic({ baseURL: origin, apiKey: 'none', maxRetries: 0 });
  openai = new OpenAI({ baseURL: `${origin}/v1`, apiKey: 'none', maxRetries: 0 });
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const tool = {
  name: 'get_weather',
  schema: {
    type: 'object' as const,
    properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 1 } },
    required: ['city', 'days'],
  },
};
const messages = [{ role: 'user' as const, content: 'Please call get_weather and use the tool get_weather.' }];

function encode(dialect: 'anthropic' | 'chat', events: readonly AnswerEvent[]): string {
  const encoder = wireFormats[dialect].createEncoder({ createdS: 1, includeUsage: true });
  return events.map((event) => encoder.write(event)).join('');
}

describe('the official Anthropic SDK', () => {
  const request = { model: 'sim', max_tokens: 1000, messages };

  test('accumulates any stream to the message that it spells out', async () => {
    await fc.assert(
      fc.asyncProperty(legalEvents, async (events) => {
        const stream = encode('anthropic', events);
        next = { stream };
        const message = await anthropic.messages.stream(request).finalMessage();
        const { blocks, stop } = readAnthropicStream(stream);
        expect(
          message.content.map((block) =>
            block.type === 'text' ? block.text : block.type === 'tool_use' && block.input,
          ),
        ).toEqual(
          blocks.map((block) => (block.type === 'text' ? block.text : JSON.parse(block.argumentsJson || '{}'))),
        );
        expect(message.stop_reason).toBe(stop);
        const finish = events.at(-1);
        if (finish?.type !== 'finish') throw new Error('no finish');
        expect(message.usage).toMatchObject({
          input_tokens: finish.usage?.input,
          output_tokens: finish.usage?.output,
          cache_read_input_tokens: finish.usage?.cacheRead,
        });
      }),
      { numRuns: 50 },
    );
  });

  test('raises an error in mid-stream as an APIError with its type and text', async () => {
    const encoder = wireFormats.anthropic.createEncoder({ createdS: 1, includeUsage: true });
    next = {
      stream:
        encoder.write({ type: 'start', id: 'a', model: 'm', usage: null }) +
        encoder.write({ type: 'block_start', index: 0, block: { kind: 'text' } }) +
        encoder.fail(new PortcullisError('upstream_error', 'It broke.'), 'req_1'),
    };
    const failure = await anthropic.messages
      .stream(request)
      .finalMessage()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(Anthropic.APIError);
    expect(failure).toMatchObject({ type: 'api_error', message: expect.stringContaining('It broke.') });
  });

  test.each([false, true])('talks with the simulated model, tools included (stream: %s)', async (stream) => {
    next = 'simulate';
    const params = { ...request, tools: [{ name: tool.name, input_schema: tool.schema }] };
    const first = stream
      ? await anthropic.messages.stream(params).finalMessage()
      : await anthropic.messages.create(params);
    expect(first.stop_reason).toBe('tool_use');
    const calls = first.content.filter((block) => block.type === 'tool_use');
    expect(calls.map(({ input }) => input)).toEqual([
      { city: 'simulated', days: 1 },
      { city: 'simulated', days: 1 },
    ]);
    const results = calls.map(({ id }) => ({ type: 'tool_result' as const, tool_use_id: id, content: 'sunny' }));
    const history = [
      ...messages,
      { role: 'assistant' as const, content: first.content },
      { role: 'user' as const, content: results },
    ];
    const second = await anthropic.messages.create({ ...params, messages: history });
    expect(second.content).toMatchObject([
      { type: 'text', text: '[simulated] The tool answered: sunny\nThe tool answered: sunny' },
    ]);
    expect(second.stop_reason).toBe('end_turn');
  });

  test('raises the scripted errors of the simulated model as its own classes', async () => {
    next = 'simulate';
    const failed = (model: string) => anthropic.messages.create({ ...request, model }).catch((error: unknown) => error);
    expect(await failed('sim-error-429')).toBeInstanceOf(Anthropic.RateLimitError);
    expect(await failed('sim-error-500')).toBeInstanceOf(Anthropic.InternalServerError);
    expect(await failed('sim-nonsense')).toBeInstanceOf(Anthropic.NotFoundError);
    const cut = await anthropic.messages
      .stream({ ...request, model: 'sim-cut-after-4' })
      .finalMessage()
      .catch((error: unknown) => error);
    expect(cut).toBeInstanceOf(Anthropic.AnthropicError);
    const broken = await anthropic.messages
      .stream({ ...request, model: 'sim-error-after-4' })
      .finalMessage()
      .catch((error: unknown) => error);
    expect(broken).toBeInstanceOf(Anthropic.APIError);
  });
});

describe('the official OpenAI SDK', () => {
  const request = { model: 'sim', messages };

  test('accumulates any stream to the completion that it spells out', async () => {
    await fc.assert(
      fc.asyncProperty(legalEvents, async (events) => {
        const stream = encode('chat', events);
        next = { stream };
        const completion = await openai.chat.completions
          .stream({ ...request, stream_options: { include_usage: true } })
          .finalChatCompletion();
        const { blocks, stop, usage } = readChatStream(stream);
        const [choice] = completion.choices;
        const spoken = blocks.map((block) => (block.type === 'text' ? block.text : '')).join('');
        expect(choice?.message.content ?? '').toBe(spoken);
        expect(
          (choice?.message.tool_calls ?? []).map((call) => call.type === 'function' && call.function.arguments),
        ).toEqual(blocks.filter((block) => block.type === 'tool_call').map((block) => block.argumentsJson));
        expect(choice?.finish_reason).toBe(stop);
        expect(completion.usage).toEqual(usage);
      }),
      { numRuns: 50 },
    );
  });

  test('raises an error in mid-stream as an APIError with its text', async () => {
    const encoder = wireFormats.chat.createEncoder({ createdS: 1, includeUsage: true });
    next = {
      stream:
        encoder.write({ type: 'start', id: 'a', model: 'm', usage: null }) +
        encoder.fail(new PortcullisError('upstream_error', 'It broke.'), 'req_1'),
    };
    const failure = await openai.chat.completions
      .stream(request)
      .finalChatCompletion()
      .catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OpenAI.APIError);
    expect(failure).toMatchObject({ message: expect.stringContaining('It broke.') });
  });

  test.each([false, true])('talks with the simulated model, tools included (stream: %s)', async (stream) => {
    next = 'simulate';
    const tools = [{ type: 'function' as const, function: { name: tool.name, parameters: tool.schema } }];
    const params = { ...request, tools };
    const first = stream
      ? await openai.chat.completions.stream(params).finalChatCompletion()
      : await openai.chat.completions.create(params);
    expect(first.choices[0]?.finish_reason).toBe('tool_calls');
    const assistant = first.choices[0]!.message;
    const calls = (assistant.tool_calls ?? []).filter((call) => call.type === 'function');
    expect(calls.map((call) => JSON.parse(call.function.arguments))).toEqual([
      { city: 'simulated', days: 1 },
      { city: 'simulated', days: 1 },
    ]);
    const results = calls.map(({ id }) => ({ role: 'tool' as const, tool_call_id: id, content: 'sunny' }));
    const second = await openai.chat.completions.create({ ...params, messages: [...messages, assistant, ...results] });
    expect(second.choices[0]?.message.content).toBe('[simulated] The tool answered: sunny\nThe tool answered: sunny');
  });

  test('raises the scripted errors of the simulated model as its own classes', async () => {
    next = 'simulate';
    const failed = (model: string) =>
      openai.chat.completions.create({ ...request, model }).catch((error: unknown) => error);
    expect(await failed('sim-error-429')).toBeInstanceOf(OpenAI.RateLimitError);
    expect(await failed('sim-error-503')).toBeInstanceOf(OpenAI.InternalServerError);
    expect(await failed('sim-nonsense')).toBeInstanceOf(OpenAI.NotFoundError);
    const broken = await openai.chat.completions
      .stream({ ...request, model: 'sim-error-after-4' })
      .finalChatCompletion()
      .catch((error: unknown) => error);
    expect(broken).toBeInstanceOf(OpenAI.APIError);
  });
});
