import { Client, escapeIdentifier } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, post, startGateWithMock } from './support/models.ts';

/** Without its database the gate admits nothing and lets nothing run on; with it again, all goes on by itself. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;
let admin: Client;
let secret: string;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env: { CONTROL_AGE_MAX_MS: '2000' } }));
  ({ secret } = await gate.agent('caller'));
  await gate.budget({ name: 'all', unit: 'USD', limit: 10n ** 12n });
  const url = new URL(gate.database.ownerUrl);
  url.pathname = '/postgres';
  admin = new Client({ connectionString: url.href });
  await admin.connect();
});

afterAll(async () => {
  await database('back');
  await admin.end();
  await stop();
});

/** Takes the database away from whoever is connected, and lets nobody in; or lets them in again. */
async function database(state: 'gone' | 'back'): Promise<void> {
  const name = new URL(gate.database.ownerUrl).pathname.slice(1);
  await admin.query(`ALTER DATABASE ${escapeIdentifier(name)} ALLOW_CONNECTIONS ${state === 'back'}`);
  if (state === 'gone')
    await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
}

let calls = 0;

function call(dialect: keyof typeof doors, model: string, rest: object = {}) {
  const headers = { authorization: `Bearer ${secret}`, 'x-request-id': `outage-${calls++}` };
  return post(gate, doors[dialect].path, ask(model, rest), headers);
}

test('a database that goes away: calls in flight end, new ones are refused, and both go on by themselves', async () => {
  const models = ['claude-talks', 'gpt-talks'];
  for (const model of models) await mock.script({ model, tokens: 100_000, tokensPerSecond: 20 });
  const streams = [
    call('anthropic', 'claude-talks', { stream: true, max_tokens: 100_000 }),
    call('chat', 'gpt-talks', { stream: true, max_tokens: 100_000 }),
  ];
  await mock.until((requests) => requests.length === 2 && requests.every(({ chunksSent }) => chunksSent > 3));
  await database('gone');

  // At once there is no money to be held, though control state is not yet too old.
  const refused = await call('chat', 'gpt-1');
  expect(refused.status).toBe(503);
  expect(refused.body.toString()).toContain('"code":"unavailable"');
  expect(refused.headers['x-should-retry']).not.toBe('false');

  const [byAnthropic, byChat] = await Promise.all(streams);
  expect(byAnthropic?.body.toString()).toMatch(/\n\nevent: error\ndata: .*"error_code":"unavailable".*\n\n$/);
  expect(byChat?.body.toString()).toMatch(/\n\ndata: \{"error":.*"code":"unavailable".*\n\n$/);
  await mock.until((requests) => requests.every(({ outcome }) => outcome === 'client_aborted'));

  const ready = await fetch(`${gate.url}/readyz`);
  expect(ready.status).toBe(503);
  expect(await ready.json()).toMatchObject({ database: 'failed', control_state: 'stale' });
  for (const { path, model } of Object.values(doors)) {
    const answer = await post(gate, path, ask(model), { authorization: `Bearer ${secret}` });
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toMatch(/^\d+$/);
  }
  expect(await mock.requests()).toHaveLength(2);

  await database('back');
  await expect
    .poll(async () => (await call('anthropic', 'claude-1')).status, { timeout: 20_000, interval: 250 })
    .toBe(200);
  // What could not be written meanwhile is written now.
  await expect.poll(async () => (await gate.holds()).held, { timeout: 20_000 }).toBeUndefined();
  for (const requestId of ['outage-0', 'outage-1']) {
    expect(await gate.ledgerRow(requestId)).toMatchObject({
      outcome: 'ATTEMPT_OUTCOME_FAILED',
      errorClass: 'unavailable',
      provenance: 'PROVENANCE_ESTIMATED',
    });
  }
  const rows = await gate.ledger();
  const spent = rows.reduce((sum, { costNanousd }) => sum + BigInt(costNanousd ?? '0'), 0n);
  expect(await gate.standing('all')).toMatchObject({ posted: spent, held: 0n });
});

test('an answer whose cost cannot be written is not given, and says not to ask again', async () => {
  await mock.reset();
  await mock.script({ model: 'gpt-last', latencyMs: 1_000 });
  const answer = call('chat', 'gpt-last');
  await mock.until((requests) => requests.length === 1);
  await database('gone');
  const { status, headers, body } = await answer;
  expect(status).toBe(503);
  expect(headers['x-should-retry']).toBe('false');
  expect(body.toString()).toContain('do not repeat it');
  await database('back');
  await expect.poll(async () => (await gate.holds()).held, { timeout: 20_000 }).toBeUndefined();
  expect(await gate.ledgerRow(`outage-${calls - 1}`)).toMatchObject({ provenance: 'PROVENANCE_MEASURED' });
});
