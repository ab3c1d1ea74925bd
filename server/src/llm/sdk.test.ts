import Anthropic from '@anthropic-ai/sdk';
import fc from 'fast-check';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { zodResponseFormat } from 'openai/helpers/zod';
import { PortcullisError } from '../base/errors.ts';
import type { AnswerContext, Conversation } from './conversation.ts';
import { freeformSchema } from './freeform-tools.ts';
import type { AnswerEvent } from './stream-events.ts';
import { legalEvents } from './testing/arbitrary.ts';
import { readAnthropicStream } from './testing/anthropic-grammar.ts';
import { readChatStream } from './testing/chat-grammar.ts';
import { aConversation } from './testing/conversations.ts';
import { type Reply, startSdkServer } from './testing/sdk-server.ts';
import { translateError } from './translate.ts';
import { wireFormats } from './wire-formats.ts';

let next: Reply = 'simulate';
let server: Awaited<ReturnType<typeof startSdkServer>>;
let anthropic: Anthropic;
let openai: OpenAI;

beforeAll(async () => {
  server = await startSdkServer(() => next);
  ({ anthropic, openai } = server);
});

afterAll(() => server.close());

const context = (request: Partial<Conversation> = {}): AnswerContext => ({
  createdS: 1,
  request: aConversation(request),
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
  const encoder = wireFormats[dialect].createEncoder({ ...context(), includeUsage: true });
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
          blocks.map((block) => (block.type === 'tool_call' ? JSON.parse(block.argumentsJson || '{}') : block.text)),
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
    const encoder = wireFormats.anthropic.createEncoder({ ...context(), includeUsage: true });
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
    const encoder = wireFormats.chat.createEncoder({ ...context(), includeUsage: true });
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

  const patch = { type: 'custom' as const, custom: { name: 'patch' } };
  const offered = context({
    tools: [{ name: 'patch', description: null, schema: freeformSchema, strict: null, freeform: true }],
  });
  const freeformCall = {
    id: 'a',
    model: 'm',
    blocks: [{ type: 'tool_call', id: 'c', name: 'patch', argumentsJson: '{"input":"*** Begin\\n"}' }],
    stop: 'tool',
    stopSequence: null,
    usage: null,
  } as const;
  const asCustom = [{ id: 'c', type: 'custom', custom: { name: 'patch', input: '*** Begin\n' } }];

  test('hands out calls of custom tools as such, and takes them back', async () => {
    next = { status: 200, body: wireFormats.chat.writeAnswer(freeformCall, offered) };
    const whole = await openai.chat.completions.create({ ...request, tools: [patch] });
    expect(whole.choices[0]?.message.tool_calls).toEqual(asCustom);

    const encoder = wireFormats.chat.createEncoder({ ...offered, includeUsage: true });
    const [{ id, name, argumentsJson }] = freeformCall.blocks;
    const events: AnswerEvent[] = [
      { type: 'start', id: 'a', model: 'm', usage: null },
      { type: 'block_start', index: 0, block: { kind: 'tool_call', id, name } },
      { type: 'arguments_delta', index: 0, json: argumentsJson.slice(0, 5) },
      { type: 'arguments_delta', index: 0, json: argumentsJson.slice(5) },
      { type: 'block_stop', index: 0 },
      { type: 'finish', stop: 'tool', stopSequence: null, usage: null },
    ];
    next = { stream: events.map((event) => encoder.write(event)).join('') };
    const streamed = await openai.chat.completions.stream({ ...request, tools: [patch] }).finalMessage();
    expect(streamed.tool_calls).toEqual(asCustom);
  });

  test('parses structured output, whole and as a stream', async () => {
    const City = z.object({ name: z.string(), days: z.number() });
    const asked = { ...request, response_format: zodResponseFormat(City, 'city') };
    const json = '{"name":"Ulm","days":2}';
    const answer = {
      ...freeformCall,
      blocks: [{ type: 'text', text: json }],
      stop: 'end',
    } as const;
    next = { status: 200, body: wireFormats.chat.writeAnswer(answer, context()) };
    const whole = await openai.chat.completions.parse(asked);
    expect(whole.choices[0]?.message.parsed).toEqual({ name: 'Ulm', days: 2 });

    const encoder = wireFormats.chat.createEncoder({ ...context(), includeUsage: true });
    const events: AnswerEvent[] = [
      { type: 'start', id: 'a', model: 'm', usage: null },
      { type: 'block_start', index: 0, block: { kind: 'text' } },
      ...Array.from(json, (text): AnswerEvent => ({ type: 'text_delta', index: 0, text })),
      { type: 'block_stop', index: 0 },
      { type: 'finish', stop: 'end', stopSequence: null, usage: null },
    ];
    next = { stream: events.map((event) => encoder.write(event)).join('') };
    const streamed = await openai.chat.completions.stream(asked).finalChatCompletion();
    expect(streamed.choices[0]?.message.parsed).toEqual({ name: 'Ulm', days: 2 });
  });

  test.each([
    [400, 'invalid_request_error', OpenAI.BadRequestError],
    [401, 'authentication_error', OpenAI.AuthenticationError],
    [403, 'permission_error', OpenAI.PermissionDeniedError],
    [404, 'not_found_error', OpenAI.NotFoundError],
    [429, 'rate_limit_error', OpenAI.RateLimitError],
    [500, 'api_error', OpenAI.InternalServerError],
    [529, 'overloaded_error', OpenAI.InternalServerError],
  ] as const)(
    'raises %s of an Anthropic provider as its class, in its words, with the id and the delay',
    async (status, type, kind) => {
      const body = JSON.stringify({ type: 'error', error: { type, message: 'In its words.' } });
      const translated = translateError({ from: 'anthropic', to: 'chat', status, body });
      next = { ...translated, headers: { 'x-request-id': 'req_1', 'retry-after': '7' } };
      const failure: unknown = await openai.chat.completions.create(request).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(kind);
      expect(failure).toMatchObject({ message: expect.stringContaining('In its words.'), requestID: 'req_1' });
      expect((failure as InstanceType<typeof OpenAI.APIError>).headers?.get('retry-after')).toBe('7');
    },
  );
});
