import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { type Gate, agentId, makeBudget, openGate, reserve, seedProject, used } from '../../../test/support/ledger.ts';
import { PortcullisError } from '../base/errors.ts';
import { createPool } from '../pg/pool.ts';
import type { BudgetRecord } from './budget-store.ts';
import { sweepHolds } from './instances.ts';
import type { Hold } from './ledger.ts';

// What the specification of the ledger asks to be shown, in thousands of interleavings that a seed reproduces.

let db: TestDatabase;
let pools: Pool[];

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  pools = [1, 2].map(() => createPool({ ...testBounds, max: 4, connectionString: db.appUrl }));
});
afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.end()));
  await db.drop();
});

interface Step {
  readonly kind: 'reserve' | 'settle' | 'release' | 'crash' | 'sweep';
  /** Which process acts. */
  readonly gate: number;
  /** Of a reservation: its worst case. */
  readonly worst: number;
  /** Of a settlement: per cent of the worst case that was used; more than 100 is an overrun. */
  readonly percent: number;
  /** Chooses the hold or the agent. */
  readonly pick: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constant('reserve' as const) },
    { weight: 5, arbitrary: fc.constant('settle' as const) },
    { weight: 2, arbitrary: fc.constant('release' as const) },
    { weight: 1, arbitrary: fc.constant('crash' as const) },
    { weight: 1, arbitrary: fc.constant('sweep' as const) },
  ),
  gate: fc.nat(1),
  worst: fc.nat(60),
  percent: fc.oneof(
    { weight: 6, arbitrary: fc.nat(100) },
    { weight: 1, arbitrary: fc.integer({ min: 101, max: 300 }) },
  ),
  pick: fc.nat(999),
});

/** What the test itself keeps of every hold, as a provider's own record would. */
interface Kept {
  readonly hold: Hold;
  readonly gate: number;
  readonly budgets: readonly BudgetRecord[];
  truth: bigint | null;
  released: boolean;
  crashed: boolean;
}

function refusedByBudget(error: unknown): null {
  if (error instanceof PortcullisError && error.code === 'budget_exceeded') return null;
  throw error;
}

/** Two processes on some budgets. Every play has a run of its own, and so its own windows. */
interface Stage {
  readonly budgets: readonly BudgetRecord[];
  readonly gates: Gate[];
}

async function stage(): Promise<Stage> {
  await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE deleted_at IS NULL');
  const none = (await makeBudget(db.pool, { limit: null })).selector;
  const budgets = [
    await makeBudget(db.pool, { limit: 300n, window: 'run' }),
    await makeBudget(db.pool, { limit: 150n, window: 'run', selector: { ...none, agentId } }),
    await makeBudget(db.pool, { limit: 80n, window: 'run', mode: 'dry_run' }),
    await makeBudget(db.pool, { limit: 12n, window: 'run', unit: 'requests' }),
    await makeBudget(db.pool, { limit: 6n, window: 'run', unit: 'concurrent_requests' }),
    await makeBudget(db.pool, { limit: 55n, window: 'attempt' }),
  ];
  return { budgets, gates: [await openGate(pools[0]!), await openGate(pools[1]!)] };
}

let plays = 0;

/** Runs the steps, several at a time; then looks at nothing but the database. */
async function play({ budgets, gates }: Stage, groups: readonly (readonly Step[])[]): Promise<void> {
  const runId = `run_play_${++plays}`;
  const kept: Kept[] = [];
  const overruns = new Map(budgets.map(({ id }) => [id, 0n]));

  const run: Record<Step['kind'], (step: Step) => Promise<void>> = {
    reserve: async ({ gate, worst, pick }) => {
      const mine = pick % 2 === 0;
      const asked = { usd: BigInt(worst), by: { runId, ...(!mine && { agentId: null }) }, attempt: { runId } };
      const hold = await reserve(gates[gate]!, asked).catch(refusedByBudget);
      const counting = budgets.filter(({ selector }) => mine || selector.agentId === null);
      if (hold) kept.push({ hold, gate, budgets: counting, truth: null, released: false, crashed: false });
    },
    settle: async ({ percent, pick }) => {
      const one = pickOpen(pick);
      if (!one) return;
      const { hold, gate } = one;
      one.truth = (hold.worst.usd * BigInt(percent)) / 100n;
      const over = one.truth - hold.worst.usd;
      for (const { id, unit } of one.budgets)
        if (unit === 'usd' && over > 0n) overruns.set(id, overruns.get(id)! + over);
      await gates[gate]!.ledger.settle(hold, used(hold, one.truth));
    },
    release: async ({ pick }) => {
      const one = pickOpen(pick);
      if (!one) return;
      one.truth = 0n;
      one.released = true;
      await gates[one.gate]!.ledger.release(one.hold, used(one.hold, 0n));
    },
    // A process is killed: what it holds, nobody ends. Another takes its place.
    crash: async ({ gate }) => {
      const dying = gates[gate]!;
      for (const one of kept) if (one.gate === gate && one.truth === null) one.crashed = true;
      gates[gate] = await openGate(pools[gate]!);
      await dying.instance.stop();
    },
    sweep: async ({ gate }) => {
      await sweepHolds(pools[gate]!);
    },
  };

  function pickOpen(pick: number): Kept | undefined {
    const open = kept.filter((one) => one.truth === null && !one.crashed);
    return open[pick % Math.max(1, open.length)];
  }

  for (const group of groups) {
    await Promise.all(group.map((one) => run[one.kind](one)));
    await expectWithinLimits(runId, budgets, overruns);
  }
  while (pickOpen(0)) await run.settle({ kind: 'settle', gate: 0, worst: 0, percent: 50, pick: 0 });
  await sweepHolds(pools[0]!);
  await expectExact(runId, kept, budgets);
}

async function countersOf(runId: string, budgets: readonly BudgetRecord[]) {
  const { rows } = await db.pool.query<{ budget_id: string; posted: bigint; held: bigint }>(
    'SELECT budget_id, posted, held FROM budget_counters WHERE budget_id = ANY ($1) AND window_key = $2',
    [budgets.map(({ id }) => id), runId],
  );
  return new Map(rows.map((row) => [row.budget_id, row]));
}

/** Invariant 1: nothing is over its limit but by recorded overruns. */
async function expectWithinLimits(
  runId: string,
  budgets: readonly BudgetRecord[],
  overruns: ReadonlyMap<string, bigint>,
) {
  const counters = await countersOf(runId, budgets);
  for (const { id, limit, mode } of budgets) {
    const { posted, held } = counters.get(id) ?? { posted: 0n, held: 0n };
    if (mode === 'enforce') expect(posted + held).toBeLessThanOrEqual(limit! + overruns.get(id)!);
  }
}

/** Invariants 3, 4 and 5: every hold ended once, nothing is held for nobody, and all sums agree to the unit. */
async function expectExact(runId: string, kept: readonly Kept[], budgets: readonly BudgetRecord[]) {
  const ids = kept.map(({ hold }) => hold.id);
  const holds = await db.pool.query<{ id: string; state: string }>('SELECT id, state FROM holds WHERE id = ANY ($1)', [
    ids,
  ]);
  // What ended is gone; what a crash left is posted, until somebody tells the truth about it.
  const crashed = new Set(kept.filter(({ truth }) => truth === null).map(({ hold }) => hold.id));
  expect(holds.rows.filter(({ id, state }) => state !== 'posted' || !crashed.has(id))).toEqual([]);

  const ledger = await db.pool.query<{ id: string; cost: bigint; rows: number }>(
    `SELECT id, sum(cost_nanousd)::bigint AS cost, count(*) FILTER (WHERE corrects IS NULL)::int AS rows
     FROM attempts WHERE id = ANY ($1) GROUP BY id`,
    [ids],
  );
  const costs = new Map(ledger.rows.map((row) => [row.id, row]));
  const trueCost = ({ truth, hold }: Kept) => truth ?? hold.worst.usd;
  for (const one of kept) expect(costs.get(one.hold.id)).toMatchObject({ rows: 1, cost: trueCost(one) });

  const counters = await countersOf(runId, budgets);
  for (const { id, unit, window } of budgets) {
    if (window === 'attempt') continue;
    const counted = kept.filter((one) => one.budgets.some((budget) => budget.id === id));
    const expected = counted.reduce((sum, one) => {
      if (unit === 'usd') return sum + trueCost(one);
      if (unit === 'concurrent_requests') return 0n;
      return one.released ? sum : sum + 1n;
    }, 0n);
    expect(counters.get(id) ?? { posted: 0n, held: 0n }).toMatchObject({ posted: expected, held: 0n });
  }
}

test('whatever two processes do at once, limits hold and every sum is exact in the end', async () => {
  const groups = fc.array(fc.array(step, { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 12 });
  const on = await stage();
  const property = fc.asyncProperty(groups, (steps) => play(on, steps));
  await expect(fc.assert(property, { numRuns: 60, endOnFailure: true })).resolves.toBeUndefined();
}, 120_000);

test('and so in thousands of short plays, many of them at once', async () => {
  const calm = step.filter(({ kind }) => kind !== 'crash');
  const groups = fc.array(fc.array(calm, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 4 });
  const on = await stage();
  const plays = fc.sample(groups, 2_000).values();
  const player = async () => {
    for (const steps of plays) {
      await play(on, steps).catch((error: Error) => {
        throw new Error(`${error.message}\nin ${JSON.stringify(steps)}`, { cause: error });
      });
    }
  };
  await expect(Promise.all(Array.from({ length: 25 }, player))).resolves.toBeDefined();
}, 120_000);

test('two processes on the same budgets neither deadlock nor lose an increment', async () => {
  await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE deleted_at IS NULL');
  const budgets = [];
  for (let i = 0; i < 6; i++)
    budgets.push(await makeBudget(db.pool, { limit: null, window: i % 2 === 0 ? 'run' : 'day' }));
  const gates = await Promise.all(pools.map((pool) => openGate(pool)));
  const calls = Array.from({ length: 1_500 }, async (_, i) => {
    const gate = gates[i % 2]!;
    const runId = `run_${i % 7}`;
    await new Promise((resolve) => {
      setTimeout(resolve, (i * 37) % 200);
    });
    const hold = await reserve(gate, { usd: 10n, by: { runId }, attempt: { runId } });
    if (i % 3 === 0) await gate.ledger.release(hold, used(hold, 0n));
    else await gate.ledger.settle(hold, used(hold, 7n));
  });
  await Promise.all(calls);
  const { rows } = await db.pool.query<{ posted: bigint; held: bigint }>(
    'SELECT sum(posted)::bigint AS posted, sum(held)::bigint AS held FROM budget_counters WHERE budget_id = ANY ($1)',
    [budgets.map(({ id }) => id)],
  );
  expect(rows).toEqual([{ posted: 6n * 1_000n * 7n, held: 0n }]);
  const stats = await db.pool.query<{ deadlocks: bigint }>(
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  );
  expect(stats.rows).toEqual([{ deadlocks: 0n }]);
});

test('two processes admit together exactly what one limit allows', async () => {
  await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE deleted_at IS NULL');
  await makeBudget(db.pool, { limit: 1_000n });
  const gates = await Promise.all(pools.map((pool) => openGate(pool)));
  const outcomes = await Promise.allSettled(Array.from({ length: 600 }, (_, i) => reserve(gates[i % 2]!, { usd: 7n })));
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(142);
});
