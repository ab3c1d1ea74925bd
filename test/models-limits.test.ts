import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** A caller has a rate and a number of places in flight, and the process has so many places in all. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({
    env: { RATE_LIMIT_MODELS_PER_MINUTE: '12', CALLS_IN_FLIGHT_PER_KEY_MAX: '2', CALLS_IN_FLIGHT_MAX: '3' },
  }));
  await mock.script({ model: 'gpt-never', never: true });
});

afterAll(() => stop());

const leaving: AbortController[] = [];

afterEach(async () => {
  for (const client of leaving.splice(0)) client.abort();
  await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'));
});

const bearer = (secret: string) => ({ authorization: `Bearer ${secret}` });

/** A call that stays in flight until the test ends. */
async function occupy(secret: string): Promise<void> {
  const before = (await mock.requests()).length;
  const client = new AbortController();
  leaving.push(client);
  const headers = { 'content-type': 'application/json', ...bearer(secret) };
  const init = { method: 'POST', headers, body: ask('gpt-never'), signal: client.signal };
  void fetch(gate.url + doors.chat.path, init).catch(() => undefined);
  await mock.until((requests) => requests.length === before + 1);
}

test('a caller beyond its rate is told when to come back, and the list of models counts too', async () => {
  const { secret } = await gate.agent('fast');
  for (const left of [2, 1, 0]) {
    const answer = await post(gate, doors.anthropic.path, ask('sim'), bearer(secret));
    expect(answer.status).toBe(200);
    expect(answer.headers['ratelimit-policy']).toBe('"models";q=12;w=60');
    expect(answer.headers['ratelimit']).toMatch(new RegExp(`^"models";r=${left};t=\\d+$`));
  }
  const refused = await post(gate, doors.anthropic.path, ask('claude-1'), bearer(secret));
  expect(refused.status).toBe(429);
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
  expect(refused.headers).not.toHaveProperty('x-should-retry');
  expect(refused.body.toString()).toContain('"error_code":"rate_limited"');
  const list = await fetch(`${gate.url}/v1/models`, { headers: bearer(secret) });
  expect([list.status, await list.text()]).toEqual([429, expect.stringContaining('"code":"rate_limited"')]);
  const row = await gate.ledgerRow(String(refused.headers['x-request-id']));
  expect(row).toMatchObject({ outcome: 'ATTEMPT_OUTCOME_REFUSED', errorClass: 'rate_limited', rule: 'models' });
  // Another caller is not in this one's bucket.
  const { secret: other } = await gate.agent('other');
  expect((await post(gate, doors.anthropic.path, ask('sim'), bearer(other))).status).toBe(200);
});

test('a caller with all its places in flight is refused, and others are not', async () => {
  const { secret } = await gate.agent('busy');
  await occupy(secret);
  await occupy(secret);
  const refused = await post(gate, doors.chat.path, ask('gpt-1'), bearer(secret));
  expect(refused.status).toBe(429);
  expect(refused.headers['retry-after']).toBe('1');
  expect(refused.body.toString()).toContain('has 2 calls in flight');
  const { secret: other } = await gate.agent('idle');
  expect((await post(gate, doors.chat.path, ask('gpt-1'), bearer(other))).status).toBe(200);
});

test('a process with no place left lets a call wait for one, but not for long', async () => {
  const { secret: one } = await gate.agent('one');
  const { secret: two } = await gate.agent('two');
  await occupy(one);
  await occupy(one);
  await occupy(two);
  const refused = await post(gate, doors.anthropic.path, ask('claude-1'), bearer(two));
  expect(refused.status).toBe(503);
  expect(refused.headers['retry-after']).toBe('1');
  expect(refused.body.toString()).toContain('"error_code":"unavailable"');
  const waiting = post(gate, doors.anthropic.path, ask('claude-1'), bearer(two));
  leaving.shift()?.abort();
  expect((await waiting).status).toBe(200);
});
