import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { type Gate, openGate, projectId, reserve, seedProject, used } from '../../../test/support/ledger.ts';
import { holdGraceMs } from '../base/limits.ts';
import { sweepHolds } from './instances.ts';
import type { Attempt } from './model.ts';
import { type UsageFilter, listAttempts, sumUsage } from './usage-store.ts';

let db: TestDatabase;
let gate: Gate;

const all: UsageFilter = { projectId, agentId: null, runId: null, provider: null, model: null, from: null, to: null };
const monday = Date.parse('2026-11-16T23:30:00Z');
const tuesday = Date.parse('2026-11-17T00:30:00Z');

/** A call of so many nano-USD and tokens. */
async function call(usd: bigint, known: Partial<Attempt>): Promise<Attempt> {
  const hold = await reserve(gate, { usd, attempt: known });
  const attempt = { ...used(hold, usd), ...known };
  await gate.ledger.settle(hold, attempt);
  return attempt;
}

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  gate = await openGate(db.pool);
  await call(10n, { startedAt: monday, modelAsked: 'a', agentId: 'agt_1', provider: 'p' });
  await call(20n, { startedAt: tuesday, modelAsked: 'b', agentId: 'agt_1', provider: 'p' });
  await call(5n, { startedAt: tuesday, modelAsked: 'b', agentId: null, provider: 'q', runId: null });
  // Posted by the sweeper at 100, corrected to 40 later: two rows, one attempt, 40.
  const late: Partial<Attempt> = { startedAt: monday, modelAsked: 'a', agentId: 'agt_2', provider: 'p' };
  const hold = await reserve(gate, { usd: 100n, attempt: late, deadlineMs: -holdGraceMs - 1 });
  await sweepHolds(db.pool);
  await gate.ledger.settle(hold, { ...used(hold, 40n), ...late });
  const refusal = {
    ...used(hold, 0n),
    id: 'att_no',
    startedAt: tuesday,
    modelAsked: 'b',
    agentId: 'agt_2',
    outcome: 'budget' as const,
  };
  gate.ledger.recordRefusal(refusal);
  await gate.ledger.stop(1_000);
});
afterAll(() => db.drop());

describe('totals', () => {
  test.each([
    [
      'model',
      [
        ['a', 2n, 0n, 50n],
        ['b', 3n, 1n, 25n],
      ],
    ],
    [
      'agent',
      [
        ['agt_2', 2n, 1n, 40n],
        ['agt_1', 2n, 0n, 30n],
        ['', 1n, 0n, 5n],
      ],
    ],
    [
      'provider',
      [
        ['p', 3n, 0n, 70n],
        ['q', 1n, 0n, 5n],
        ['sim', 1n, 1n, 0n],
      ],
    ],
    [
      'run',
      [
        ['run_test', 4n, 1n, 70n],
        ['', 1n, 0n, 5n],
      ],
    ],
    [
      'day',
      [
        ['2026-11-17', 3n, 1n, 25n],
        ['2026-11-16', 2n, 0n, 50n],
      ],
    ],
  ] as const)('by %s count each attempt once, with its corrections', async (group, expected) => {
    const totals = await sumUsage(db.pool, all, group, 100);
    expect(totals.map(({ key, attempts, refused, costUsd }) => [key, attempts, refused, costUsd])).toEqual(expected);
    expect(totals.reduce((sum, { tokensOutput }) => sum + tokensOutput, 0n)).toBe(75n);
  });

  test.each<[string, Partial<UsageFilter>, bigint]>([
    ['an agent', { agentId: 'agt_1' }, 30n],
    ['a run', { runId: 'run_test' }, 70n],
    ['a provider', { provider: 'q' }, 5n],
    ['a model', { model: 'a' }, 50n],
    ['a span of time', { from: tuesday, to: tuesday + 1 }, 25n],
    ['another project', { projectId: 'prj_other' }, 0n],
  ])('can be of %s alone', async (_, filter, cost) => {
    const totals = await sumUsage(db.pool, { ...all, ...filter }, 'day', 100);
    expect(totals.reduce((sum, { costUsd }) => sum + costUsd, 0n)).toBe(cost);
  });

  test('are bounded', async () => {
    expect(await sumUsage(db.pool, all, 'agent', 2)).toHaveLength(2);
  });
});

describe('the list of attempts', () => {
  test('pages through every row, newest first, corrections among them', async () => {
    const seen = [];
    for (let cursor: string | null = null; ;) {
      const page: Awaited<ReturnType<typeof listAttempts>> = await listAttempts(db.pool, all, { pageSize: 2, cursor });
      seen.push(...page.items);
      cursor = page.nextCursor;
      if (cursor === null) break;
    }
    expect(seen.map(({ attempt }) => attempt.costUsd)).toEqual([0n, -60n, 100n, 5n, 20n, 10n]);
    expect(seen.map(({ id }) => Number(id))).toEqual([6, 5, 4, 3, 2, 1]);
    expect(seen[1]?.attempt.corrects).toBe(seen[2]?.attempt.id);
  });

  test('gives back an attempt as it was written', async () => {
    const written = await call(7n, {
      clientSession: 'session',
      firstTokenMs: 1.5,
      connectMs: 0.25,
      errorClass: 'http_503',
      outcome: 'failed',
      usage: { input: 1, output: 2, cacheRead: 3, cacheWrite5m: 4, cacheWrite1h: 5, reasoning: 1 },
    });
    const { items } = await listAttempts(db.pool, all, { pageSize: 1, cursor: null });
    expect(items[0]?.attempt).toEqual({ ...written, overrun: true });
  });

  test('refuses a place that it never gave out', async () => {
    await expect(listAttempts(db.pool, all, { pageSize: 1, cursor: "1' OR true" })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
  });
});
