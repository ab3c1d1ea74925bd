import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import {
  type Gate,
  agentId,
  counters,
  makeBudget,
  openGate,
  reserve,
  runId,
  seedProject,
  used,
} from '../../../test/support/ledger.ts';
import type { Attempt } from './model.ts';

let db: TestDatabase;
let gate: Gate;

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  gate = await openGate(db.pool);
});
afterAll(() => db.drop());
beforeEach(async () => {
  await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE deleted_at IS NULL');
  gate = await openGate(db.pool);
});

async function budgetOf(budget: Parameters<typeof makeBudget>[1]) {
  const made = await makeBudget(db.pool, budget);
  await gate.reload();
  return made;
}

async function ledgerRows(id: string): Promise<Record<string, unknown>[]> {
  const { rows } = await db.pool.query<Record<string, unknown>>(
    'SELECT * FROM attempts WHERE id = $1 ORDER BY row_no',
    [id],
  );
  return rows;
}

async function refusalOf(promise: Promise<unknown>) {
  return promise.then(
    () => {
      throw new Error('it was admitted');
    },
    (error: unknown) => error,
  );
}

test('of 500 calls at once on a budget for 100, exactly 100 are admitted', async () => {
  const budget = await budgetOf({ limit: 1_000n });
  const outcomes = await Promise.allSettled(Array.from({ length: 500 }, () => reserve(gate, { usd: 10n })));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(100);
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 1_000n, posted: 0n }]);
});

test('a settled call leaves its true cost and gives the rest back', async () => {
  const budget = await budgetOf({ limit: 100n });
  const hold = await reserve(gate, { usd: 60n });
  await gate.ledger.settle(hold, used(hold, 25n));
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 0n, posted: 25n }]);
  expect(await ledgerRows(hold.id)).toMatchObject([
    { cost_nanousd: 25n, tokens_output: 25n, overrun: false, outcome: 'success' },
  ]);
});

test('a released call leaves nothing but its ledger row', async () => {
  const budget = await budgetOf({ unit: 'requests', limit: 5n });
  const hold = await reserve(gate, { usd: 60n });
  await gate.ledger.release(hold, { ...used(hold, 60n), outcome: 'failed', errorClass: 'upstream_error' });
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 0n, posted: 0n }]);
  expect(await ledgerRows(hold.id)).toMatchObject([{ cost_nanousd: 0n, tokens_output: 0n, outcome: 'failed' }]);
});

test('each unit counts its own: money, tokens, requests', async () => {
  const usd = await budgetOf({ unit: 'usd', limit: 1_000n });
  const tokens = await budgetOf({ unit: 'tokens', limit: 1_000n });
  const requests = await budgetOf({ unit: 'requests', limit: 1_000n });
  const hold = await reserve(gate, { usd: 50n, tokens: 70n });
  expect(await counters(db.pool, usd.id)).toMatchObject([{ held: 50n }]);
  expect(await counters(db.pool, tokens.id)).toMatchObject([{ held: 70n }]);
  expect(await counters(db.pool, requests.id)).toMatchObject([{ held: 1n }]);
  await gate.ledger.settle(hold, { ...used(hold, 30n), costUsd: 20n });
  expect(await counters(db.pool, usd.id)).toMatchObject([{ held: 0n, posted: 20n }]);
  expect(await counters(db.pool, tokens.id)).toMatchObject([{ held: 0n, posted: 30n }]);
  expect(await counters(db.pool, requests.id)).toMatchObject([{ held: 0n, posted: 1n }]);
});

test('a call is held on all its budgets or on none', async () => {
  const wide = await budgetOf({ limit: 1_000n });
  const narrow = await budgetOf({ limit: 15n, selector: { ...(await makeBudget(db.pool)).selector, agentId } });
  await gate.reload();
  await reserve(gate, { usd: 10n });
  await expect(reserve(gate, { usd: 10n })).rejects.toMatchObject({
    code: 'budget_exceeded',
    members: { rule: narrow.name },
  });
  expect(await counters(db.pool, wide.id)).toMatchObject([{ held: 10n }]);
  expect(await counters(db.pool, narrow.id)).toMatchObject([{ held: 10n }]);
});

describe('a refusal', () => {
  test('says which limit, what is spent, held and left, when it resets, and how to raise it', async () => {
    const budget = await budgetOf({ name: 'team', window: 'day', limit: 10_000_000_000n });
    const spent = await reserve(gate, { usd: 9_000_000_000n });
    await gate.ledger.settle(spent, used(spent, 8_000_000_000n));
    await reserve(gate, { usd: 1_500_000_000n });
    const error = await refusalOf(reserve(gate, { usd: 2_100_000_000n }));
    const midnight = new Date(new Date().setUTCHours(24, 0, 0, 0)).toISOString();
    expect(error).toMatchObject({
      code: 'budget_exceeded',
      message:
        `Budget "team" allows $10.00 a day: $8.00 spent, $1.50 held by calls in flight, ` +
        `and this call may take up to $2.10. It resets at ${midnight}; an operator can raise it before.`,
      members: {
        rule: budget.name,
        unit: 'usd',
        limit: '10.00',
        observed: '9.50',
        spent: '8.00',
        held: '1.50',
        remaining: '0.50',
        resetsAt: midnight,
      },
    });
  });

  test('by a budget per call says to ask for less', async () => {
    await budgetOf({ name: 'small calls', unit: 'tokens', window: 'attempt', limit: 1_000n });
    const error = await refusalOf(reserve(gate, { usd: 1n, tokens: 1_001n }));
    expect(error).toMatchObject({
      message:
        'Budget "small calls" allows 1000 tokens a call, and this call may take up to 1001 tokens; ask for less output, or have an operator raise it.',
      members: { unit: 'tokens', observed: '0', remaining: '1000' },
    });
    expect(error).not.toHaveProperty('members.resetsAt');
    await expect(reserve(gate, { usd: 1n, tokens: 1_000n })).resolves.toBeDefined();
  });

  test('by a limit of 0 is a denial, even of a free call', async () => {
    await budgetOf({ name: 'closed', limit: 0n });
    await expect(reserve(gate, { usd: 0n })).rejects.toThrow(
      'Budget "closed" is 0 and denies this call; an operator can raise it.',
    );
  });

  test('names the limit that ends last, since waiting for the other would not help', async () => {
    await budgetOf({ name: 'hourly', window: 'hour', limit: 5n });
    await budgetOf({ name: 'ever', window: 'lifetime', limit: 5n });
    const spent = await reserve(gate, { usd: 2n });
    await gate.ledger.settle(spent, used(spent, 2n));
    await expect(reserve(gate, { usd: 4n })).rejects.toMatchObject({ members: { rule: 'ever' } });
  });

  test('is recorded in the ledger without any cost', async () => {
    const refused: Attempt = {
      ...used(await reserve(gate, { usd: 1n }), 9n),
      id: 'att_refused',
      outcome: 'budget',
      rule: 'team',
    };
    gate.ledger.recordRefusal(refused);
    await gate.ledger.stop(1_000);
    expect(await ledgerRows('att_refused')).toMatchObject([{ outcome: 'budget', rule: 'team', cost_nanousd: 0n }]);
  });
});

test('a budget without a limit only counts', async () => {
  const budget = await budgetOf({ limit: null });
  await reserve(gate, { usd: 10n ** 15n });
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 10n ** 15n }]);
});

test('a dry-run budget counts, says what it would have refused, and refuses nothing', async () => {
  const shadow = await budgetOf({ mode: 'dry_run', limit: 15n });
  const first = await reserve(gate, { usd: 10n });
  const second = await reserve(gate, { usd: 10n });
  expect(first.shadowVerdicts).toEqual([]);
  expect(second.shadowVerdicts).toEqual([
    { budgetId: shadow.id, limit: '0.000000015', observed: '0.00000001', requested: '0.00000001' },
  ]);
  await gate.ledger.settle(second, used(second, 10n));
  expect(await ledgerRows(second.id)).toMatchObject([{ shadow_verdicts: second.shadowVerdicts }]);
  expect(await counters(db.pool, shadow.id)).toMatchObject([{ held: 10n, posted: 10n }]);
});

test('an overrun is flagged and blocks the next call, though that asks for nothing', async () => {
  const budget = await budgetOf({ limit: 100n });
  const hold = await reserve(gate, { usd: 90n });
  await gate.ledger.settle(hold, used(hold, 120n));
  expect(await ledgerRows(hold.id)).toMatchObject([{ overrun: true, cost_nanousd: 120n }]);
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 0n, posted: 120n }]);
  await expect(reserve(gate, { usd: 0n })).rejects.toMatchObject({ members: { remaining: '0.00' } });
});

test('fees that no usage reports are settled in full, as an estimate', async () => {
  const budget = await budgetOf({ limit: 1_000n });
  const hold = await reserve(gate, { usd: 500n, worst: { feesUsd: 80n } });
  await gate.ledger.settle(hold, used(hold, 100n));
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 0n, posted: 180n }]);
  expect(await ledgerRows(hold.id)).toMatchObject([{ cost_nanousd: 180n, provenance: 'estimated', overrun: false }]);
});

test('usage beyond what nobody had to bound is no overrun', async () => {
  const hold = await reserve(gate, { usd: 1n, worst: { bounded: false } });
  await gate.ledger.settle(hold, used(hold, 5n));
  expect(await ledgerRows(hold.id)).toMatchObject([{ cost_nanousd: 5n, overrun: false }]);
});

test('a settlement that offends the database fails alone', async () => {
  const budget = await budgetOf({ limit: null });
  const [one, other] = await Promise.all([reserve(gate, { usd: 1n }), reserve(gate, { usd: 1n })]);
  const outcomes = await Promise.allSettled([
    gate.ledger.settle(one, { ...used(one, 1n), outcome: 'impossible' as 'success' }),
    gate.ledger.settle(other, used(other, 1n)),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 1n, posted: 1n }]);
});

test('a changed limit decides the very next hold, before the control feed has told anybody', async () => {
  const budget = await budgetOf({ limit: 10n });
  await expect(reserve(gate, { usd: 11n })).rejects.toMatchObject({ code: 'budget_exceeded' });
  await db.pool.query('UPDATE budgets SET limit_amount = 11 WHERE id = $1', [budget.id]);
  await expect(reserve(gate, { usd: 11n })).resolves.toBeDefined();
  await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE id = $1', [budget.id]);
  await expect(reserve(gate, { usd: 11n })).resolves.toMatchObject({ shadowVerdicts: [] });
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 11n }]);
});

test('a budget per run gives each run its own window, and counts no call outside a run', async () => {
  const budget = await budgetOf({ window: 'run', limit: 10n });
  await reserve(gate, { usd: 10n });
  await reserve(gate, { usd: 10n, by: { runId: 'run_other' }, attempt: { runId: 'run_other' } });
  await reserve(gate, { usd: 99n, by: { runId: null }, attempt: { runId: null } });
  await expect(reserve(gate, { usd: 1n })).rejects.toThrow(' a run: ');
  expect(await counters(db.pool, budget.id)).toMatchObject([
    { window_key: 'run_other', held: 10n },
    { window_key: runId, held: 10n },
  ]);
});

test('a call that no budget counts has a hold all the same, and every hold ends once', async () => {
  const hold = await reserve(gate, { usd: 5n });
  const settled = used(hold, 5n);
  await Promise.all([gate.ledger.settle(hold, settled), gate.ledger.settle(hold, settled)]);
  await gate.ledger.release(hold, settled);
  const { rows } = await db.pool.query('SELECT state FROM holds WHERE id = $1', [hold.id]);
  expect(rows).toEqual([]);
  expect(await ledgerRows(hold.id)).toHaveLength(1);
});

test('text that PostgreSQL cannot keep spoils neither its row nor its neighbours', async () => {
  const awkward = { modelAsked: `a\0b\uD800${'x'.repeat(1_000_000)}`, clientSession: '\\u0000' };
  const holds = await Promise.all([reserve(gate, { usd: 1n, attempt: awkward }), reserve(gate, { usd: 1n })]);
  const [first] = holds;
  await Promise.all(holds.map((hold) => gate.ledger.settle(hold, { ...used(hold, 1n), ...awkward })));
  const [row] = await ledgerRows(first.id);
  expect(row).toMatchObject({ client_session: '\\u0000' });
  expect(row?.['model_asked']).toMatch(/^a\uFFFDb\uFFFDx{196}$/);
});

test('what offends the database in one call fails that call alone', async () => {
  const budget = await budgetOf({ limit: null });
  const id = 'att_twice';
  const outcomes = await Promise.allSettled([
    reserve(gate, { usd: 1n }),
    reserve(gate, { usd: 10n, attempt: { id } }),
    reserve(gate, { usd: 100n, attempt: { id } }),
    reserve(gate, { usd: 1_000n }),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
  expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 1_011n }]);
});

test('a counter that is gone refuses its calls instead of letting them through, and is made anew', async () => {
  const budget = await budgetOf({ limit: 10n });
  await reserve(gate, { usd: 1n });
  const owner = new Client({ connectionString: db.ownerUrl });
  await owner.connect();
  await owner.query('DELETE FROM budget_counters WHERE budget_id = $1', [budget.id]);
  await owner.end();
  await expect(reserve(gate, { usd: 1n })).rejects.toMatchObject({ code: 'internal' });
  await expect(reserve(gate, { usd: 1n })).resolves.toBeDefined();
});

test('a worst case that no counter can hold is refused by name', async () => {
  await expect(reserve(gate, { usd: 10n ** 30n })).rejects.toMatchObject({ code: 'invalid_argument' });
});

test('the role of the application can neither change nor delete a ledger row', async () => {
  const hold = await reserve(gate, { usd: 1n });
  await gate.ledger.settle(hold, used(hold, 1n));
  await expect(db.pool.query('UPDATE attempts SET cost_nanousd = 0')).rejects.toThrow('permission denied');
  await expect(db.pool.query('DELETE FROM attempts')).rejects.toThrow('permission denied');
});
