import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { clientsOf, startGateWithMock } from './support/models.ts';

/** The official SDKs, given another base URL and key and nothing else, before every kind of provider. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let anthropic: Anthropic;
let openai: OpenAI;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  ({ anthropic, openai } = clientsOf(gate, (await gate.agent('sdk')).secret));
});

afterAll(() => stop());

const weatherSchema = { type: 'object' as const, properties: { city: { type: 'string' } }, required: ['city'] };
const question = 'Please use the tool weather.';

const providers = [
  { name: 'the simulated model', model: 'sim', said: /^\[simulated\] You said: hello$/ },
  { name: 'an Anthropic provider', model: 'claude-1', said: /^word1 word2 .* word12$/ },
  { name: 'an OpenAI-compatible provider', model: 'gpt-1', said: /^word1 word2 .* word12$/ },
];

describe.each(providers)("Anthropic's SDK before $name", ({ model, said }) => {
  const hello = { model, max_tokens: 50, messages: [{ role: 'user' as const, content: 'hello' }] };
  const tools = [{ name: 'weather', description: 'Tells the weather.', input_schema: weatherSchema }];

  test('gets a message', async () => {
    const message = await anthropic.messages.create(hello);
    expect(message).toMatchObject({ type: 'message', role: 'assistant', model, stop_reason: 'end_turn' });
    expect(message.content).toEqual([expect.objectContaining({ type: 'text', text: expect.stringMatching(said) })]);
    expect(message.usage.input_tokens).toBeGreaterThan(0);
    expect(message.usage.output_tokens).toBeGreaterThan(0);
    expect(message._request_id).toMatch(/^req_/);
  });

  test('gets the same message as a stream', async () => {
    const deltas: string[] = [];
    const stream = anthropic.messages.stream(hello).on('text', (delta) => deltas.push(delta));
    const message = await stream.finalMessage();
    expect(deltas.length).toBeGreaterThan(1);
    expect(message.content).toEqual([expect.objectContaining({ type: 'text', text: deltas.join('') })]);
    expect(deltas.join('')).toMatch(said);
    expect(message.stop_reason).toBe('end_turn');
    expect(message.usage.output_tokens).toBeGreaterThan(0);
    expect(stream.request_id).toMatch(/^req_/);
  });

  test.each([false, true])('calls a tool and gives back its result (streamed: %s)', async (streamed) => {
    await mock.script({ model, toolCalls: 1, times: 1 });
    const asked = { ...hello, tools, messages: [{ role: 'user' as const, content: question }] };
    const message = streamed
      ? await anthropic.messages.stream(asked).finalMessage()
      : await anthropic.messages.create(asked);
    expect(message.stop_reason).toBe('tool_use');
    const call = message.content.find((block) => block.type === 'tool_use');
    expect(call).toMatchObject({ name: 'weather', input: { city: expect.any(String) } });
    const answered = await anthropic.messages.create({
      ...asked,
      messages: [
        ...asked.messages,
        { role: 'assistant', content: message.content },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: call?.id ?? '', content: 'sunny' }] },
      ],
    });
    expect(answered.stop_reason).toBe('end_turn');
    await mock.reset();
  });
});

describe.each(providers)("OpenAI's SDK before $name", ({ model, said }) => {
  const hello = { model, max_completion_tokens: 50, messages: [{ role: 'user' as const, content: 'hello' }] };
  const tools = [{ type: 'function' as const, function: { name: 'weather', parameters: weatherSchema } }];

  test('gets a completion', async () => {
    const completion = await openai.chat.completions.create(hello);
    expect(completion).toMatchObject({ object: 'chat.completion', model });
    expect(completion.choices).toHaveLength(1);
    expect(completion.choices[0]).toMatchObject({
      finish_reason: 'stop',
      message: { role: 'assistant', content: expect.stringMatching(said) },
    });
    expect(completion.usage?.completion_tokens).toBeGreaterThan(0);
    expect(completion._request_id).toMatch(/^req_/);
  });

  test.each([false, true])('gets the same as a stream (usage asked for: %s)', async (include) => {
    const stream = await openai.chat.completions.create({
      ...hello,
      stream: true,
      ...(include && { stream_options: { include_usage: true } }),
    });
    let text = '';
    let finished: string | null = null;
    const usages: unknown[] = [];
    const choices = new Set<number>();
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      finished = chunk.choices[0]?.finish_reason ?? finished;
      if (chunk.usage) usages.push(chunk.usage);
      choices.add(chunk.choices.length);
    }
    expect(text).toMatch(said);
    expect(finished).toBe('stop');
    expect(usages).toHaveLength(include ? 1 : 0);
    expect([...choices]).toEqual(include ? [1, 0] : [1]);
  });

  test.each([false, true])('calls a tool and gives back its result (streamed: %s)', async (streamed) => {
    await mock.script({ model, toolCalls: 1, times: 1 });
    const asked = { ...hello, tools, messages: [{ role: 'user' as const, content: question }] };
    const completion = streamed
      ? await openai.chat.completions.stream(asked).finalChatCompletion()
      : await openai.chat.completions.create(asked);
    const [choice] = completion.choices;
    expect(choice?.finish_reason).toBe('tool_calls');
    const [call] = choice?.message.tool_calls ?? [];
    if (call?.type !== 'function') throw new Error('no function was called');
    expect(call.function.name).toBe('weather');
    expect(JSON.parse(call.function.arguments)).toEqual({ city: expect.any(String) });
    const answered = await openai.chat.completions.create({
      ...hello,
      tools,
      messages: [
        ...asked.messages,
        { role: 'assistant', tool_calls: [call] },
        { role: 'tool', tool_call_id: call.id, content: 'sunny' },
      ],
    });
    expect(answered.choices[0]?.finish_reason).toBe('stop');
    await mock.reset();
  });
});

describe('an error of the provider', () => {
  const cases = [
    { status: 400, anthropicError: Anthropic.BadRequestError, openaiError: OpenAI.BadRequestError },
    { status: 403, anthropicError: Anthropic.PermissionDeniedError, openaiError: OpenAI.PermissionDeniedError },
    { status: 404, anthropicError: Anthropic.NotFoundError, openaiError: OpenAI.NotFoundError },
    { status: 429, anthropicError: Anthropic.RateLimitError, openaiError: OpenAI.RateLimitError },
    { status: 500, anthropicError: Anthropic.InternalServerError, openaiError: OpenAI.InternalServerError },
  ];
  const scripted = async (model: string, status: number) => {
    await mock.script({ model, error: status, times: 1 });
    return { model, max_tokens: 50, messages: [{ role: 'user' as const, content: 'hello' }] };
  };
  const once = { maxRetries: 0 };

  describe.each(['sim', 'claude-error', 'gpt-error'])('of %s', (name) => {
    test.each(cases)('$status becomes the exception that each SDK has for it', async (expected) => {
      const { status, anthropicError, openaiError } = expected;
      const model = name === 'sim' ? `sim-error-${status}` : name;
      const wording = name === 'sim' ? /\[simulated\]/ : new RegExp(`told to answer ${status}`);
      const asked = await scripted(model, status);
      const byAnthropic = await anthropic.messages.create(asked, once).catch((error: unknown) => error);
      expect(byAnthropic).toBeInstanceOf(anthropicError);
      expect(byAnthropic).toMatchObject({ status, message: expect.stringMatching(wording) });
      expect(byAnthropic).toHaveProperty('requestID', expect.stringMatching(/^req_/));
      await scripted(model, status);
      const byOpenai = await openai.chat.completions
        .create({ ...asked, stream: true }, once)
        .catch((error: unknown) => error);
      expect(byOpenai).toBeInstanceOf(openaiError);
      expect(byOpenai).toMatchObject({ status, message: expect.stringMatching(wording) });
      expect(byOpenai).toHaveProperty('requestID', expect.stringMatching(/^req_/));
    });
  });

  test('is retried by the SDK as it says', async () => {
    await mock.reset();
    await mock.script({ model: 'claude-retry', error: 529, times: 1, headers: { 'retry-after': '0' } });
    await mock.script({ model: 'gpt-retry', error: 429, times: 1, headers: { 'retry-after': '0' } });
    const asked = { max_tokens: 50, messages: [{ role: 'user' as const, content: 'hello' }] };
    await anthropic.messages.create({ ...asked, model: 'claude-retry' });
    await openai.chat.completions.create({ ...asked, model: 'gpt-retry' });
    expect((await mock.requests()).map(({ status }) => status)).toEqual([529, 200, 429, 200]);
  });
});

test.each(['claude-slow', 'gpt-slow'])('an abort by the SDK ends the call to %s', async (model) => {
  await mock.reset();
  await mock.script({ model, tokens: 1000, tokensPerSecond: 20 });
  const messages = [{ role: 'user' as const, content: 'hello' }];
  const byAnthropic = anthropic.messages.stream({ model, max_tokens: 2000, messages });
  byAnthropic.on('text', () => byAnthropic.abort());
  await expect(byAnthropic.finalMessage()).rejects.toBeInstanceOf(Anthropic.APIUserAbortError);
  const byOpenai = await openai.chat.completions.create({
    model,
    max_completion_tokens: 2000,
    messages,
    stream: true,
  });
  for await (const chunk of byOpenai) if (chunk.choices[0]?.delta.content) break;
  const seen = await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'));
  expect(seen.map(({ outcome }) => outcome)).toEqual(['client_aborted', 'client_aborted']);
  await expect.poll(async () => (await gate.holds()).held).toBeUndefined();
});

test("Anthropic's beta client, which Claude Code uses, gets its messages and its beta headers through", async () => {
  await mock.reset();
  const message = await anthropic.beta.messages.create({
    model: 'claude-1',
    max_tokens: 50,
    betas: ['context-1m-2025-08-07'],
    messages: [{ role: 'user', content: 'hello' }],
  });
  expect(message.stop_reason).toBe('end_turn');
  const [seen] = await mock.requests();
  expect(new Map(seen?.headers).get('anthropic-beta')).toBe('context-1m-2025-08-07');
});

test('each SDK lists the models in the shape that it knows', async () => {
  const byAnthropic = await anthropic.models.list();
  const byOpenai = await openai.models.list();
  expect(byAnthropic.data.map(({ id }) => id)).toContain('sim');
  expect(byOpenai.data.map(({ id }) => id)).toEqual(byAnthropic.data.map(({ id }) => id));
});
