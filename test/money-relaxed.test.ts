import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCommand } from './support/cli.ts';
import type { TestGate } from './support/gate.ts';
import type { MockUpstream } from './support/mock-upstream/client.ts';
import { ask, doors, nanoPerToken, post, startGateWithMock } from './support/models.ts';

/** What a project gains and gives up that takes `relaxed` durability, by the public API alone. */

let gate: TestGate;
let mock: MockUpstream;
let stop: () => Promise<void>;

beforeAll(async () => {
  ({ gate, mock, stop } = await startGateWithMock({ env: { DRAIN_MS: '3000' } }));
  const { projects } = await gate.api<{ projects: { id: string }[] }>('ProjectService/ListProjects', {});
  await gate.api('ProjectService/UpdateProject', {
    projectId: projects[0]?.id,
    updateMask: 'durability',
    durability: 'DURABILITY_RELAXED',
  });
});

afterAll(() => stop());

interface Posting {
  readonly budgetName: string;
  readonly amount: string;
}

async function postings(): Promise<bigint> {
  const listed = await gate.api<{ postings?: Posting[] }>('BudgetService/ListLeasePostings', {});
  return (listed.postings ?? []).reduce((sum, { amount }) => sum + BigInt(amount), 0n);
}

async function leased(name: string): Promise<bigint> {
  const { status } = await gate.api<{ status: { standing: { leasedAmount?: string } } }>('BudgetService/GetBudget', {
    name,
  });
  return BigInt(status.standing.leasedAmount ?? '0');
}

async function booked(agentId: string): Promise<bigint> {
  const rows = (await gate.ledger()).filter((row) => row.agentId === agentId);
  return rows.reduce((sum, { costNanousd }) => sum + BigInt(costNanousd ?? '0'), 0n);
}

const limit = 1_000_000_000_000n;

test('every call is in the ledger and on its budget, and what was leased is given back', async () => {
  const { agentId, secret } = await gate.agent('worker');
  await gate.budget({ name: 'worker', unit: 'USD', limit, selector: { agentId } });
  const headers = { authorization: `Bearer ${secret}` };
  for (let i = 0; i < 40; i++) {
    const { path } = i % 2 === 0 ? doors.anthropic : doors.chat;
    expect((await post(gate, path, ask(i % 2 === 0 ? 'claude-1' : 'gpt-1'), headers)).status).toBe(200);
  }
  await expect.poll(async () => (await gate.ledger()).filter((row) => row.agentId === agentId)).toHaveLength(40);
  expect(await leased('worker')).toBeGreaterThan(0n);
  expect(await leased('worker')).toBeLessThanOrEqual(limit / 100n);
  const billed = (await mock.requests()).reduce(
    (sum, request) =>
      sum +
      BigInt(request.billed?.input ?? 0) * nanoPerToken.input +
      BigInt(request.billed?.output ?? 0) * nanoPerToken.output,
    0n,
  );
  expect(await booked(agentId)).toBe(billed);
  await expect.poll(() => leased('worker'), { timeout: 15_000 }).toBe(0n);
  expect(await gate.standing('worker')).toEqual({ posted: billed, held: 0n, remaining: limit - billed });
});

test('kill -9: what was leased is posted, and posted = ledger + lease postings', async () => {
  const { agentId, secret } = await gate.agent('victim');
  await gate.budget({ name: 'victim', unit: 'USD', limit, selector: { agentId } });
  const headers = { authorization: `Bearer ${secret}` };
  await mock.script({ model: 'claude-endless', tokens: 100_000, tokensPerSecond: 50 });
  await expect
    .poll(async () => {
      expect((await post(gate, doors.anthropic.path, ask('claude-1'), headers)).status).toBe(200);
      return leased('victim');
    })
    .toBeGreaterThan(0n);
  const broken = post(gate, doors.anthropic.path, ask('claude-endless', { stream: true }), headers).catch(() => null);
  await mock.until((requests) => requests.some(({ chunksSent }) => chunksSent > 10));
  await gate.end('SIGKILL');
  await broken;
  const endless = (await mock.until((requests) => requests.every(({ outcome }) => outcome !== 'open'))).at(-1);

  await gate.start();
  await expect.poll(async () => (await gate.standing('victim')).held, { timeout: 60_000, interval: 500 }).toBe(0n);
  const { posted } = await gate.standing('victim');
  expect(await postings()).toBeGreaterThan(0n);
  expect(posted).toBe((await booked(agentId)) + (await postings()));
  // The row of the call in flight is gone with its process; its money is not.
  expect(posted).toBeGreaterThanOrEqual(BigInt(endless?.billed?.output ?? 0) * nanoPerToken.output);
  const environment = { PORTCULLIS_URL: gate.url, PORTCULLIS_KEY: gate.adminKey };
  const table = await runCommand(['budgets', 'postings', 'victim'], { environment });
  expect(table.stdout).toMatch(/TIME +BUDGET +AMOUNT +WINDOW +PROCESS\n.*victim +\$\d/);
});

test('near its limit it is never let over it, whatever comes at once', async () => {
  const { agentId, secret } = await gate.agent('tight');
  await gate.budget({ name: 'tight', unit: 'REQUESTS', limit: 25n, selector: { agentId } });
  const headers = { authorization: `Bearer ${secret}` };
  const statuses = await Promise.all(
    Array.from({ length: 80 }, async () => (await post(gate, doors.chat.path, ask('gpt-1'), headers)).status),
  );
  const admitted = statuses.filter((status) => status === 200).length;
  expect(admitted).toBeLessThanOrEqual(25);
  // One request may be leased and unused.
  expect(admitted).toBeGreaterThanOrEqual(24);
  expect(statuses.filter((status) => status === 429)).toHaveLength(80 - admitted);
});
