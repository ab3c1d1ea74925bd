import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestGate, startGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, mockConfiguration, nanoPerToken, startGateWithMock } from './support/models.ts';

/**
 * Two gates under a mixed load on one budget, while one is killed and the database drops its connections. Judged by the
 * provider's own record.
 */

let gate: TestGate;
let victim: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

const limit = 60_000_000n;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock());
  victim = await startGate({ yaml: mockConfiguration(mock), database: gate.database });
});

afterAll(async () => {
  await victim.stop();
  await stop();
});

/** What clients and providers do, in turn. */
const manners = [
  { model: 'claude-plain' },
  { model: 'gpt-stream', stream: true },
  { model: 'gpt-cut', stream: true },
  { model: 'claude-slow', stream: true, leaveAfterMs: 60 },
  { model: 'gpt-error' },
  { model: 'claude-slow', stream: true },
  { model: 'claude-reset' },
  { model: 'gpt-slow', leaveAfterMs: 10 },
];

async function client(secret: string, number: number, until: number): Promise<void> {
  for (let i = number; performance.now() < until; i++) {
    const { model, stream = false, leaveAfterMs = null } = manners[i % manners.length] ?? manners[0] ?? { model: '' };
    const through = i % 2 === 0 ? gate : victim;
    const { path } = Math.trunc(i / 2) % 2 === 0 ? doors.anthropic : doors.chat;
    const signal = leaveAfterMs === null ? null : AbortSignal.timeout(leaveAfterMs);
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${secret}` };
    await fetch(through.url + path, { method: 'POST', headers, body: ask(model, { stream }), signal })
      .then((answer) => answer.text())
      .catch(() => sleep(5));
  }
}

test('whatever fails, the limit holds, every request has one hold, and every hold ends once', async () => {
  await mock.script({ model: 'gpt-cut', cutAfter: 3 });
  await mock.script({ model: 'gpt-error', error: 500 });
  await mock.script({ model: 'claude-reset', reset: true });
  await mock.script({ model: 'claude-slow', tokens: 40, tokensPerSecond: 100 });
  await mock.script({ model: 'gpt-slow', latencyMs: 100 });
  const { agentId, secret } = await gate.agent('chaos');
  await victim.setLimit(await gate.budget({ name: 'chaos', unit: 'USD', limit: 0n, selector: { agentId } }), limit);

  const until = performance.now() + 6_000;
  const clients = Array.from({ length: 24 }, (_, number) => client(secret, number, until));
  const sampled: bigint[] = [];
  const sampling = (async () => {
    while (performance.now() < until) {
      const standing = await gate.standing('chaos').catch(() => null);
      if (standing) sampled.push(standing.posted + standing.held);
      await sleep(50);
    }
  })();
  await sleep(1_500);
  await victim.end('SIGKILL');
  await dropConnections();
  await sleep(500);
  await victim.start();
  await sleep(1_000);
  await dropConnections();
  await Promise.all([...clients, sampling]);
  // The calls that were left are the provider's to end.
  const seen = await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'));
  await expect.poll(async () => (await gate.holds()).held, { timeout: 60_000, interval: 500 }).toBeUndefined();

  expect(sampled.length).toBeGreaterThan(10);
  for (const amount of sampled) expect(amount).toBeLessThanOrEqual(limit);

  const { rows: holds } = await gate.database.pool.query<{ id: string }>('SELECT id FROM holds');
  const held = new Set(holds.map(({ id }) => id));
  const arrived = seen.map(({ headers }) => new Map(headers).get('x-request-id') ?? '');
  expect(arrived.length).toBeGreaterThan(100);
  expect(new Set(arrived).size).toBe(arrived.length);
  expect(arrived.filter((id) => !held.has(id))).toEqual([]);

  const ledger = await gate.ledger();
  const rowsOf = Map.groupBy(ledger, ({ id, corrects }) => corrects ?? id);
  expect([...held].filter((id) => !rowsOf.has(id))).toEqual([]);
  const posted = ledger.reduce((sum, { costNanousd }) => sum + BigInt(costNanousd ?? '0'), 0n);
  expect(await gate.standing('chaos')).toEqual({ posted, held: 0n, remaining: posted < limit ? limit - posted : 0n });

  // No request costs less in the books than at the provider, and a measured one costs exactly as much.
  const costs = seen.map(({ headers, billed }) => {
    const rows = rowsOf.get(new Map(headers).get('x-request-id') ?? '') ?? [];
    const { input, output } = billed ?? { input: 0, output: 0 };
    return {
      charged: BigInt(input) * nanoPerToken.input + BigInt(output) * nanoPerToken.output,
      booked: rows.reduce((sum, { costNanousd }) => sum + BigInt(costNanousd ?? '0'), 0n),
      measured: rows.every(({ provenance }) => provenance === 'PROVENANCE_MEASURED'),
    };
  });
  expect(costs.filter(({ charged, booked }) => booked < charged)).toEqual([]);
  expect(costs.filter(({ charged, booked, measured }) => measured && booked !== charged)).toEqual([]);
  expect(costs.filter(({ measured }) => measured).length).toBeGreaterThan(50);
}, 120_000);

/** Breaks every connection to the database, as a restart of it would. */
async function dropConnections(): Promise<void> {
  const url = new URL(gate.database.ownerUrl);
  const name = url.pathname.slice(1);
  url.pathname = '/postgres';
  const admin = new Client({ connectionString: url.href });
  await admin.connect();
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [name]);
  await admin.end();
}
