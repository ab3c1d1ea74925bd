import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** Calls that wait for something when they are stopped: for a place, for another try, for an answer that may be kept. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({
    env: { CALLS_IN_FLIGHT_MAX: '2' },
    models: {
      again: { targets: [{ provider: 'claude', model: 'claude-rests' }], attempts_max: 5 },
      kept: { targets: [{ provider: 'claude', model: 'claude-kept' }], cache_ttl_s: 600 },
    },
  }));
  await mock.script({ model: 'claude-never', never: true });
  await mock.script({ model: 'claude-rests', error: 500, headers: { 'retry-after': '60' } });
});
afterAll(() => stop());

async function engage(agentId: string): Promise<() => Promise<unknown>> {
  const { killSwitch } = await gate.api<{ killSwitch: { id: string } }>('PolicyService/EngageKillSwitch', {
    scope: 'KILL_SCOPE_AGENT',
    value: agentId,
    reason: 'It ran amok.',
  });
  return () => gate.api('PolicyService/ReleaseKillSwitch', { killSwitchId: killSwitch.id });
}

const send = (secret: string, model: string, headers: Record<string, string> = {}) =>
  post(gate, doors.anthropic.path, ask(model), { authorization: `Bearer ${secret}`, ...headers });

const requestsOf = async (model: string) => (await mock.requests()).filter((request) => request.model === model).length;

test('a call that waits for its place ends, and those that hold it too', async () => {
  const [holder, waiter] = [await gate.agent('holder'), await gate.agent('waiter')];
  const holding = [send(holder.secret, 'claude-never'), send(holder.secret, 'claude-never')];
  await mock.until((requests) => requests.filter(({ model }) => model === 'claude-never').length === 2);
  // It waits for a second at most: the switch must come before that.
  const waiting = send(waiter.secret, 'claude-1');
  await engage(waiter.agentId);
  const answer = await waiting;
  expect(answer.status).toBe(503);
  expect(answer.body.toString()).toContain('It ran amok.');
  expect(await requestsOf('claude-1')).toBe(0);
  await engage(holder.agentId);
  for (const { status, body } of await Promise.all(holding)) {
    expect(status).toBe(503);
    expect(body.toString()).toContain('It ran amok.');
  }
});

test('a call that waits for its next attempt ends, and makes none', async () => {
  const made = await gate.agent('tries again');
  const waiting = send(made.secret, 'again');
  await mock.until((requests) => requests.some(({ model }) => model === 'claude-rests'));
  const engagedAt = performance.now();
  await engage(made.agentId);
  expect((await waiting).body.toString()).toContain('It ran amok.');
  // Far from the minute that the provider asked for.
  expect(performance.now() - engagedAt).toBeLessThan(10_000);
  expect(await requestsOf('claude-rests')).toBe(1);
});

test('an Idempotency-Key of a call that was stopped can be used again after the release', async () => {
  const made = await gate.agent('once');
  const key = { 'idempotency-key': 'one' };
  const before = await requestsOf('claude-never');
  const stopped = send(made.secret, 'claude-never', key);
  await mock.until((requests) => requests.filter(({ model }) => model === 'claude-never').length === before + 1);
  const release = await engage(made.agentId);
  expect((await stopped).status).toBe(503);
  expect((await send(made.secret, 'claude-never', key)).body.toString()).toContain('It ran amok.');
  await mock.script({ model: 'claude-never', tokens: 1, times: 1 });
  await release();
  expect((await send(made.secret, 'claude-never', key)).status).toBe(200);
});

test('an answer that is kept is not given to who is stopped', async () => {
  const made = await gate.agent('cached');
  const key = { 'idempotency-key': 'kept' };
  expect((await send(made.secret, 'kept')).headers['portcullis-cache']).toBe('stored');
  expect((await send(made.secret, 'claude-2', key)).status).toBe(200);
  const release = await engage(made.agentId);
  expect((await send(made.secret, 'kept')).status).toBe(503);
  expect((await send(made.secret, 'claude-2', key)).status).toBe(503);
  await release();
  expect((await send(made.secret, 'kept')).headers['portcullis-cache']).toMatch(/^hit/);
  expect((await send(made.secret, 'claude-2', key)).headers['idempotency-replayed']).toBe('true');
});
