import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, clientsOf, doors, post, startGateWithMock } from './support/models.ts';

/** The window of a target: what is too long for it is refused before any money is held, or trimmed where a route says so. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;
let anthropic: Anthropic;
let openai: OpenAI;

const window = (context: number) => ({ capabilities: { context } });

beforeAll(async () => {
  const trim = 'oldest_turns';
  ({ gate, mock, stop } = await startGateWithMock({
    models: {
      'gpt-small': { targets: [{ provider: 'gpt', ...window(1000) }] },
      'claude-small': { targets: [{ provider: 'claude', ...window(1000) }] },
      'claude-middling': { targets: [{ provider: 'claude', ...window(5000) }] },
      'gpt-trimmed': { targets: [{ provider: 'gpt', ...window(1000) }], trim },
      'claude-trimmed': { targets: [{ provider: 'claude', ...window(1000) }], trim },
      'sim-trimmed': { targets: [{ provider: 'sim', model: 'sim', ...window(1000) }], trim },
      pair: {
        targets: [
          { provider: 'gpt', model: 'gpt-near', ...window(500) },
          { provider: 'gpt', model: 'gpt-far', weight: 0, ...window(2000) },
        ],
      },
      tail: {
        targets: [
          { provider: 'gpt', model: 'gpt-far', ...window(2000) },
          { provider: 'gpt', model: 'gpt-near', weight: 0, ...window(500) },
        ],
        attempts_max: 2,
      },
      single: {
        targets: [
          { provider: 'gpt', model: 'gpt-near', ...window(500) },
          { provider: 'gpt', model: 'gpt-far', weight: 0, ...window(2000) },
        ],
        on_failure: 'refuse',
      },
    },
  }));
  ({ secret } = await gate.agent('windows'));
  ({ anthropic, openai } = clientsOf(gate, secret));
});

afterAll(() => stop());
beforeEach(() => mock.reset());

const words = (n: number, word = 'word') => `${word} `.repeat(n).trim();
const user = (content: string) => ({ role: 'user' as const, content });
const assistant = (content: string) => ({ role: 'assistant' as const, content });
const call = (client: keyof typeof doors, model: string, rest: object = {}): Promise<RawAnswer> =>
  post(gate, doors[client].path, ask(model, rest), { authorization: `Bearer ${secret}` });
/** About 1,600 tokens in three exchanges, and a question. */
const long = ['first', 'second', 'third'].flatMap((name) => [user(words(270, name)), assistant(words(270, name))]);
const messages = [...long, user('and now?')];

async function sent(): Promise<Record<string, unknown>[]> {
  return (await mock.requests()).map(({ body }) => JSON.parse(String(body)) as Record<string, unknown>);
}

async function textSent(): Promise<string> {
  return JSON.stringify(await sent());
}

describe('a conversation that is too long for the window of the other dialect', () => {
  test("is the exception of Anthropic's SDK, in the words that Claude Code recovers from", async () => {
    const error = await anthropic.messages
      .create({ model: 'gpt-small', max_tokens: 50, messages })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Anthropic.BadRequestError);
    expect(error).toMatchObject({ status: 400, error: { error: { type: 'invalid_request_error' } } });
    const { message } = (error as { error: { error: { message: string } } }).error.error;
    expect(message).toMatch(/^prompt is too long: \d{4} tokens > 950 maximum$/);
  });

  test("is the exception of OpenAI's SDK, with the code that clients look for", async () => {
    for (const stream of [false, true]) {
      const byChat = await openai.chat.completions
        .create({ model: 'claude-small', messages, max_completion_tokens: 50, stream })
        .catch((thrown: unknown) => thrown);
      expect(byChat).toBeInstanceOf(OpenAI.BadRequestError);
      expect(byChat).toMatchObject({
        code: 'context_length_exceeded',
        param: 'messages',
        type: 'invalid_request_error',
      });
      expect(String(byChat)).toContain("This model's maximum context length is 1000 tokens");
    }
    const byResponses = await openai.responses
      .create({ model: 'claude-small', input: messages, max_output_tokens: 50 })
      .catch((thrown: unknown) => thrown);
    expect(byResponses).toBeInstanceOf(OpenAI.BadRequestError);
    expect(byResponses).toMatchObject({ code: 'context_length_exceeded', param: 'input' });
    expect(String(byResponses)).toContain('exceeds the context window');
  });

  test('holds no money, reaches no provider, and is a row of the ledger', async () => {
    const answer = await call('anthropic', 'gpt-small', { messages });
    expect(answer.status).toBe(400);
    expect(answer.headers['x-should-retry']).toBe('false');
    const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
    expect(row).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_REFUSED',
      errorClass: 'context_length_exceeded',
      provider: 'gpt',
    });
    expect(await mock.requests()).toEqual([]);
    expect((await gate.holds()).held).toBeUndefined();
  });

  test('counts what a model is shown beside the turns: a system prompt alone can be too long', async () => {
    const answer = await call('anthropic', 'gpt-small', { system: words(1200) });
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toContain('"message":"prompt is too long: 1205 tokens > 950 maximum"');
    const blocks = await call('anthropic', 'gpt-trimmed', { system: [{ type: 'text', text: words(1200) }], messages });
    expect(blocks.status).toBe(400);
  });

  test('passes where the dialect is the same: its provider is to judge', async () => {
    expect((await call('chat', 'gpt-small', { messages })).status).toBe(200);
    expect((await call('anthropic', 'claude-small', { messages })).status).toBe(200);
  });

  test('is not tried at a target that is too small for it, when the one that has the room fails', async () => {
    await mock.script({ model: 'gpt-far', error: 500 });
    const answer = await call('anthropic', 'tail', { messages });
    expect(answer.status).toBe(500);
    expect((await sent()).map(({ model }) => model)).toEqual(['gpt-far', 'gpt-far']);
  });

  test('goes to another target of the route that has the room, unless the route keeps to one', async () => {
    const fits = await call('anthropic', 'pair', { messages });
    expect(fits.status).toBe(200);
    expect((await gate.ledgerRow(String(fits.headers['x-request-id']))).modelServed).toBe('gpt-far');
    const large = await call('anthropic', 'pair', { messages: [...long, ...long, user('?')] });
    expect(large.body.toString()).toMatch(/prompt is too long: \d+ tokens > 1950 maximum/);
    expect((await call('anthropic', 'single', { messages })).status).toBe(400);
  });
});

test('an answer may be as long as the window has room for, which the provider is told', async () => {
  const answer = await call('anthropic', 'gpt-small', { messages: [user(words(600))], max_tokens: 32_000 });
  expect(answer.status).toBe(200);
  expect(await sent()).toMatchObject([{ max_completion_tokens: 396, max_tokens: 396 }]);
});

test('what is left for the answer bounds what the model may think', async () => {
  const asked = { messages: [user(words(600))], max_tokens: 32_000, reasoning_effort: 'high' };
  expect((await call('chat', 'claude-middling', asked)).status).toBe(200);
  expect(await sent()).toMatchObject([{ max_tokens: 4396, thinking: { type: 'enabled', budget_tokens: 2198 } }]);
  const small = await call('chat', 'claude-small', asked);
  expect(small.headers['portcullis-dropped']).toBe('reasoning');
});

describe('a route that trims', () => {
  test.each([
    ['anthropic', 'gpt-trimmed'],
    ['anthropic', 'claude-trimmed'],
    ['chat', 'gpt-trimmed'],
    ['chat', 'claude-trimmed'],
  ] as const)('takes out the oldest turns of a call by %s to %s, and says so', async (client, model) => {
    const answer = await call(client, model, { messages });
    expect(answer.status).toBe(200);
    expect(answer.headers['portcullis-trimmed']).toMatch(/^turns=4; tokens=10\d\d$/);
    const body = await textSent();
    expect(body).not.toContain('first');
    expect(body).not.toContain('second');
    expect(body).toContain(words(270, 'third'));
    expect(body).toContain('and now?');
    expect((await sent())[0]?.['model']).toBe(model);
  });

  test.each([
    ['anthropic', 'gpt-trimmed'],
    ['anthropic', 'claude-trimmed'],
    ['chat', 'gpt-trimmed'],
    ['chat', 'sim-trimmed'],
  ] as const)('says so in a stream by %s to %s too, where no SDK stumbles over it', async (client, model) => {
    const raw = await call(client, model, { messages, stream: true });
    expect(raw.headers['portcullis-trimmed']).toMatch(/^turns=4; tokens=\d+$/);
    expect(raw.body.toString()).toMatch(/^: portcullis trimmed turns=4 tokens=\d+\n\n/);
    const text =
      client === 'anthropic'
        ? await anthropic.messages.stream({ model, max_tokens: 50, messages }).finalText()
        : await openai.chat.completions
            .stream({ model, max_completion_tokens: 50, messages })
            .finalChatCompletion()
            .then(({ choices }) => choices[0]?.message.content);
    expect(text).toMatch(/\w/);
  });

  test('says so in a stream of Responses too', async () => {
    const asked = { model: 'gpt-trimmed', input: messages, max_output_tokens: 50 };
    const stream = openai.responses.stream(asked);
    expect((await stream.finalResponse()).status).toBe('completed');
    expect(await textSent()).not.toContain('second');
  });

  test('leaves every byte of what fits as it is', async () => {
    for (const [client, model] of [
      ['anthropic', 'claude-trimmed'],
      ['chat', 'gpt-trimmed'],
    ] as const) {
      await mock.reset();
      // More bytes than the window has tokens, so that they are counted; the field is unknown to the gate.
      const rest = { messages: [user(words(500))], a_field_of_tomorrow: true };
      const answer = await call(client, model, rest);
      expect(answer.status).toBe(200);
      expect(answer.headers).not.toHaveProperty('portcullis-trimmed');
      expect(String((await mock.requests())[0]?.body)).toBe(ask(model, rest));
    }
  });

  test('refuses what it would have to leave out besides, and what no trimming brings into the window', async () => {
    const lost = await call('anthropic', 'claude-trimmed', { messages, a_field_of_tomorrow: true });
    expect(lost.status).toBe(400);
    expect(lost.body.toString()).toContain('a_field_of_tomorrow');
    const alone = await call('anthropic', 'claude-trimmed', { messages: [...long, user(words(1100))] });
    expect(alone.body.toString()).toContain('prompt is too long: 1104 tokens > 950 maximum');
    expect(await mock.requests()).toEqual([]);
  });

  test('never tears a tool result from its call', async () => {
    const rounds = Array.from({ length: 12 }, (_, i) => [
      { role: 'assistant', content: [{ type: 'tool_use', id: `call_${i}`, name: 'look', input: {} }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: `call_${i}`, content: words(100) }] },
    ]).flat();
    const tools = [{ name: 'look', input_schema: { type: 'object' } }];
    const asked = { messages: [user('repair it'), ...rounds], tools };
    const answer = await call('anthropic', 'claude-trimmed', asked);
    expect(answer.status).toBe(200);
    const [body] = (await sent()) as unknown as { messages: { role: string; content: Record<string, unknown>[] }[] }[];
    const blocks = body?.messages.flatMap(({ content }) => content) ?? [];
    const ids = (type: string, member: string) =>
      blocks.filter((block) => block['type'] === type).map((block) => block[member]);
    expect(body?.messages[0]).toEqual({ role: 'user', content: [{ type: 'text', text: 'repair it' }] });
    expect(ids('tool_use', 'id')).toEqual(ids('tool_result', 'tool_use_id'));
    expect(ids('tool_use', 'id').at(-1)).toBe('call_11');
    expect(ids('tool_use', 'id').length).toBeLessThan(10);
  });

  test("passes the client's headers on, where the dialect is the same", async () => {
    const headers = { authorization: `Bearer ${secret}`, 'anthropic-beta': 'a-beta' };
    await post(gate, '/v1/messages', ask('claude-trimmed', { messages }), headers);
    expect(new Map((await mock.requests())[0]?.headers).get('anthropic-beta')).toBe('a-beta');
  });

  test('keeps the same prefix: system prompt and tools as they were', async () => {
    const tools = [{ name: 'look', description: 'Looks.', input_schema: { type: 'object', properties: {} } }];
    const system = [{ type: 'text', text: 'be kind' }];
    await call('anthropic', 'claude-trimmed', { messages: [user('hi')], system, tools });
    await call('anthropic', 'claude-trimmed', { messages, system, tools });
    const [short, cut] = await sent();
    expect(cut).toMatchObject({ system: short?.['system'], tools: short?.['tools'] });
  });
});

describe('tokens', () => {
  const countBy = (model: string, rest: object = {}) =>
    anthropic.messages.countTokens({ model, messages: [user(words(100))], ...rest });

  test('are counted here as the check counts them, wherever they stand', async () => {
    expect(await countBy('gpt-1')).toEqual({ input_tokens: 104 });
    expect(await countBy('gpt-1', { system: words(50) })).toEqual({ input_tokens: 154 });
    const tools = [{ name: 'look', description: words(50), input_schema: { type: 'object' as const } }];
    expect((await countBy('sim', { tools })).input_tokens).toBeGreaterThan(158);
    const counted = await openai.responses.inputTokens.count({
      model: 'gpt-1',
      input: words(100),
      instructions: words(50),
    });
    expect(counted).toEqual({ object: 'response.input_tokens', input_tokens: 154 });
    expect(await mock.requests()).toEqual([]);
  });

  test('of a request that Anthropic itself can count are counted there', async () => {
    await mock.script({ model: 'claude-1', usage: { input: 4711 } });
    expect(await countBy('claude-1')).toEqual({ input_tokens: 4711 });
  });

  test('cost nothing, whatever the budgets, and are for those alone who may name the model', async () => {
    const budget = await gate.budget({ name: 'nothing', unit: 'USD', limit: 0n });
    const requests = await gate.budget({ name: 'no-request', unit: 'REQUESTS', limit: 0n });
    const path = '/v1/messages/count_tokens';
    const counted = await post(gate, path, ask('gpt-1'), { authorization: `Bearer ${secret}` });
    expect(counted.status).toBe(200);
    await gate.setLimit(budget, 10n ** 12n);
    await gate.setLimit(requests, 10n ** 6n);
    const narrow = await gate.agent('narrow', { models: ['claude-*'] });
    for (const door of [path, '/v1/responses/input_tokens']) {
      const body = JSON.stringify({ model: 'gpt-1', input: 'x', messages: [user('x')] });
      const refused = await post(gate, door, body, { authorization: `Bearer ${narrow.secret}` });
      expect(refused.status).toBe(403);
    }
  });

  test('of what is malformed are not counted, and the field is named', async () => {
    const orphan = [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x', content: 'y' }] }];
    const answer = await post(gate, '/v1/messages/count_tokens', ask('gpt-1', { messages: orphan }), {
      authorization: `Bearer ${secret}`,
    });
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toContain('answers no open tool call');
  });
});
