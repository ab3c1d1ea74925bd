import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type NewBudget, type TestGate, startGate } from './support/gate.ts';
import { type MockUpstream, startMockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, mockConfiguration, nanoPerToken, post } from './support/models.ts';

/** Where a route says so, a call whose answer is too long for its budgets is made with a shorter one, and told. */

let gate: TestGate;
let mock: MockUpstream;

const clamp = { max_tokens: 'clamp', attempts_max: 1 };

beforeAll(async () => {
  mock = await startMockUpstream();
  const yaml = JSON.parse(mockConfiguration(mock)) as { providers: { gpt: object }; models: object };
  const openai = { ...yaml.providers.gpt, kind: 'openai' };
  const targets = (...names: string[]) => ({ targets: names.map((provider) => ({ provider })) });
  gate = await startGate({
    yaml: JSON.stringify({
      providers: { ...yaml.providers, openai },
      models: {
        ...yaml.models,
        'claude-clamp-*': { ...targets('claude'), ...clamp },
        'gpt-clamp-*': { ...targets('gpt'), ...clamp },
        'openai-clamp-*': { ...targets('openai'), ...clamp },
        'openai-capped-*': {
          targets: [{ provider: 'openai', capabilities: { max_output: 5_000 } }],
          ...clamp,
        },
        'unknown-clamp-*': { ...targets('gpt'), ...clamp },
        'small-clamp-*': { targets: [{ provider: 'gpt', capabilities: { context: 2_000 } }], ...clamp },
        'both-clamp-*': {
          targets: [
            { provider: 'claude', weight: 1 },
            { provider: 'gpt', weight: 0 },
          ],
          max_tokens: 'clamp',
          attempts_max: 2,
        },
      },
    }),
  });
});

afterAll(() => Promise.all([gate.stop(), mock.stop()]));
beforeEach(() => mock.reset());

let callers = 0;

/** An agent with budgets of its own. */
async function caller(...budgets: Partial<NewBudget>[]): Promise<Record<string, string>> {
  const { agentId, secret } = await gate.agent(`clamped-${callers++}`);
  for (const [i, budget] of budgets.entries()) {
    const name = `${agentId}-${i}`;
    await gate.budget({ name, unit: 'TOKENS', limit: null, selector: { agentId }, ...budget });
  }
  return { authorization: `Bearer ${secret}` };
}

const paths = { anthropic: '/v1/messages', chat: '/v1/chat/completions', responses: '/v1/responses' } as const;
const providers = ['claude', 'gpt', 'openai'] as const;
const asked = 10_000;

function request(client: keyof typeof paths, model: string, rest: object = {}): string {
  if (client === 'responses') return JSON.stringify({ model, input: 'hello', max_output_tokens: asked, ...rest });
  return ask(model, { max_tokens: asked, ...rest });
}

/** The one body that the provider saw. */
async function sent(): Promise<Record<string, unknown>> {
  const requests = await mock.requests();
  expect(requests).toHaveLength(1);
  return JSON.parse(String(requests[0]?.body)) as Record<string, unknown>;
}

/** The limit that the header tells, checked against the budget that it names. */
function toldLimit({ headers }: RawAnswer, budget: string): number {
  const [, limit, name] = /^(\d+); budget=(.+)$/.exec(String(headers['portcullis-max-tokens'])) ?? [];
  expect(name).toBe(budget);
  return Number(limit);
}

const combinations = (['anthropic', 'chat', 'responses'] as const).flatMap((client) =>
  providers.flatMap((provider) => [false, true].map((stream) => ({ client, provider, stream }))),
);

test.each(combinations)(
  'a $client client of $provider (streamed: $stream) gets as long an answer as fits',
  async (each) => {
    const { client, provider, stream } = each;
    const name = `fits-${client}-${provider}-${stream}`;
    const headers = await caller({ name, unit: 'USD', limit: 2_000_000n });
    await mock.script({ tokens: asked });
    const answer = await post(gate, paths[client], request(client, `${provider}-clamp-1`, { stream }), headers);
    expect(answer.status).toBe(200);
    const limit = toldLimit(answer, `"${name}"`);
    const body = await sent();
    const limits = ['max_tokens', 'max_completion_tokens', 'max_output_tokens'].flatMap((field) => body[field] ?? []);
    expect(new Set(limits)).toEqual(new Set([limit]));
    // What is held beside the answer is at most the bytes of the body and what a provider adds to a prompt.
    expect(BigInt(limit) * nanoPerToken.output).toBeGreaterThan(1_000_000n);
    expect(BigInt(limit) * nanoPerToken.output).toBeLessThan(2_000_000n);
    const text = answer.body.toString();
    const ended = { anthropic: /"max_tokens"/, chat: /"finish_reason":"length"/, responses: /"max_output_tokens"/ };
    expect(text).toMatch(ended[client]);
    expect(text).toContain(`word${limit}`);
    expect(text).not.toContain(`word${limit + 1}`);
    expect(text.includes(`: portcullis max-tokens=${limit} budget="${name}"\n\n`)).toBe(stream);
    const row = await gate.ledgerRow(String(answer.headers['x-request-id']));
    expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_SUCCESS', outputTokens: String(limit), overrun: false });
  },
);

test.each([
  ['USD', 2_000_000n, 2_000n],
  ['TOKENS', 1_000n, 1n],
] as const)('the limit is the largest that fits in a budget of %s', async (unit, limit, perToken) => {
  const name = `largest-${unit}`;
  const headers = await caller({ name, unit, limit });
  await mock.script({ latencyMs: 1_500, tokens: 1 });
  const answer = post(gate, paths.anthropic, request('anthropic', 'claude-clamp-1'), headers);
  await mock.until((requests) => requests.length === 1);
  const { held, remaining } = await gate.standing(name);
  expect(held).toBeLessThanOrEqual(limit);
  // A body with another limit in it is taken to be somewhat longer than it turns out to be.
  expect(remaining).toBeLessThan((unit === 'USD' ? 100n * nanoPerToken.input : 100n) + perToken);
  expect((await answer).status).toBe(200);
});

describe('the output limit', () => {
  const bounds = async (body: string, limit = 2_000_000n) => {
    const headers = await caller({ name: `named-${callers}`, unit: 'USD', limit });
    const answer = await post(gate, paths.chat, body, headers);
    expect(answer.status).toBe(200);
    return { told: toldLimit(answer, `"named-${callers - 1}"`), body: await sent() };
  };
  const messages = [{ role: 'user', content: 'hello' }];

  test('is lowered by each name that is above it', async () => {
    const both = { model: 'gpt-clamp-1', max_tokens: 9_000, max_completion_tokens: 300, messages };
    const { told, body } = await bounds(JSON.stringify(both));
    expect(body).toEqual({ ...both, max_tokens: told });
  });

  test('is set by the other name too, where servers differ in which they obey', async () => {
    const one = { model: 'gpt-clamp-1', max_tokens: 9_000, messages };
    const { told, body } = await bounds(JSON.stringify(one));
    expect(body).toEqual({ ...one, max_tokens: told, max_completion_tokens: told });
  });

  test('is set where the request leaves it to the model', async () => {
    const chat = await bounds(JSON.stringify({ model: 'openai-capped-1', messages }));
    expect(chat.body).toEqual({ model: 'openai-capped-1', messages, max_completion_tokens: chat.told });
  });

  test('is set also where nobody knows how long an answer of the model can be, and never to more than it may take', async () => {
    const headers = await caller({ name: 'rich', unit: 'USD', limit: 10n ** 15n });
    for (const [client, model, limit] of [
      ['chat', 'unknown-clamp-1', 8_192],
      ['responses', 'unknown-clamp-1', 8_192],
      ['chat', 'small-clamp-1', 2_000],
    ] as const) {
      await mock.reset();
      const body = request(client, model, { max_tokens: undefined, max_output_tokens: undefined });
      const answer = await post(gate, paths[client], body, headers);
      expect(answer.status).toBe(200);
      const told = toldLimit(answer, '"rich"');
      expect(told).toBeLessThanOrEqual(limit);
      expect(told).toBeGreaterThan(limit / 2);
      expect(await sent()).toMatchObject({ max_tokens: told, max_completion_tokens: told });
    }
    await mock.reset();
    const poor = await bounds(JSON.stringify({ model: 'unknown-clamp-1', messages }));
    expect(poor.told).toBeLessThan(1_000);
  });

  test('is shared by all choices', async () => {
    const one = await bounds(JSON.stringify({ model: 'gpt-clamp-1', n: 1, max_tokens: 9_000, messages }), 8_000_000n);
    await mock.reset();
    const four = await bounds(JSON.stringify({ model: 'gpt-clamp-1', n: 4, max_tokens: 9_000, messages }), 8_000_000n);
    expect(four.told).toBe(Math.floor(one.told / 4));
  });

  test('leaves every other byte as it came', async () => {
    const body =
      '\n{"max_tokens" : 9e3,"model":"claude-clamp-1", "messages":[{"role":"user","content":"h\\u00e9"}] }\n';
    const headers = await caller({ name: 'bytes', unit: 'USD', limit: 2_000_000n });
    const answer = await post(gate, paths.anthropic, body, headers);
    const [seen] = await mock.requests();
    expect(seen?.body?.toString()).toBe(body.replace('9e3', String(toldLimit(answer, '"bytes"'))));
  });
});

describe('a call is refused, and nothing is sent,', () => {
  const thinking = { thinking: { type: 'enabled', budget_tokens: 2_000 } };
  const money = { unit: 'USD', limit: 2_000_000n } as const;
  const noRequest = { unit: 'REQUESTS', limit: 0n } as const;
  const refused: [string, model: string, Partial<NewBudget>[], rest: object][] = [
    ['where its route does not say otherwise', 'claude-1', [money], {}],
    ['where what fits is too short to be of use', 'claude-clamp-1', [{ ...money, limit: 700_000n }], {}],
    ['where what fits is not beyond its thoughts', 'claude-clamp-1', [{ unit: 'TOKENS', limit: 2_300n }], thinking],
    ['where no answer is short enough', 'claude-clamp-1', [noRequest], {}],
    ['where that is so by one of its budgets', 'claude-clamp-1', [money, noRequest], {}],
    ['where it may cost nothing', 'claude-clamp-1', [{ ...money, limit: 0n }], {}],
    ['where it asks for that little itself', 'claude-clamp-1', [{ ...money, limit: 600_000n }], { max_tokens: 250 }],
  ];

  test.each(refused)('%s', async (_where, model, budgets, rest) => {
    const headers = await caller(...budgets);
    const answer = await post(gate, paths.anthropic, request('anthropic', model, rest), headers);
    expect(answer.status).toBe(429);
    expect(answer.headers).not.toHaveProperty('portcullis-max-tokens');
    expect(answer.body.toString()).toMatch(/allows .* may take up to|is 0 and denies/);
    expect(await mock.requests()).toEqual([]);
  });

  test('but not where there is room beyond its thoughts', async () => {
    const headers = await caller({ name: 'thoughtful', unit: 'TOKENS', limit: 3_300n });
    const answer = await post(gate, paths.anthropic, request('anthropic', 'claude-clamp-1', thinking), headers);
    expect(answer.status).toBe(200);
    expect(toldLimit(answer, '"thoughtful"')).toBeGreaterThan(2_256);
  });
});

test.each([
  ['chat', 'max_completion_tokens'],
  ['responses', 'max_output_tokens'],
] as const)('a %s client whose route sets no limit hears of %s', async (client, param) => {
  const headers = await caller({ name: `unbounded-${client}`, unit: 'USD', limit: 2_000_000n });
  const body = request(client, 'gpt-1', { max_tokens: undefined, max_output_tokens: undefined });
  const answer = await post(gate, paths[client], body, headers);
  expect(answer.status).toBe(400);
  expect(answer.body.toString()).toContain(`nothing bounds what \\"${param}\\" can use: set it`);
});

describe('a refusal is of the shortest answer that is of use,', () => {
  const body = request('anthropic', 'claude-clamp-held');

  test('and asks to be tried again where calls in flight hold what it takes', async () => {
    const headers = await caller({ name: 'held', unit: 'TOKENS', limit: 2_000n });
    await mock.script({ latencyMs: 1_200, tokens: 1 });
    const slow = post(gate, paths.anthropic, request('anthropic', 'claude-clamp-held', { max_tokens: 1_300 }), headers);
    await mock.until((requests) => requests.length === 1);
    const refused = await post(gate, paths.anthropic, body, headers);
    expect(refused.status).toBe(429);
    expect(refused.body.toString()).toContain('It fits when those have ended: try again soon');
    expect(refused.headers).toMatchObject({ 'retry-after': '1' });
    expect(refused.headers).not.toHaveProperty('x-should-retry');
    expect((await slow).status).toBe(200);
    expect((await post(gate, paths.anthropic, body, headers)).status).toBe(200);
  });

  test('and says when the window begins anew in which it fits', async () => {
    const headers = await caller(
      { name: 'monthly', unit: 'TOKENS', limit: 2_000n, window: 'MONTH' },
      { name: 'roomy', unit: 'TOKENS', limit: 3_000n },
    );
    await mock.script({ tokens: 1_500 });
    expect((await post(gate, paths.anthropic, body, headers)).status).toBe(200);
    const refused = await post(gate, paths.anthropic, body, headers);
    expect(refused.status).toBe(429);
    expect(refused.body.toString()).toMatch(/Budget \\"monthly\\" allows 2000 tokens a month: .* It resets at /);
    expect(refused.headers).toHaveProperty('retry-after');
  });

  test('and by the budget that no shorter answer helps with', async () => {
    const headers = await caller(
      { name: 'fits', unit: 'TOKENS', limit: 2_000n },
      { name: 'once', unit: 'REQUESTS', limit: 1n, window: 'MONTH' },
    );
    expect((await post(gate, paths.anthropic, body, headers)).status).toBe(200);
    const refused = await post(gate, paths.anthropic, body, headers);
    expect(refused.body.toString()).toMatch(/Budget \\"once\\" allows 1 request a month: .* It resets at /);
  });
});

test('of several budgets the tightest decides, and is named', async () => {
  const headers = await caller(
    { name: 'wide', unit: 'USD', limit: 3_000_000n },
    { name: 'naïve "tight"', unit: 'TOKENS', limit: 900n },
    { name: 'dry', unit: 'TOKENS', limit: 700n, mode: 'DRY_RUN' },
  );
  const answer = await post(gate, paths.anthropic, request('anthropic', 'claude-clamp-1'), headers);
  expect(answer.status).toBe(200);
  const limit = toldLimit(answer, '%"na%c3%afve %22tight%22"');
  expect((await sent())['max_tokens']).toBe(limit);
  expect(limit).toBeLessThan(900);
  expect(await gate.ledgerRow(String(answer.headers['x-request-id']))).toMatchObject({
    shadowVerdicts: [{ limit: '700' }],
  });
});

test('calls at once share what is left: none passes the limit, and none is an overrun', async () => {
  const limit = 20_000n;
  const headers = await caller({ name: 'crowded', unit: 'TOKENS', limit });
  await mock.script({ tokens: asked, latencyMs: 300 });
  const body = request('anthropic', 'claude-clamp-1', { max_tokens: 15_000 });
  const answers = await Promise.all(Array.from({ length: 12 }, () => post(gate, paths.anthropic, body, headers)));
  const statuses = answers.map(({ status }) => status);
  expect(statuses).toContain(200);
  expect(new Set(statuses).difference(new Set([200, 429]))).toEqual(new Set());
  const { posted, held } = await gate.standing('crowded');
  expect(held).toBe(0n);
  expect(posted).toBeLessThanOrEqual(limit);
  const rows = (await gate.ledger()).filter(
    ({ modelAsked, outcome }) => modelAsked === 'claude-clamp-1' && outcome === 'ATTEMPT_OUTCOME_SUCCESS',
  );
  expect(rows.every(({ overrun }) => overrun === false)).toBe(true);
});

test('another target is asked with a limit of its own', async () => {
  const headers = await caller({ name: 'moving', unit: 'USD', limit: 2_000_000n });
  await mock.script({ error: 503, times: 1 });
  const answer = await post(gate, paths.anthropic, request('anthropic', 'both-clamp-1'), headers);
  expect(answer.status).toBe(200);
  const [first, second] = (await mock.requests()).map(({ body }) => JSON.parse(String(body)) as Record<string, number>);
  expect(first?.['max_tokens']).toBeGreaterThan(256);
  expect(second?.['max_tokens']).toBe(toldLimit(answer, '"moving"'));
});

test('an answer with a lowered limit is kept for nobody', async () => {
  const name = 'kept';
  const headers = { ...(await caller()), 'portcullis-cache': 'ttl=60' };
  const { agentId, secret } = await gate.agent('poor');
  await gate.budget({ name, unit: 'TOKENS', limit: 1_000n, selector: { agentId } });
  const poor = { authorization: `Bearer ${secret}`, 'portcullis-cache': 'ttl=60' };
  const body = request('anthropic', 'claude-clamp-kept');
  const clamped = await post(gate, paths.anthropic, body, poor);
  expect(toldLimit(clamped, `"${name}"`)).toBeLessThan(1_000);
  expect(clamped.headers['portcullis-cache']).toBe('miss');
  const whole = await post(gate, paths.anthropic, body, headers);
  expect(whole.headers['portcullis-cache']).toBe('stored');
  expect(whole.headers).not.toHaveProperty('portcullis-max-tokens');
  // And what somebody else paid for is given to whoever asks for just that.
  expect((await post(gate, paths.anthropic, body, poor)).headers['portcullis-cache']).toMatch(/^hit/);
});
