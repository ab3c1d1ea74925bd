import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../../test/support/database.ts';
import { type FaultyLink, openFaultyLink } from '../../../../test/support/faulty-link.ts';
import {
  type Gate,
  agentId,
  makeBudget,
  openGate,
  reserve,
  seedProject,
  used,
} from '../../../../test/support/ledger.ts';
import { PortcullisError } from '../../base/errors.ts';
import { createPool } from '../../pg/pool.ts';
import type { BudgetRecord } from '../budget-store.ts';
import { sweepHolds } from '../instances.ts';
import { postDeadLeases } from './lease-store.ts';
import type { Hold } from '../ledger.ts';

// What relaxed durability promises, in interleavings that a seed reproduces: no limit is passed, no money is lost to a
// crash, and nothing stays held for nobody.

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
});
afterAll(() => db.drop());

interface Step {
  readonly kind: 'reserve' | 'settle' | 'release' | 'crash' | 'stall' | 'restart' | 'sweep' | 'pause';
  readonly gate: number;
  /** Of a reservation: its worst case. */
  readonly worst: number;
  /** Of a settlement: per cent of the worst case that was used; more than 100 is an overrun. */
  readonly percent: number;
  /** Chooses the hold or the agent. */
  readonly pick: number;
}

const weights = { reserve: 12, settle: 8, release: 2, crash: 1, stall: 1, restart: 1, sweep: 1, pause: 3 };

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({
      weight,
      arbitrary: fc.constant(kind as Step['kind']),
    })),
  ),
  gate: fc.nat(1),
  worst: fc.nat(40),
  percent: fc.oneof(
    { weight: 6, arbitrary: fc.nat(100) },
    { weight: 1, arbitrary: fc.integer({ min: 101, max: 300 }) },
  ),
  pick: fc.nat(999),
});

/** One process behind a link that a crash cuts for good. */
interface Process {
  readonly link: FaultyLink;
  readonly pool: Pool;
  readonly gate: Gate;
}

interface Kept {
  readonly hold: Hold;
  readonly by: Process;
  readonly caller: { readonly agentId: string | null };
  readonly budgets: readonly BudgetRecord[];
  truth: bigint | null;
}

async function start(): Promise<Process> {
  const link = await openFaultyLink(db.appUrl);
  const pool = createPool({ ...testBounds, max: 3, connectionString: link.url });
  return { link, pool, gate: await openGate(pool, undefined, 'relaxed') };
}

async function play(groups: readonly (readonly Step[])[]): Promise<void> {
  const since = await lastRow();
  await db.pool.query('UPDATE budgets SET deleted_at = now() WHERE deleted_at IS NULL');
  const none = (await makeBudget(db.pool, { limit: null })).selector;
  const budgets = [
    await makeBudget(db.pool, { limit: 5_000n }),
    await makeBudget(db.pool, { limit: 400n, selector: { ...none, agentId } }),
    await makeBudget(db.pool, { limit: 300n, mode: 'dry_run' }),
    await makeBudget(db.pool, { limit: 5_000n, unit: 'requests', window: 'run' }),
  ];
  const processes = [await start(), await start()];
  const dead: Process[] = [];
  const ending = new Set<Process>();
  const kept: Kept[] = [];
  const overruns = new Map(budgets.map(({ id }) => [id, 0n]));

  const run: Record<Step['kind'], (step: Step) => Promise<void>> = {
    reserve: async ({ gate, worst, pick }) => {
      const by = processes[gate]!;
      const mine = pick % 2 === 0;
      const caller = { agentId: mine ? agentId : null };
      const hold = await reserve(by.gate, { usd: BigInt(worst), by: caller, attempt: caller }).catch(refused);
      const counting = budgets.filter(({ selector }) => mine || selector.agentId === null);
      if (hold) kept.push({ hold, by, caller, budgets: counting, truth: null });
    },
    settle: async ({ percent, pick }) => {
      const one = open(pick);
      if (!one) return;
      one.truth = (one.hold.worst.usd * BigInt(percent)) / 100n;
      const over = one.truth - one.hold.worst.usd;
      for (const { id, unit } of one.budgets)
        if (unit === 'usd' && over > 0n) overruns.set(id, overruns.get(id)! + over);
      await one.by.gate.ledger.settle(one.hold, { ...used(one.hold, one.truth), ...one.caller }).catch(refused);
    },
    release: async ({ pick }) => {
      const one = open(pick);
      if (!one) return;
      one.truth = 0n;
      await one.by.gate.ledger.release(one.hold, { ...used(one.hold, 0n), ...one.caller }).catch(refused);
    },
    crash: async ({ gate }) => {
      const dying = processes[gate]!;
      if (ending.has(dying)) return;
      ending.add(dying);
      processes[gate] = await start();
      dying.link.cut();
      dead.push(dying);
      await db.pool.query('UPDATE instances SET stopped_at = now() WHERE id = $1', [dying.gate.instance.id]);
    },
    // A process that sleeps is taken for dead, and wakes.
    stall: async ({ gate }) => {
      const { id } = processes[gate]!.gate.instance;
      await db.pool.query('UPDATE leases SET expires_at = now() WHERE instance_id = $1', [id]);
      await postDeadLeases(db.pool, 0, 100);
    },
    restart: async ({ gate }) => {
      const leaving = processes[gate]!;
      if (ending.has(leaving)) return;
      ending.add(leaving);
      processes[gate] = await start();
      await leaving.gate.ledger.stop(5_000);
      await leaving.gate.instance.stop();
      dead.push(leaving);
    },
    sweep: async () => {
      await postDeadLeases(db.pool, 0, 100);
      await sweepHolds(db.pool);
    },
    pause: () =>
      new Promise((resolve) => {
        setTimeout(resolve, 60);
      }),
  };

  function open(pick: number): Kept | undefined {
    const open = kept.filter(({ truth, by }) => truth === null && !dead.includes(by));
    return open[pick % Math.max(1, open.length)];
  }

  for (const group of groups) {
    await Promise.all(group.map((one) => run[one.kind](one)));
    await expectWithinLimits(budgets, overruns);
  }
  for (const { gate } of processes) await gate.ledger.stop(5_000);
  for (const { gate } of processes) await gate.instance.stop();
  await postDeadLeases(db.pool, 0, 100);
  await sweepHolds(db.pool);
  await expectExact(since, kept, budgets);
  for (const { gate, link, pool } of [...processes, ...dead]) {
    await gate.ledger.stop(0);
    await pool.end();
    await link.close();
  }
}

function refused(error: unknown): null {
  if (error instanceof PortcullisError && ['budget_exceeded', 'unavailable'].includes(error.code)) return null;
  throw error;
}

async function lastRow(): Promise<bigint> {
  const { rows } = await db.pool.query<{ last: bigint }>(
    'SELECT coalesce(max(row_no), 0)::bigint AS last FROM attempts',
  );
  return rows[0]!.last;
}

interface Counter {
  readonly budget_id: string;
  readonly posted: bigint;
  readonly held: bigint;
  readonly leased: bigint;
}

async function countersOf(budgets: readonly BudgetRecord[]): Promise<Map<string, Counter>> {
  const { rows } = await db.pool.query<Counter>(
    'SELECT budget_id, posted, held, leased FROM budget_counters WHERE budget_id = ANY ($1)',
    [budgets.map(({ id }) => id)],
  );
  return new Map(rows.map((row) => [row.budget_id, row]));
}

async function expectWithinLimits(budgets: readonly BudgetRecord[], overruns: ReadonlyMap<string, bigint>) {
  const counters = await countersOf(budgets);
  for (const { id, limit, mode } of budgets) {
    const { posted, held } = counters.get(id) ?? { posted: 0n, held: 0n };
    if (mode === 'enforce') expect(posted + held).toBeLessThanOrEqual(limit! + overruns.get(id)!);
  }
}

async function expectExact(since: bigint, kept: readonly Kept[], budgets: readonly BudgetRecord[]) {
  const { rows } = await db.pool.query<{ id: string; agent_id: string | null; cost: bigint; rows: number }>(
    `SELECT id, agent_id, sum(cost_nanousd)::bigint AS cost, count(*) FILTER (WHERE corrects IS NULL)::int AS rows
     FROM attempts WHERE row_no > $1 GROUP BY id, agent_id`,
    [since],
  );
  const ledger = new Map(rows.map((row) => [row.id, row]));
  for (const row of rows) expect(row.rows).toBe(1);
  const postings = await db.pool.query<{ budget_id: string; amount: bigint }>(
    'SELECT budget_id, sum(amount)::bigint AS amount FROM lease_postings WHERE budget_id = ANY ($1) GROUP BY 1',
    [budgets.map(({ id }) => id)],
  );
  const estimated = new Map(postings.rows.map(({ budget_id, amount }) => [budget_id, amount]));
  const counters = await countersOf(budgets);
  for (const { id, unit, selector } of budgets.filter((budget) => budget.unit === 'usd')) {
    const counted = kept.filter((one) => one.budgets.some((budget) => budget.id === id));
    // Rows of calls that were refused are among them: their commit was in doubt when their process died.
    const booked = rows.reduce(
      (sum, row) => sum + (selector.agentId === null || row.agent_id !== null ? row.cost : 0n),
      0n,
    );
    const truth = counted.reduce((sum, one) => sum + (one.truth ?? 0n), 0n);
    const counter = counters.get(id) ?? { posted: 0n, held: 0n, leased: 0n };
    expect({ unit, ...counter }).toMatchObject({ posted: booked + (estimated.get(id) ?? 0n), held: 0n, leased: 0n });
    // Overruns of a process that died with them are the one thing that nobody can know.
    const isTold = (one: Kept) => (ledger.get(one.hold.id)?.cost ?? 0n) === one.truth;
    const unknown = counted.reduce((sum, one) => sum + (isTold(one) ? 0n : overrunOf(one)), 0n);
    expect(counter.posted).toBeGreaterThanOrEqual(truth - unknown);
  }
}

function overrunOf({ truth, hold }: Kept): bigint {
  const over = (truth ?? 0n) - hold.worst.usd;
  return over > 0n ? over : 0n;
}

test('whatever two relaxed processes do at once, limits hold, and no crash loses money', async () => {
  const groups = fc.array(fc.array(step, { minLength: 1, maxLength: 12 }), { minLength: 3, maxLength: 14 });
  const property = fc.asyncProperty(groups, play);
  await expect(fc.assert(property, { numRuns: 20, endOnFailure: true })).resolves.toBeUndefined();
}, 240_000);
