import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { type RawAnswer, ask, doors, mockConfiguration, post, startGateWithMock } from './support/models.ts';

/** Any number of calls at once, through any number of gates: a budget admits what fits, to the last one. */

let gate: TestGate;
let replica: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  replica = await startGate({ yaml: mockConfiguration(mock), database: gate.database });
});

afterAll(async () => {
  await replica.stop();
  await stop();
});
afterEach(() => mock.reset());

interface Explained {
  readonly error: {
    readonly type: string;
    readonly message: string;
    readonly code?: string;
    readonly details: Readonly<Record<string, string>>;
  };
}

const explained = ({ body }: RawAnswer) => (JSON.parse(body.toString()) as Explained).error;

/** So many calls at once, in turn through each of `gates`, in both dialects and both ways of answering. */
function burst(gates: readonly TestGate[], calls: number, secret: string): Promise<RawAnswer[]> {
  return Promise.all(
    Array.from({ length: calls }, (_, i) => {
      const through = gates[i % gates.length] ?? gate;
      const { path, model } = (i >> 1) % 2 === 0 ? doors.anthropic : doors.chat;
      return post(through, path, ask(model, { stream: (i >> 2) % 2 === 0 }), { authorization: `Bearer ${secret}` });
    }),
  );
}

function countByStatus(answers: readonly RawAnswer[]): Record<number, number> {
  return Object.fromEntries(
    Object.entries(Object.groupBy(answers, ({ status }) => status)).map(([status, all]) => [status, all?.length]),
  ) as Record<number, number>;
}

test('500 calls at once on a budget that admits 100: 100 reach the provider, and the others are told why', async () => {
  const { agentId, secret } = await gate.agent('one');
  await gate.budget({ name: 'hundred', unit: 'REQUESTS', limit: 100n, selector: { agentId } });
  const answers = await burst([gate], 500, secret);
  expect(countByStatus(answers)).toEqual({ 200: 100, 429: 400 });
  expect(await mock.requests()).toHaveLength(100);
  expect(await gate.standing('hundred')).toEqual({ posted: 100n, held: 0n, remaining: 0n });
  for (const refused of answers.filter(({ status }) => status === 429)) {
    expect(refused.headers['x-should-retry']).toBe('false');
    const { message, details } = explained(refused);
    expect(message).toMatch(/^Budget "hundred" allows 100 requests in all: \d+ .* An operator can raise it\.$/);
    expect(details).toMatchObject({ rule: 'hundred', unit: 'requests', limit: '100', observed: '100', remaining: '0' });
  }
});

test('two gates on one database share a budget of money to the last call', async () => {
  const { agentId, secret } = await gate.agent('two');
  // Each call costs what was held for it, so that what is given back by one cannot admit another.
  const { worst, input } = await worstCaseOf(agentId, secret);
  await mock.script({ model: doors.anthropic.model, tokens: 50, usage: { input, output: 50 } });
  const shared = await gate.budget({ name: 'shared', unit: 'USD', limit: 0n, selector: { agentId } });
  await replica.setLimit(shared, worst * 100n + worst - 1n);
  const { path, model } = doors.anthropic;
  const answers = await Promise.all(
    Array.from({ length: 300 }, (_, i) =>
      post(i % 2 === 0 ? gate : replica, path, ask(model), { authorization: `Bearer ${secret}` }),
    ),
  );
  expect(countByStatus(answers)).toEqual({ 200: 100, 429: 200 });
  expect(await mock.requests()).toHaveLength(100);
  expect(await replica.standing('shared')).toEqual({ posted: worst * 100n, held: 0n, remaining: worst - 1n });
});

test('two gates share a budget of requests in every dialect and way of answering', async () => {
  const { agentId, secret } = await gate.agent('three');
  const both = await gate.budget({ name: 'both', unit: 'REQUESTS', limit: 0n, selector: { agentId } });
  await replica.setLimit(both, 100n);
  expect(countByStatus(await burst([gate, replica], 400, secret))).toEqual({ 200: 100, 429: 300 });
  expect(await mock.requests()).toHaveLength(100);
  expect(await gate.standing('both')).toEqual({ posted: 100n, held: 0n, remaining: 0n });
});

describe('a budget', () => {
  test('of zero denies every call, in each dialect', async () => {
    const { agentId, secret } = await gate.agent('zero');
    await gate.budget({ name: 'nothing', unit: 'USD', limit: 0n, selector: { agentId } });
    for (const [dialect, { path, model }] of Object.entries(doors)) {
      const answer = await post(gate, path, ask(model), { authorization: `Bearer ${secret}` });
      expect(answer.status).toBe(429);
      expect(answer.headers['x-should-retry']).toBe('false');
      const { type, message } = explained(answer);
      expect(type).toBe(dialect === 'anthropic' ? 'rate_limit_error' : 'insufficient_quota');
      expect(message).toBe('Budget "nothing" is 0 and denies this call; an operator can raise it.');
    }
    expect(await mock.requests()).toEqual([]);
  });

  test('without a limit only counts', async () => {
    const { agentId, secret } = await gate.agent('unlimited');
    await gate.budget({ name: 'counting', unit: 'REQUESTS', limit: null, selector: { agentId } });
    await post(gate, doors.chat.path, ask(doors.chat.model), { authorization: `Bearer ${secret}` });
    expect(await gate.standing('counting')).toEqual({ posted: 1n, held: 0n, remaining: null });
  });

  test('that counts a call decides with all others, and none is charged when one refuses', async () => {
    const { agentId, secret } = await gate.agent('several');
    await gate.budget({ name: 'wide', unit: 'REQUESTS', limit: 100n, selector: { agentId } });
    await gate.budget({ name: 'narrow', unit: 'REQUESTS', limit: 2n, selector: { agentId, model: 'gpt-*' } });
    const send = ({ path, model }: { path: string; model: string }) =>
      post(gate, path, ask(model), { authorization: `Bearer ${secret}` });
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await send(doors.chat)).status);
    expect(statuses).toEqual([200, 200, 429, 429]);
    expect((await send(doors.anthropic)).status).toBe(200);
    expect(await gate.standing('wide')).toMatchObject({ posted: 3n, held: 0n });
    expect(await gate.standing('narrow')).toMatchObject({ posted: 2n, held: 0n });
  });
});

/** What is held for a call of `ask`: seen while it is open, in a budget that only counts. */
async function worstCaseOf(agentId: string, secret: string): Promise<{ worst: bigint; input: number }> {
  const { path, model } = doors.anthropic;
  for (const unit of ['USD', 'TOKENS'] as const) {
    await gate.budget({ name: `probe ${unit}`, unit, limit: 10n ** 15n, selector: { agentId } });
  }
  await mock.script({ model, latencyMs: 1_000, times: 1 });
  const answer = post(gate, path, ask(model), { authorization: `Bearer ${secret}` });
  await mock.until((requests) => requests.length === 1);
  const { held: worst } = await gate.standing('probe USD');
  const { held: tokens } = await gate.standing('probe TOKENS');
  await answer;
  await mock.reset();
  return { worst, input: Number(tokens) - 50 };
}
