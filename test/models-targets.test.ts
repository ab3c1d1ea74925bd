import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { follow } from './support/failover.ts';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** What the configuration says of a target decides what is asked of it, and what the client hears while it waits. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

function extend(yaml: string, url: string): string {
  const file = JSON.parse(yaml) as { providers: object; models: object };
  const server = { kind: 'openai-compatible', base_url: `${url}/v1`, allow_private: true, price: 'free' };
  const target = (provider: string, capabilities: object) => ({ targets: [{ provider, capabilities }] });
  return JSON.stringify({
    providers: {
      ...file.providers,
      new: { ...server, dialects: ['responses', 'chat'] },
      newer: { ...server, dialects: ['responses'] },
    },
    models: {
      ...file.models,
      'blind-*': target('gpt', { images: false }),
      'toolless-*': target('gpt', { tools: false }),
      'brief-*': target('gpt', { max_output: 40 }),
      'small-*': target('claude', { context: 60, max_output: 40 }),
      'new-*': { targets: [{ provider: 'new' }] },
      'newer-*': { targets: [{ provider: 'newer' }] },
      pair: {
        targets: [
          { provider: 'gpt', model: 'first' },
          { provider: 'gpt', model: 'second', weight: 0 },
        ],
      },
    },
  });
}

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ extend, env: { STREAM_PING_MS: '200' } }));
  ({ secret } = await gate.agent('caller'));
});
afterAll(() => stop());
beforeEach(() => mock.reset());

const bearer = () => ({ authorization: `Bearer ${secret}` });

describe('a translated call', () => {
  const image = {
    type: 'image',
    source: { type: 'base64', media_type: 'image/png', data: Buffer.from('png').toString('base64') },
  };

  test('with an image is refused for a model that takes none, by name', async () => {
    const messages = [{ role: 'user', content: [image, { type: 'text', text: 'what is it?' }] }];
    const refused = await post(gate, doors.anthropic.path, ask('blind-1', { messages }), bearer());
    expect([refused.status, refused.body.toString()]).toEqual([400, expect.stringContaining('image')]);
    expect(await mock.requests()).toEqual([]);
    expect((await post(gate, doors.anthropic.path, ask('gpt-1', { messages }), bearer())).status).toBe(200);
  });

  test('with tools is refused for a model that calls none', async () => {
    const tools = [{ name: 'look', input_schema: { type: 'object' } }];
    const refused = await post(gate, doors.anthropic.path, ask('toolless-1', { tools }), bearer());
    expect([refused.status, refused.body.toString()]).toEqual([400, expect.stringContaining('tools')]);
  });
});

test('declared limits bound what a call is held at', async () => {
  const { agentId, secret: careful } = await gate.agent('careful');
  await gate.budget({ name: 'careful', unit: 'TOKENS', limit: 110n, selector: { agentId } });
  const text = (model: string) =>
    JSON.stringify({ model, max_tokens: 40, messages: [{ role: 'user', content: 'a'.repeat(500) }] });
  const call = (model: string) => post(gate, doors.anthropic.path, text(model), { 'x-api-key': careful });
  expect((await call('claude-large')).status).toBe(429);
  // 60 of prompt and 40 of answer are the most that this one is said to have.
  await mock.script({ model: 'small-1', usage: { input: 10, output: 10 } });
  expect((await call('small-1')).status).toBe(200);

  const unlimited = JSON.stringify({ model: 'brief-1', messages: [{ role: 'user', content: 'hi' }] });
  const { agentId: brief, secret: terse } = await gate.agent('terse');
  await gate.budget({ name: 'terse', unit: 'TOKENS', limit: 2_000n, selector: { agentId: brief } });
  expect((await post(gate, doors.chat.path, unlimited, { 'x-api-key': terse })).status).toBe(200);
  const unknown = unlimited.replace('brief-1', 'gpt-1');
  expect((await post(gate, doors.chat.path, unknown, { 'x-api-key': terse })).status).toBe(400);
});

describe('a provider with declared dialects', () => {
  const pathOf = async (client: 'anthropic' | 'chat', model: string) => {
    expect((await post(gate, doors[client].path, ask(model), bearer())).status).toBe(200);
    return (await mock.requests()).at(-1)?.path;
  };

  test('is called in the dialect of the client where it is one of them, else in the first', async () => {
    expect(await pathOf('chat', 'new-1')).toBe('/v1/chat/completions');
    expect(await pathOf('anthropic', 'new-1')).toBe('/v1/responses');
    expect(await pathOf('chat', 'newer-1')).toBe('/v1/responses');
    expect(await pathOf('anthropic', 'gpt-1')).toBe('/v1/chat/completions');
  });
});

describe('a client that waits for its stream', () => {
  const follows = (client: 'anthropic' | 'chat') =>
    follow({ gate, mock }, secret, client, 'pair', { stream: true, max_tokens: 50 });

  test.each(['anthropic', 'chat'] as const)(
    '(%s) gets signs of life over two attempts, and one answer',
    async (client) => {
      await mock.script({ model: 'first', latencyMs: 700, error: 503, times: 1 });
      const { answer, text, rows } = await follows(client);
      expect([answer.status, rows.length]).toEqual([200, 2]);
      expect(text).toMatch(client === 'chat' ? /^: / : /^event: ping\n/);
      expect(text).not.toContain('"error"');
      expect(text.match(/word1\b/g)).toHaveLength(1);
      expect(text).toMatch(client === 'chat' ? /\[DONE\]\n\n$/ : /message_stop.*\n\n$/);
    },
  );

  test.each(['anthropic', 'chat'] as const)('(%s) gets one error event when all attempts fail', async (client) => {
    await mock.script({ latencyMs: 300, error: 503 });
    const { answer, text, rows } = await follows(client);
    expect([answer.status, rows.length]).toEqual([200, 3]);
    expect(text.match(/"error":/g)).toHaveLength(1);
    expect(text).toMatch(/The mock was told to answer 503.*\n\n$/);
  });
});
