import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { type Gate, openGate, projectId, reserve, seedProject, used } from '../../../test/support/ledger.ts';
import { everything } from '../../../test/support/ledger-days.ts';
import { newId } from '../base/ids.ts';
import { holdGraceMs } from '../base/limits.ts';
import { sweepHolds } from './instances.ts';
import type { Attempt } from './model.ts';
import { sumUsage } from './usage-store.ts';
import type { UsageFilter } from './usage-store-filter.ts';
import { listAttempts } from './usage-store-list.ts';

let db: TestDatabase;
let gate: Gate;

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
  // Ids tell the order within the hour.
  const at = (startedAt: number, nth: number) => ({ id: newId('att', startedAt + nth), startedAt });
  await call(10n, { ...at(monday, 0), modelAsked: 'a', agentId: 'agt_1', provider: 'p', keyId: 'key_1' });
  await call(20n, { ...at(tuesday, 0), modelAsked: 'b', agentId: 'agt_1', provider: 'p', provenance: 'estimated' });
  await call(5n, { ...at(tuesday, 1), modelAsked: 'b', agentId: null, provider: 'q', runId: null, workflow: 'other' });
  // Posted by the sweeper at 100, corrected to 40 later: two rows, one attempt, 40.
  const late: Partial<Attempt> = { ...at(monday, 1), modelAsked: 'a', agentId: 'agt_2', provider: 'p' };
  const hold = await reserve(gate, { usd: 100n, attempt: late, deadlineMs: -holdGraceMs - 1 });
  await sweepHolds(db.pool);
  await gate.ledger.settle(hold, { ...used(hold, 40n), ...late });
  const refusal: Partial<Attempt> = { ...at(tuesday, 2), modelAsked: 'b', agentId: 'agt_2', outcome: 'budget' };
  gate.ledger.recordRefusal({ ...used(hold, 0n), ...refusal });
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
    const totals = await sumUsage(db.pool, everything, group, 100);
    expect(totals.map(({ key, attempts, refused, costUsd }) => [key, attempts, refused, costUsd])).toEqual(expected);
    expect(totals.reduce((sum, { tokensOutput }) => sum + tokensOutput, 0n)).toBe(75n);
  });

  test.each<[string, Partial<UsageFilter>, bigint]>([
    ['an agent', { agentId: 'agt_1' }, 30n],
    ['a run', { runId: 'run_test' }, 70n],
    ['a provider', { provider: 'q' }, 5n],
    ['a model', { model: 'a' }, 50n],
    ['a key', { keyId: 'key_1' }, 10n],
    ['a workflow', { workflow: 'other' }, 5n],
    ['an outcome', { outcome: 'success' }, 75n],
    ['an outcome that was found to be another', { outcome: 'failed' }, 0n],
    ['a span of time', { from: tuesday, to: tuesday + 1 }, 25n],
    ['another project', { projectId: 'prj_other' }, 0n],
  ])('can be of %s alone', async (_, filter, cost) => {
    const totals = await sumUsage(db.pool, { ...everything, ...filter }, 'day', 100);
    expect(totals.reduce((sum, { costUsd }) => sum + costUsd, 0n)).toBe(cost);
  });

  test('say how far each part of the cost can be trusted, by what is known of each attempt now', async () => {
    const totals = await sumUsage(db.pool, everything, 'agent', 100);
    expect(
      totals.map(({ key, ...parts }) => [key, parts.estimatedUsd, parts.measuredUsd, parts.reconciledUsd]),
    ).toEqual([
      ['agt_2', 0n, 40n, 0n],
      ['agt_1', 20n, 10n, 0n],
      ['', 0n, 5n, 0n],
    ]);
  });

  test('and lists say reconciled of what a bill agrees with', async () => {
    await db.pool.query(
      `INSERT INTO reconciled_days (provider, day, version, model, billed_models, booked_models, state, billed_nanousd,
         booked_nanousd, estimated_nanousd, unexplained_nanousd, billed_tokens, booked_tokens, project_id, booked_by, matched_by)
       SELECT provider, day::date, version, 'sim-1', '{sim-1}', '{sim-1}', state, 5, 5, 0, 0, NULL, 5, $1, '{}', 'test'
       FROM (VALUES ('q', '2026-11-17', 1, 'drifted'), ('q', '2026-11-17', 2, 'reconciled'),
                    ('p', '2026-11-16', 1, 'drifted'), ('p', '2026-11-18', 1, 'reconciled')) AS m (provider, day, version, state)`,
      [projectId],
    );
    const totals = await sumUsage(db.pool, everything, 'provider', 100);
    expect(totals.map(({ key, costUsd, ...parts }) => [key, costUsd, parts.measuredUsd, parts.reconciledUsd])).toEqual([
      ['p', 70n, 50n, 0n],
      ['q', 5n, 0n, 5n],
      ['sim', 0n, 0n, 0n],
    ]);
    const { items } = await listAttempts(db.pool, { ...everything, provider: 'q' }, { pageSize: 9, cursor: null }, 0);
    expect(items.map(({ attempt }) => attempt.provenance)).toEqual(['reconciled']);
  });

  test('have no group of which nothing is left', async () => {
    expect(await sumUsage(db.pool, { ...everything, outcome: 'failed' }, 'agent', 100)).toEqual([]);
  });

  test('are bounded', async () => {
    expect(await sumUsage(db.pool, everything, 'agent', 2)).toHaveLength(2);
  });
});

describe('the list of attempts', () => {
  async function listed(filter: Partial<UsageFilter>, pageSize = 2) {
    const seen = [];
    for (let cursor: string | null = null; ;) {
      const page: Awaited<ReturnType<typeof listAttempts>> = await listAttempts(
        db.pool,
        { ...everything, ...filter },
        { pageSize, cursor },
        Date.now(),
      );
      seen.push(...page.items);
      cursor = page.nextCursor;
      if (cursor === null) return seen;
    }
  }

  test('pages through every row, newest attempts first, corrections above what they correct', async () => {
    const seen = await listed({});
    expect(seen.map(({ attempt }) => attempt.costUsd)).toEqual([0n, 5n, 20n, -60n, 100n, 10n]);
    expect(seen[3]?.attempt.corrects).toBe(seen[4]?.attempt.id);
    expect(seen.map(({ heldUsd }) => heldUsd)).toEqual([0n, 5n, 20n, 0n, 100n, 10n]);
  });

  test('can be of attempts with one outcome, as it is known now: with the same sum as totals', async () => {
    expect(await listed({ outcome: 'failed' })).toEqual([]);
    expect((await listed({ to: tuesday, outcome: 'success' })).map(({ attempt }) => attempt.costUsd)).toEqual([
      -60n,
      100n,
      10n,
    ]);
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
    const { items } = await listAttempts(db.pool, everything, { pageSize: 1, cursor: null }, Date.now());
    expect(items[0]).toMatchObject({ heldUsd: 7n, attempt: { ...written, overrun: true } });
  });

  test.each(["1' OR true", '1.', 'att_1', '1234567890123456789.att_1'])(
    'refuses a place that it never gave out: %s',
    async (cursor) => {
      await expect(listAttempts(db.pool, everything, { pageSize: 1, cursor }, Date.now())).rejects.toMatchObject({
        code: 'invalid_argument',
      });
    },
  );
});
