import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';

/** Where a price comes from, and that a call is held and settled at it. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let secret: string;

const fileName = 'model_prices.json';
const tokens = { input_cost_per_token: 1e-6, output_cost_per_token: 4e-6, litellm_provider: 'openai', mode: 'chat' };
const prices = {
  'gpt-listed': {
    ...tokens,
    input_cost_per_token_priority: 2e-6,
    output_cost_per_token_priority: 8e-6,
    cache_read_input_token_cost: 1e-7,
  },
  'gpt-cached': {
    ...tokens,
    cache_creation_input_token_cost: 1.25e-6,
    cache_creation_input_token_cost_above_12hr: 2.5e-6,
  },
  'gpt-broken': { ...tokens, output_cost_per_image: 1 },
};

/** Providers beside the mock's own two: of the vendors' kinds, whose prices are looked up. */
function configuration(): string {
  const base = JSON.parse(mockConfiguration(mock)) as { providers: object; models: object };
  const vendor = { api_key: 'x', allow_private: true };
  return JSON.stringify({
    providers: {
      ...base.providers,
      openai: { kind: 'openai', base_url: `${mock.url}/v1`, ...vendor },
      anthropic: { kind: 'anthropic', base_url: mock.url, ...vendor },
      prioritized: {
        kind: 'openai',
        base_url: `${mock.url}/v1`,
        account_terms: { service_tier: 'priority' },
        ...vendor,
      },
      own: { kind: 'openai-compatible', base_url: `${mock.url}/v1`, allow_private: true },
    },
    models: {
      ...base.models,
      'gpt-listed': { targets: [{ provider: 'openai' }] },
      'gpt-cached': { targets: [{ provider: 'openai' }] },
      'gpt-broken': { targets: [{ provider: 'openai' }] },
      'gpt-4o': { targets: [{ provider: 'openai' }] },
      'claude-opus-4-8': { targets: [{ provider: 'anthropic' }] },
      'claude-haiku-4-5': { targets: [{ provider: 'anthropic' }] },
      unknown: { targets: [{ provider: 'own' }] },
      assumed: { targets: [{ provider: 'own', unknown_price: { assume: { input: 3, output: 5 } } }] },
      held: { targets: [{ provider: 'prioritized', model: 'gpt-listed' }] },
      tuned: { targets: [{ provider: 'own', model: 'ft-1', base_model: 'gpt-listed' }] },
      dated: {
        targets: [
          {
            provider: 'own',
            price: [
              { from: '2020-01-01', input: 1, output: 1 },
              { from: '2020-01-02', input: 2, output: 2 },
              { from: '2999-01-01', input: 3, output: 3 },
            ],
          },
        ],
      },
    },
    prices: { file: fileName },
  });
}

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  ({ secret } = await gate.agent('caller'));
  await gate.budget({ name: 'money', unit: 'USD', limit: 10n ** 12n });
  writeFileSync(join(gate.folder, fileName), JSON.stringify(prices));
  writeFileSync(gate.configFile, configuration());
  await vi.waitFor(
    async () => {
      if (!gate.log.includes('the configuration file was read again')) throw new Error('the file was not read');
    },
    { timeout: 10_000 },
  );
});

afterAll(() => stop());
beforeEach(() => mock.reset());

let calls = 0;

function call(model: string, rest: object = {}, requestId = `prices-${calls++}`, door: 'chat' | 'anthropic' = 'chat') {
  const headers = { authorization: `Bearer ${secret}`, 'x-request-id': requestId };
  return post(gate, doors[door].path, ask(model, rest), headers);
}

/** The cost and the price's version of a call that the provider answers with this usage. */
async function billed(model: string, { rest = {}, reply }: { rest?: object; reply?: object } = {}) {
  const door = model.startsWith('claude') ? 'anthropic' : 'chat';
  const id = `billed-${calls++}`;
  if (reply) {
    const chunks = [JSON.stringify(reply)];
    await mock.script({ reply: { chunks, headers: { 'content-type': 'application/json' } } });
  } else await mock.script({ usage: { input: 1_000, output: 100 } });
  const answer = await call(model, rest, id, door);
  expect(answer.status, answer.body.toString()).toBe(200);
  const row = (await gate.ledgerRow(id)) as Awaited<ReturnType<TestGate['ledgerRow']>> & { priceVersion?: string };
  return { cost: BigInt(row.costNanousd ?? '0'), version: row.priceVersion ?? '', provenance: row.provenance };
}

const chatReply = (rest: object) => ({
  id: 'x',
  object: 'chat.completion',
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1_000, completion_tokens: 10, total_tokens: 1_010 },
  ...rest,
});

const messageReply = (usage: object) => ({
  id: 'x',
  type: 'message',
  role: 'assistant',
  model: 'm',
  content: [{ type: 'text', text: 'x' }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: { input_tokens: 1_000, output_tokens: 10, ...usage },
});

describe('a price', () => {
  test('comes from the file, whose digest and day the ledger names', async () => {
    expect(await billed('gpt-listed')).toEqual({
      cost: 1_000n * 1_000n + 100n * 4_000n,
      version: expect.stringMatching(/^file model_prices\.json sha256:[0-9a-f]{12} of \d{4}-\d{2}-\d{2}$/),
      provenance: 'PROVENANCE_MEASURED',
    });
  });

  test('comes from the library, where the file does not have the model', async () => {
    expect(await billed('gpt-4o')).toMatchObject({
      cost: 1_000n * 2_500n + 100n * 10_000n,
      version: expect.stringMatching(/^genai-prices /),
    });
  });

  test('is that of the model which the target names as its base', async () => {
    expect(await billed('tuned')).toMatchObject({ cost: 1_400_000n, version: expect.stringMatching(/^file /) });
  });

  test('is the declared one of the time of the call', async () => {
    expect(await billed('dated')).toMatchObject({
      cost: 2_200_000n,
      version: expect.stringMatching(/^declared from 2020-01-02: \$2\.00 /),
    });
  });

  test('is the assumed one where nobody knows it, and says so', async () => {
    expect(await billed('assumed')).toMatchObject({
      cost: 1_000n * 3_000n + 100n * 5_000n,
      version: expect.stringMatching(/^assumed \$3\.00 \$5\.00 /),
    });
  });

  test.each(['unknown', 'gpt-broken'])(
    'of %s is unknown: the call is refused, and what is missing is named',
    async (model) => {
      const answer = await call(model);
      expect(answer.status).toBe(403);
      expect(answer.body.toString()).toMatch(/The price of \\?"[\w-]+\\?" at provider \w+ is unknown and budget/);
    },
  );

  test('changes with the file when the configuration is read again, and a file that does not hold changes nothing', async () => {
    const path = join(gate.folder, fileName);
    writeFileSync(path, JSON.stringify({ 'gpt-listed': { ...tokens, input_cost_per_token: 'much' } }));
    process.kill(gate.pid, 'SIGHUP');
    await expect.poll(() => gate.log, { timeout: 10_000 }).toContain('entry \\"gpt-listed\\": input_cost_per_token');
    expect((await billed('gpt-listed')).cost).toBe(1_400_000n);
    const dearer = { ...tokens, input_cost_per_token: 9e-6 };
    writeFileSync(path, JSON.stringify({ ...prices, 'gpt-listed': dearer }));
    process.kill(gate.pid, 'SIGHUP');
    await expect.poll(async () => (await billed('gpt-listed')).cost, { timeout: 10_000 }).toBe(9_400_000n);
    writeFileSync(path, JSON.stringify(prices));
    process.kill(gate.pid, 'SIGHUP');
    await expect.poll(async () => (await billed('gpt-listed')).cost, { timeout: 10_000 }).toBe(1_400_000n);
  });
});

describe('what was written to a cache', () => {
  const reply = chatReply({
    usage: {
      prompt_tokens: 1_000,
      completion_tokens: 10,
      total_tokens: 1_010,
      prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 400 },
    },
  });
  const rest = 600n * 1_000n + 10n * 4_000n;

  test('costs what it does for the usual time', async () => {
    const usual = { cost: rest + 400n * 1_250n, provenance: 'PROVENANCE_MEASURED' };
    expect(await billed('gpt-cached', { reply })).toMatchObject(usual);
    const asked = { prompt_cache_options: { ttl: '30m' } };
    expect(await billed('gpt-cached', { rest: asked, reply })).toMatchObject(usual);
  });

  test('is estimated as written for long where that was asked for and the answer does not say', async () => {
    expect(await billed('gpt-cached', { rest: { prompt_cache_options: { ttl: '12h' } }, reply })).toMatchObject({
      cost: rest + 400n * 2_500n,
      provenance: 'PROVENANCE_ESTIMATED',
    });
  });
});

describe('the terms of service', () => {
  const list = 1_000n * 1_000n + 10n * 4_000n;
  const rest = { service_tier: 'priority' };

  test('are settled as the answer says', async () => {
    expect((await billed('gpt-listed', { rest, reply: chatReply({ service_tier: 'priority' }) })).cost).toBe(2n * list);
    expect((await billed('gpt-listed', { rest, reply: chatReply({ service_tier: 'default' }) })).cost).toBe(list);
    // An account may be set to priority, though nobody asked for it.
    expect((await billed('gpt-listed', { reply: chatReply({ service_tier: 'priority' }) })).cost).toBe(2n * list);
  });

  test('are settled as they were asked for, where the answer does not say', async () => {
    expect((await billed('gpt-listed', { rest, reply: chatReply({}) })).cost).toBe(2n * list);
  });

  test('that nobody has a price for are settled at the dearest that is known, as an estimate', async () => {
    const reply = chatReply({ service_tier: 'of_tomorrow' });
    expect(await billed('gpt-listed', { reply })).toMatchObject({
      cost: 2n * list,
      provenance: 'PROVENANCE_ESTIMATED',
    });
  });

  test('of Anthropic are its speed and place; searches are settled at what they were', async () => {
    const claude = 1_000n * 5_000n + 10n * 25_000n;
    const fast = { rest: { speed: 'fast' }, reply: messageReply({ speed: 'fast', inference_geo: 'us' }) };
    expect((await billed('claude-opus-4-8', fast)).cost).toBe((claude * 22n) / 10n);
    const tools = [{ type: 'web_search_20250305', name: 'web_search', max_uses: 5 }];
    const searched = { rest: { tools }, reply: messageReply({ server_tool_use: { web_search_requests: 2 } }) };
    expect(await billed('claude-opus-4-8', searched)).toMatchObject({
      cost: claude + 20_000_000n,
      provenance: 'PROVENANCE_MEASURED',
    });
  });

  test('that the answer leaves out are settled as they were asked for, each by itself', async () => {
    const claude = 1_000n * 5_000n + 10n * 25_000n;
    const rest = { speed: 'fast', inference_geo: 'us' };
    const billedAs = async (told: object) =>
      (await billed('claude-opus-4-8', { rest, reply: messageReply(told) })).cost;
    expect(await billedAs({ speed: 'fast' })).toBe((claude * 22n) / 10n);
    expect(await billedAs({ speed: 'standard' })).toBe((claude * 11n) / 10n);
    expect(await billedAs({ inference_geo: 'global' })).toBe(claude * 2n);
  });

  test.each([
    ['gpt-4o', { service_tier: 'ultrafast' }, 'service_tier'],
    ['claude-haiku-4-5', { speed: 'fast' }, 'speed'],
  ])('of %s that have no price are refused by name: %j', async (model, asked, field) => {
    const answer = await call(model, asked, undefined, model.startsWith('claude') ? 'anthropic' : 'chat');
    expect(answer.status).toBe(400);
    expect(answer.body.toString()).toContain(`nothing bounds what \\"${field}\\" can use`);
  });

  test('of the account are held where the call does not say', async () => {
    // At the list price such a call is held at about $0.0045, and by priority at twice that.
    await gate.budget({
      name: 'small',
      unit: 'USD',
      limit: 6_000_000n,
      window: 'ATTEMPT',
      selector: { model: 'held' },
    });
    const status = async (rest: object) => (await call('held', { max_tokens: 1_000, ...rest })).status;
    expect(await status({})).toBe(429);
    expect(await status({ service_tier: 'default' })).toBe(200);
  });
});
