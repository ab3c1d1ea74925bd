import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { type Gate, counters, makeBudget, openGate, reserve, seedProject, used } from '../../../test/support/ledger.ts';
import type { NewBudget } from './budget-input.ts';

let db: TestDatabase;
let gate: Gate;

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
});
beforeEach(async () => {
  await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE deleted_at IS NULL');
  gate = await openGate(db.pool);
});
afterAll(() => db.drop());

async function budgetOf(budget: Partial<NewBudget>) {
  const made = await makeBudget(db.pool, budget);
  await gate.reload();
  return made;
}

test('what ends makes room for what begins in the same commit', async () => {
  const budget = await budgetOf({ limit: 100n });
  const first = await reserve(gate, { usd: 100n });
  await expect(reserve(gate, { usd: 1n })).rejects.toMatchObject({ code: 'budget_exceeded' });
  const [, second] = await Promise.all([gate.ledger.settle(first, used(first, 30n)), reserve(gate, { usd: 70n })]);
  expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 30n, held: 70n }]);
  await gate.ledger.release(second, used(second, 0n));
});

test('what ends is written though what begins with it does not fit', async () => {
  const budget = await budgetOf({ limit: 100n });
  const first = await reserve(gate, { usd: 100n });
  const [settled, refused, admitted] = await Promise.allSettled([
    gate.ledger.settle(first, used(first, 60n)),
    reserve(gate, { usd: 41n }),
    reserve(gate, { usd: 40n }),
  ]);
  expect([settled.status, refused.status, admitted.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 60n, held: 40n }]);
});

test('an overrun in the same commit refuses what would have fitted without it', async () => {
  const budget = await budgetOf({ limit: 100n });
  const first = await reserve(gate, { usd: 50n });
  const [, refused] = await Promise.allSettled([
    gate.ledger.settle(first, used(first, 80n)),
    reserve(gate, { usd: 30n }),
  ]);
  expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'budget_exceeded' } });
  expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 80n, held: 0n }]);
});

describe('a budget of calls in flight', () => {
  test('lets in as many as may be at a time, and the next one when one has ended', async () => {
    const budget = await budgetOf({ unit: 'concurrent_requests', limit: 2n });
    const [one, two] = await Promise.all([reserve(gate, { usd: 1n }), reserve(gate, { usd: 1n })]);
    await expect(reserve(gate, { usd: 1n })).rejects.toMatchObject({ code: 'budget_exceeded' });
    await gate.ledger.settle(one, used(one, 1n));
    const three = await reserve(gate, { usd: 1n });
    await gate.ledger.release(two, used(two, 0n));
    await gate.ledger.settle(three, used(three, 1n));
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 0n, held: 0n }]);
  });

  test('of 500 calls that come at once through two processes lets in exactly its number', async () => {
    await budgetOf({ unit: 'concurrent_requests', limit: 7n });
    const other = await openGate(db.pool);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 500 }, (_, i) => reserve(i % 2 === 0 ? gate : other, { usd: 1n })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(7);
  });
});

describe('a budget that measures each call by itself', () => {
  test('refuses the dear one among cheap ones of the same commit', async () => {
    await budgetOf({ window: 'attempt', limit: 10n });
    const outcomes = await Promise.allSettled([10n, 11n, 1n].map((usd) => reserve(gate, { usd })));
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });

  test('at 0 denies a call that costs nothing', async () => {
    await budgetOf({ window: 'attempt', limit: 0n });
    await expect(reserve(gate, { usd: 0n })).rejects.toMatchObject({ code: 'budget_exceeded' });
  });

  test('decides by its limit as it stands in the database, not as this process knows it', async () => {
    const budget = await budgetOf({ window: 'attempt', limit: 10n });
    await db.pool.query('UPDATE budgets SET limit_amount = 5 WHERE id = $1', [budget.id]);
    await expect(reserve(gate, { usd: 6n })).rejects.toMatchObject({ code: 'budget_exceeded' });
    await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE id = $1', [budget.id]);
    await expect(reserve(gate, { usd: 600n })).resolves.toBeDefined();
  });
});

test('a limit of time is no amount: nothing is counted for it', async () => {
  const budget = await budgetOf({ unit: 'latency_ms', window: 'attempt', limit: 500n });
  const hold = await reserve(gate, { usd: 1_000n });
  await gate.ledger.settle(hold, used(hold, 1_000n));
  expect(await counters(db.pool, budget.id)).toEqual([]);
});

test('the ledger says what was held, and a verdict that was known only at the end', async () => {
  const hold = await reserve(gate, { usd: 40n });
  const late = { budgetId: 'bud_late', limit: '5', observed: '9', requested: '9' };
  await gate.ledger.settle(hold, used(hold, 15n), [late]);
  const { rows } = await db.pool.query(
    'SELECT held_nanousd AS held, cost_nanousd AS cost, shadow_verdicts AS shadows FROM attempts WHERE id = $1',
    [hold.id],
  );
  expect(rows).toEqual([{ held: 40n, cost: 15n, shadows: [late] }]);
});

test('what no budget can count is refused by itself, before it could spoil the sums of its neighbours', async () => {
  await budgetOf({ limit: null });
  const [huge, small] = await Promise.allSettled([
    reserve(gate, { usd: 10n ** 15n + 1n, tokens: 1n }),
    reserve(gate, { usd: 1n }),
  ]);
  expect(huge).toMatchObject({ status: 'rejected', reason: { code: 'invalid_argument' } });
  expect(small.status).toBe('fulfilled');
  const most = await Promise.allSettled(
    Array.from({ length: 500 }, () => reserve(gate, { usd: 10n ** 15n, tokens: 1n })),
  );
  expect(most.filter(({ status }) => status === 'fulfilled')).toHaveLength(500);
});

test('a settlement that the database gave up for the sake of another is tried again', async () => {
  const [one, two] = [await budgetOf({ limit: 100n }), await budgetOf({ limit: 100n })].sort((a, b) =>
    a.id < b.id ? -1 : 1,
  );
  const hold = await reserve(gate, { usd: 10n });
  const other = await db.pool.connect();
  await other.query('BEGIN');
  await other.query('SELECT FROM budget_counters WHERE budget_id = $1 FOR UPDATE', [two?.id]);
  const settled = gate.ledger.settle(hold, used(hold, 4n));
  await new Promise((resolve) => {
    setTimeout(resolve, 100);
  });
  // Against the order in which everybody else locks: one of both must give up.
  await other.query('SELECT FROM budget_counters WHERE budget_id = $1 FOR UPDATE', [one?.id]).catch(() => undefined);
  await other.query('ROLLBACK');
  other.release();
  await settled.catch(() => undefined);
  await gate.ledger.stop(5_000);
  for (const budget of [one, two])
    expect(await counters(db.pool, budget?.id ?? '')).toMatchObject([{ posted: 4n, held: 0n }]);
});

test('a caller who is refused again and again is decided apart, and everybody else as before', async () => {
  await budgetOf({ limit: 1_000n });
  const refused = { agentId: 'agt_refused', keyId: 'key_refused' };
  for (let round = 0; round < 3; round++) {
    const outcomes = await Promise.allSettled([
      reserve(gate, { usd: 5_000n, attempt: refused }),
      ...Array.from({ length: 20 }, () => reserve(gate, { usd: 1n })),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'rejected',
      ...Array.from({ length: 20 }, () => 'fulfilled'),
    ]);
  }
  // Its calls that fit are let in all the same.
  await expect(reserve(gate, { usd: 1n, attempt: refused })).resolves.toBeDefined();
});
