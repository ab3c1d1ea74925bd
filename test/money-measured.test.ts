import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, nanoPerToken, post, startGateWithMock } from './support/models.ts';

/** What the ledger says is what the provider charged, and budgets count just that. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
});

afterAll(() => stop());
beforeEach(() => mock.reset());

let callers = 0;

/** An agent of its own, so that its budgets count no other test's calls. */
async function caller(): Promise<{ agentId: string; headers: (requestId: string) => Record<string, string> }> {
  const { agentId, secret } = await gate.agent(`caller-${callers++}`);
  return {
    agentId,
    headers: (requestId) => ({ authorization: `Bearer ${secret}`, 'x-request-id': requestId }),
  };
}

const combinations = (['anthropic', 'chat'] as const).flatMap((client) =>
  (['claude', 'gpt'] as const).flatMap((provider) => [false, true].map((stream) => ({ client, provider, stream }))),
);

describe.each(combinations)('a call by $client to $provider (streamed: $stream)', ({ client, provider, stream }) => {
  const name = `${client}-${provider}-${stream}`;

  test('is settled at what the provider charged, class by class', async () => {
    const { agentId, headers } = await caller();
    await gate.budget({ name, unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
    await gate.budget({ name: `${name}-tokens`, unit: 'TOKENS', limit: 10n ** 9n, selector: { agentId } });
    const model = `${provider}-${name}`;
    const writes = provider === 'claude' ? { cacheWrite5m: 3, cacheWrite1h: 2 } : {};
    await mock.script({ model, tokens: 7, usage: { input: 11, cacheRead: 5, ...writes } });
    const answer = await post(gate, doors[client].path, ask(model, { stream }), headers(name));
    expect(answer.status).toBe(200);
    const [seen] = await mock.until((requests) => requests.every(({ outcome }) => outcome === 'finished'));
    const billed = seen?.billed;
    if (!seen || !billed) throw new Error('the provider charged nothing');
    const input = billed.input + billed.cacheRead + billed.cacheWrite5m + billed.cacheWrite1h;
    const cost = BigInt(input) * nanoPerToken.input + BigInt(billed.output) * nanoPerToken.output;
    const row = await gate.ledgerRow(name);
    expect(row).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_SUCCESS',
      provenance: 'PROVENANCE_MEASURED',
      dialectIn: client,
      dialectOut: provider === 'claude' ? 'anthropic' : 'chat',
      provider,
      modelServed: model,
      inputTokens: String(billed.input),
      outputTokens: String(billed.output),
      cacheReadTokens: String(billed.cacheRead),
      cacheWrite5mTokens: String(billed.cacheWrite5m),
      cacheWrite1hTokens: String(billed.cacheWrite1h),
      costNanousd: String(cost),
      overrun: false,
    });
    // The attempt's id is the request id that the provider saw.
    expect(new Map(seen.headers).get('x-request-id')).toBe(row.id);
    expect(await gate.standing(name)).toMatchObject({ posted: cost, held: 0n });
    expect(await gate.standing(`${name}-tokens`)).toMatchObject({ posted: BigInt(input + billed.output), held: 0n });
  });
});

const maxTokens = 10_000;
const leavers = [
  { client: 'anthropic', provider: 'claude', rest: {}, charged: 'by its bytes' },
  { client: 'anthropic', provider: 'claude', rest: { thinking: { type: 'adaptive' } }, charged: 'the worst case' },
  { client: 'chat', provider: 'gpt', rest: { reasoning_effort: 'none' }, charged: 'by its bytes' },
  // A model may think unseen, unless it is told not to. What counts is what it was told, in its own dialect.
  { client: 'chat', provider: 'gpt', rest: {}, charged: 'the worst case' },
  { client: 'chat', provider: 'claude', rest: {}, charged: 'by its bytes' },
  { client: 'anthropic', provider: 'gpt', rest: {}, charged: 'the worst case' },
  { client: 'anthropic', provider: 'gpt', rest: { thinking: { type: 'disabled' } }, charged: 'by its bytes' },
] as const;

test.each(leavers)(
  'a $client client that leaves a stream of $provider ends it there, and is charged $charged ($rest)',
  async ({ client, provider, rest, charged }) => {
    const { agentId, headers } = await caller();
    const name = `leaves-${client}-${provider}-${Object.keys(rest).join()}`;
    await gate.budget({ name, unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
    const model = `${provider}-${name}`;
    await mock.script({ model, tokens: maxTokens, tokensPerSecond: 100 });
    const leaving = new AbortController();
    const response = await fetch(gate.url + doors[client].path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers(name) },
      body: ask(model, { stream: true, max_tokens: maxTokens, ...rest }),
      signal: leaving.signal,
    });
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      if (text.includes('word9')) break;
    }
    leaving.abort();
    const [seen] = await mock.until(([request]) => request?.outcome === 'client_aborted');
    const row = await gate.ledgerRow(name);
    expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_CLIENT_CLOSED', provenance: 'PROVENANCE_ESTIMATED' });
    const output = Number(row.outputTokens);
    expect(output).toBeGreaterThanOrEqual(seen?.billed?.output ?? Infinity);
    const [least, most] = charged === 'the worst case' ? [maxTokens, maxTokens] : [1, 2_000];
    expect(output).toBeGreaterThanOrEqual(least);
    expect(output).toBeLessThanOrEqual(most);
    expect(await gate.standing(name)).toMatchObject({ posted: BigInt(row.costNanousd ?? '0'), held: 0n });
  },
);

test('a client that leaves before the answer began is charged the worst case', async () => {
  const { agentId, headers } = await caller();
  await gate.budget({ name: 'early', unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
  await mock.script({ model: 'claude-early', never: true });
  const leaving = new AbortController();
  const answer = fetch(gate.url + doors.anthropic.path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers('early') },
    body: ask('claude-early'),
    signal: leaving.signal,
  }).catch((error: unknown) => error);
  await mock.until((requests) => requests.length === 1);
  const { held } = await gate.standing('early');
  expect(held).toBeGreaterThan(0n);
  leaving.abort();
  await answer;
  expect(await gate.ledgerRow('early')).toMatchObject({
    outcome: 'ATTEMPT_OUTCOME_CLIENT_CLOSED',
    provenance: 'PROVENANCE_ESTIMATED',
    costNanousd: String(held),
  });
});

describe('an overrun', () => {
  const overrunning = async (name: string, rest: object) => {
    const { agentId, headers } = await caller();
    await gate.budget({ name, unit: 'USD', limit: 1_000_000n, selector: { agentId } });
    await mock.script({ model: `claude-${name}`, tokens: 20, usage: { input: 1_000_000 } });
    const answer = await post(gate, doors.anthropic.path, ask(`claude-${name}`, rest), headers(name));
    return { answer, row: await gate.ledgerRow(name), headers };
  };

  test('is recorded, and blocks the next call', async () => {
    const { answer, row, headers } = await overrunning('over-plain', {});
    expect(answer.status).toBe(200);
    expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_SUCCESS', overrun: true, inputTokens: '1000000' });
    const next = await post(gate, doors.anthropic.path, ask('claude-1'), headers('over-next'));
    expect(next.status).toBe(429);
    expect(await mock.requests()).toHaveLength(1);
  });

  test('of a stream ends it with a budget error', async () => {
    const { answer, row } = await overrunning('over-stream', { stream: true });
    const text = answer.body.toString();
    expect(text).toMatch(/event: error\ndata: .*"error_code":"budget_exceeded".*\n\n$/);
    expect(text).not.toContain('word2');
    expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_BUDGET', errorClass: 'budget_exceeded', overrun: true });
  });
});

describe('a model whose price nobody knows', () => {
  let unpriced: TestGate;

  beforeAll(async () => {
    const claude = { kind: 'anthropic', base_url: mock.url, api_key: 'provider-key-1', allow_private: true };
    const yaml = JSON.stringify({
      providers: { claude },
      models: {
        'claude-*': { targets: [{ provider: 'claude' }] },
        'free-1': { targets: [{ provider: 'claude', price: 'free' }] },
      },
    });
    const started = await startGateWithMock({ yaml });
    await started.mock.stop();
    unpriced = started.gate;
  });

  afterAll(() => unpriced.stop());

  const ofAgent = async (name: string) => {
    const { agentId, secret } = await unpriced.agent(name);
    const send = (model: string) =>
      post(unpriced, doors.anthropic.path, ask(model), { authorization: `Bearer ${secret}` });
    return { agentId, send };
  };

  test('is refused where a budget counts money', async () => {
    const { agentId, send } = await ofAgent('moneyed');
    await unpriced.budget({ name: 'money', unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
    const answer = await send('claude-novel');
    expect(answer.status).toBe(403);
    expect(answer.body.toString()).toContain('"rule":"unknown_price"');
    expect(answer.body.toString()).toContain('declare a price');
    expect(await mock.requests()).toEqual([]);
    expect((await send('free-1')).status).toBe(200);
    // The price book knows this one.
    expect((await send('claude-haiku-4-5')).status).toBe(200);
  });

  test('is called where no budget counts money, or only in dry run', async () => {
    const { agentId, send } = await ofAgent('counting');
    await unpriced.budget({ name: 'tokens', unit: 'TOKENS', limit: 10n ** 9n, selector: { agentId } });
    await unpriced.budget({ name: 'dry', unit: 'USD', limit: 1n, selector: { agentId }, mode: 'DRY_RUN' });
    expect((await send('claude-novel')).status).toBe(200);
  });
});

test('a dry-run budget records what it would have refused, and refuses nothing', async () => {
  const { agentId, headers } = await caller();
  const dry = await gate.budget({ name: 'dry', unit: 'USD', limit: 0n, selector: { agentId }, mode: 'DRY_RUN' });
  await gate.budget({ name: 'wet', unit: 'USD', limit: 10n ** 12n, selector: { agentId } });
  const answer = await post(gate, doors.chat.path, ask('gpt-1'), headers('dry-1'));
  expect(answer.status).toBe(200);
  const row = await gate.ledgerRow('dry-1');
  expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_SUCCESS', shadowVerdicts: [{ budgetId: dry, limit: '0.00' }] });
  const posted = BigInt(row.costNanousd ?? '0');
  expect(await gate.standing('dry')).toMatchObject({ posted, held: 0n });
  expect(await gate.standing('wet')).toMatchObject({ posted, held: 0n });
});
