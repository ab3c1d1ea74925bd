import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** A gate that is killed takes no money with it, and sets none free that may have been spent. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env: { DRAIN_MS: '3000' } }));
});

afterAll(() => stop());

test('kill -9 in mid-stream: what was held is posted as estimated, and the limit is never passed', async () => {
  const { agentId, secret } = await gate.agent('victim');
  const limit = 2_000_000n;
  await gate.budget({ name: 'limited', unit: 'USD', limit, selector: { agentId } });
  const headers = { authorization: `Bearer ${secret}` };
  await mock.script({ model: 'claude-endless', tokens: 100_000, tokensPerSecond: 50 });
  await mock.script({ model: 'gpt-silent', never: true });
  expect((await post(gate, doors.anthropic.path, ask('claude-1'), headers)).status).toBe(200);

  const broken = [
    post(gate, doors.anthropic.path, ask('claude-endless', { stream: true }), {
      ...headers,
      'x-request-id': 'endless',
    }),
    post(gate, doors.chat.path, ask('gpt-silent'), { ...headers, 'x-request-id': 'silent' }),
  ].map((answer) => answer.catch((error: unknown) => error));
  await mock.until((requests) => requests.length === 3 && requests.some(({ chunksSent }) => chunksSent > 10));
  const before = await gate.standing('limited');
  expect(await gate.holds()).toEqual({ held: 2 });
  await gate.end('SIGKILL');
  for (const answer of await Promise.all(broken)) expect(answer).toBeInstanceOf(Error);
  await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'));

  await gate.start();
  // What the dead gate held counts until it is known to be dead.
  expect(await gate.standing('limited')).toEqual(before);
  const sampled: bigint[] = [];
  await expect
    .poll(
      async () => {
        const { posted, held } = await gate.standing('limited');
        sampled.push(posted + held);
        return gate.holds();
      },
      { timeout: 60_000, interval: 500 },
    )
    .toEqual({ posted: 2 });
  for (const amount of sampled) expect(amount).toBe(before.posted + before.held);

  for (const requestId of ['endless', 'silent']) {
    expect(await gate.ledgerRow(requestId)).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_FAILED',
      errorClass: 'crash',
      provenance: 'PROVENANCE_ESTIMATED',
    });
  }
  const posted = (await gate.ledger()).reduce((sum, { costNanousd }) => sum + BigInt(costNanousd ?? '0'), 0n);
  expect(await gate.standing('limited')).toEqual({ posted, held: 0n, remaining: limit - posted });
  expect((await post(gate, doors.anthropic.path, ask('claude-1'), headers)).status).toBe(200);
});

test('SIGTERM lets calls in flight end, and then the gate ends by itself with nothing held', async () => {
  await mock.reset();
  const { secret } = await gate.agent('patient');
  await mock.script({ model: 'claude-slow', tokens: 40, tokensPerSecond: 40 });
  const headers = { authorization: `Bearer ${secret}`, 'x-request-id': 'slow' };
  const answer = post(gate, doors.anthropic.path, ask('claude-slow', { stream: true }), headers);
  await mock.until(([request]) => (request?.chunksSent ?? 0) > 3);
  const exit = gate.end('SIGTERM');
  expect((await answer).body.toString()).toContain('event: message_stop');
  expect(await exit).toBe(0);
  expect((await gate.holds()).held).toBeUndefined();
  await gate.start();
  expect(await gate.ledgerRow('slow')).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_SUCCESS' });
});

test('SIGTERM ends calls that take longer than it waits, each with an error event', async () => {
  await mock.reset();
  const { secret } = await gate.agent('endless');
  const headers = { authorization: `Bearer ${secret}`, 'x-request-id': 'drained' };
  await mock.script({ model: 'claude-endless', tokens: 100_000, tokensPerSecond: 50 });
  const body = ask('claude-endless', { stream: true, max_tokens: 100_000 });
  const answer = post(gate, doors.anthropic.path, body, headers);
  await mock.until(([request]) => (request?.chunksSent ?? 0) > 3);
  expect(await gate.end('SIGTERM')).toBe(0);
  expect((await answer).body.toString()).toMatch(/event: error\ndata: .*The gate is being stopped.*\n\n$/);
  await gate.start();
  expect(await gate.ledgerRow('drained')).toMatchObject({
    outcome: 'ATTEMPT_OUTCOME_FAILED',
    errorClass: 'unavailable',
  });
  expect((await gate.holds()).held).toBeUndefined();
});
