import type { Pool } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../../test/support/database.ts';
import { type FaultyLink, openFaultyLink } from '../../../../test/support/faulty-link.ts';
import {
  type Gate,
  counters,
  makeBudget,
  openGate,
  reserve,
  runId,
  seedProject,
  used,
} from '../../../../test/support/ledger.ts';
import type { Clock } from '../../base/clock.ts';
import { leaseMs } from '../../base/limits.ts';
import { createPool } from '../../pg/pool.ts';
import type { BudgetRecord } from '../budget-store.ts';
import type { Hold } from '../ledger.ts';
import { postDeadLeases } from './lease-store.ts';

/** Real time that a test can move on. */
class ShiftedClock implements Clock {
  aheadMs = 0;
  now = () => Date.now() + this.aheadMs;
  monotonic = () => performance.now() + this.aheadMs;
}

let db: TestDatabase;
let link: FaultyLink;
let pool: Pool;
let budget: BudgetRecord;
let clock: ShiftedClock;
let gate: Gate;

beforeEach(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  link = await openFaultyLink(db.appUrl);
  pool = createPool({ ...testBounds, connectionString: link.url });
  budget = await makeBudget(db.pool, { limit: 100_000n });
  clock = new ShiftedClock();
  gate = await openGate(pool, clock, 'relaxed');
});
afterEach(async () => {
  link.mend();
  await gate.ledger.stop(5_000);
  await pool.end();
  await link.close();
  await db.drop();
});

/** As if the server ran for long. */
const sweep = () => postDeadLeases(db.pool, 0, 100);

const isLeased = ({ place }: Hold) => 'leased' in place;

/** A hold that is made in memory, which the first ones are not. */
async function leasedHold(usd: bigint, of: Gate = gate): Promise<Hold> {
  for (;;) {
    const hold = await reserve(of, { usd });
    if (isLeased(hold)) return hold;
    await of.ledger.release(hold, used(hold, 0n));
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}

async function sums(): Promise<{ posted: bigint; held: bigint; leased: bigint; rows: bigint; postings: bigint }> {
  const { rows } = await db.pool.query(
    `SELECT c.posted, c.held, c.leased,
            (SELECT coalesce(sum(cost_nanousd), 0)::bigint FROM attempts) AS rows,
            (SELECT coalesce(sum(amount), 0)::bigint FROM lease_postings) AS postings
     FROM budget_counters c WHERE budget_id = $1`,
    [budget.id],
  );
  return rows[0];
}

describe('a relaxed project', () => {
  test('holds in memory once a slice is leased, and its slice is held on the counter all the while', async () => {
    const hold = await leasedHold(10n);
    const { held, leased } = await sums();
    expect(held).toBe(leased);
    expect(leased).toBeGreaterThanOrEqual(10n);
    expect(leased).toBeLessThanOrEqual(1_000n);
    await gate.ledger.settle(hold, used(hold, 7n));
    await expect.poll(sums).toMatchObject({ posted: 7n, rows: 7n });
    await gate.ledger.stop(5_000);
    expect(await sums()).toEqual({ posted: 7n, held: 0n, leased: 0n, rows: 7n, postings: 0n });
  });

  test('posts what was used beyond the hold, as an overrun', async () => {
    const hold = await leasedHold(10n);
    await gate.ledger.settle(hold, used(hold, 5_000n));
    await expect.poll(sums).toMatchObject({ posted: 5_000n });
    const { rows } = await db.pool.query('SELECT overrun, held_nanousd AS held FROM attempts WHERE id = $1', [hold.id]);
    expect(rows).toEqual([{ overrun: true, held: 10n }]);
  });

  test('counts a call on a budget without a limit, and on its tokens and requests', async () => {
    const none = await makeBudget(db.pool, { limit: null, unit: 'requests', window: 'run' });
    await gate.reload();
    const hold = await leasedHold(10n);
    await gate.ledger.settle(hold, used(hold, 4n));
    await expect.poll(() => counters(db.pool, none.id)).toMatchObject([{ window_key: runId, posted: 1n, held: 0n }]);
  });

  test('takes the strict path near the limit, which alone refuses, and is never let over it', async () => {
    const small = await makeBudget(db.pool, { limit: 100n });
    await gate.reload();
    const holds: Hold[] = [];
    const refused: unknown[] = [];
    for (let i = 0; i < 30; i++) {
      await reserve(gate, { usd: 5n }).then(
        (hold) => holds.push(hold),
        (error: unknown) => refused.push(error),
      );
    }
    const [counter] = await counters(db.pool, small.id);
    expect((counter?.posted ?? 0n) + (counter?.held ?? 0n)).toBeLessThanOrEqual(100n);
    expect(holds.length * 5).toBeLessThanOrEqual(100);
    // One slice of one call may be outstanding, unused.
    expect(holds.length).toBeGreaterThanOrEqual(19);
    expect(refused[0]).toMatchObject({ code: 'budget_exceeded' });
    await Promise.all(holds.map((hold) => gate.ledger.release(hold, used(hold, 0n))));
  });

  test('leases nothing for a call that is refused, nor for one that is dear against the limit', async () => {
    const other = await openGate(db.pool, undefined, 'relaxed');
    for (let i = 0; i < 3; i++)
      await expect(reserve(gate, { usd: 500_000n })).rejects.toMatchObject({ code: 'budget_exceeded' });
    const dear = await reserve(gate, { usd: 50_000n });
    await gate.ledger.release(dear, used(dear, 0n));
    await new Promise((resolve) => {
      setTimeout(resolve, 150);
    });
    expect((await sums()).leased).toBe(0n);
    const whole = await reserve(other, { usd: 100_000n });
    await other.ledger.release(whole, used(whole, 0n));
    await other.ledger.stop(5_000);
  });

  test('gives its own slice back for a call that lacks it, before it refuses', async () => {
    const hold = await leasedHold(900n);
    await gate.ledger.release(hold, used(hold, 0n));
    expect((await sums()).leased).toBeGreaterThanOrEqual(900n);
    const whole = await reserve(gate, { usd: 100_000n });
    expect(isLeased(whole)).toBe(false);
    expect(await sums()).toMatchObject({ held: 100_000n, leased: 0n });
    await gate.ledger.release(whole, used(whole, 0n));
  });

  test('holds what costs nothing without a slice, and counts it', async () => {
    const free = await reserve(gate, { usd: 0n });
    expect(isLeased(free)).toBe(true);
    await gate.ledger.settle(free, used(free, 0n));
    await expect.poll(async () => (await db.pool.query('SELECT id FROM attempts')).rows).toEqual([{ id: free.id }]);
  });

  test('is not taken off its slices by a caller who is refused again and again', async () => {
    const shared = await makeBudget(db.pool, { limit: 60_000n });
    await gate.reload();
    const hold = await leasedHold(100n);
    for (let i = 0; i < 10; i++)
      await expect(reserve(gate, { usd: 70_000n })).rejects.toMatchObject({ code: 'budget_exceeded' });
    const next = await reserve(gate, { usd: 100n });
    expect(isLeased(next)).toBe(true);
    await Promise.all([hold, next].map((one) => gate.ledger.release(one, used(one, 0n))));
    expect((await counters(db.pool, shared.id))[0]?.held).toBeGreaterThan(0n);
  });

  test('ends a call once, however often it is told', async () => {
    const hold = await leasedHold(10n);
    await gate.ledger.settle(hold, used(hold, 4n));
    await gate.ledger.release(hold, used(hold, 0n));
    await gate.ledger.settle(hold, used(hold, 4n));
    await gate.ledger.stop(5_000);
    expect(await sums()).toMatchObject({ posted: 4n, rows: 4n, held: 0n });
  });

  test('says of a refusal what is leased for calls to come', async () => {
    const other = await openGate(db.pool, undefined, 'relaxed');
    const hold = await leasedHold(900n, other);
    await other.ledger.release(hold, used(hold, 0n));
    await expect(reserve(gate, { usd: 100_000n })).rejects.toMatchObject({
      message: expect.stringMatching(/of it leased for calls to come.*try again soon/) as string,
      members: { retryAfterS: 1 },
    });
    await other.ledger.stop(5_000);
  });

  test('is strict where calls in flight are limited, and where a budget allows nothing', async () => {
    await makeBudget(db.pool, { limit: 2n, unit: 'concurrent_requests' });
    await gate.reload();
    const [one, two] = [await reserve(gate, { usd: 1n }), await reserve(gate, { usd: 1n })];
    expect([isLeased(one), isLeased(two)]).toEqual([false, false]);
    await expect(reserve(gate, { usd: 1n })).rejects.toMatchObject({ code: 'budget_exceeded' });
    await gate.ledger.release(one, used(one, 0n));
    await gate.ledger.settle(two, used(two, 1n));
    const zero = await makeBudget(db.pool, { limit: 0n });
    await gate.reload();
    await expect(reserve(gate, { usd: 0n })).rejects.toMatchObject({ code: 'budget_exceeded' });
    expect(await counters(db.pool, zero.id)).toMatchObject([{ posted: 0n, held: 0n }]);
  });

  test('gives back what is not used any more, and what was leased of a budget that changed', async () => {
    const hold = await leasedHold(10n);
    await gate.ledger.release(hold, used(hold, 0n));
    await db.pool.query('UPDATE budgets SET limit_amount = 5000 WHERE id = $1', [budget.id]);
    await gate.reload();
    const next = await leasedHold(10n);
    await gate.ledger.release(next, used(next, 0n));
    await expect.poll(async () => (await sums()).leased).toBeLessThanOrEqual(50n);
    clock.aheadMs += 3_500;
    await expect.poll(sums).toMatchObject({ held: 0n, leased: 0n, posted: 0n });
  });
});

describe('a process that goes silent', () => {
  test('has its slices posted whole when their time is over, and its counter is exact to the posting', async () => {
    await leasedHold(10n);
    link.cut();
    await db.pool.query(`UPDATE leases SET expires_at = now()`);
    const { leased } = await sums();
    expect(await sweep()).toBe(1);
    expect(await sums()).toEqual({ posted: leased, held: 0n, leased: 0n, rows: 0n, postings: leased });
    expect(await sweep()).toBe(0);
  });

  test('that was killed is posted as soon as it is known to have stopped', async () => {
    await leasedHold(10n);
    link.cut();
    await db.pool.query('UPDATE instances SET stopped_at = now()');
    expect(await sweep()).toBe(1);
  });

  test('and comes back tells what it spent, and the posting is taken back but for what is in flight', async () => {
    const [ended, flying] = [await leasedHold(10n), await leasedHold(10n)];
    await db.pool.query(`UPDATE leases SET expires_at = now()`);
    await sweep();
    await gate.ledger.settle(ended, used(ended, 6n));
    await expect.poll(sums).toMatchObject({ rows: 6n, postings: 10n, posted: 16n, leased: 0n });
    await gate.ledger.settle(flying, used(flying, 1n));
    await expect.poll(sums).toMatchObject({ rows: 7n, postings: 0n, posted: 7n });
    // The next call leases anew, and what it spends is not taken for what was lost.
    const next = await leasedHold(10n);
    await gate.ledger.settle(next, used(next, 9n));
    await expect.poll(sums).toMatchObject({ rows: 16n, postings: 0n, posted: 16n });
  });

  test('is not posted for the time in which the database was away', async () => {
    await leasedHold(10n);
    await db.pool.query(`UPDATE leases SET expires_at = now()`);
    // This server runs for less than an hour: an hour ago nobody could have renewed.
    expect(await postDeadLeases(db.pool, 3_600_000, 100)).toBe(0);
  });

  test('uses no hold once its slice may be taken for dead', async () => {
    const hold = await leasedHold(10n);
    hold.assertUsable();
    link.cut();
    clock.aheadMs += leaseMs;
    expect(() => hold.assertUsable()).toThrow('too old to be used');
  });
});

describe('when the database goes away', () => {
  test('calls are refused, and what was spent before is written once it is back', async () => {
    const hold = await leasedHold(10n);
    link.cut();
    await gate.ledger.settle(hold, used(hold, 3n));
    await expect
      .poll(() =>
        reserve(gate, { usd: 1n }).then(
          async (one) => gate.ledger.release(one, used(one, 0n)),
          (error: { code: string }) => error.code,
        ),
      )
      .toBe('unavailable');
    link.mend();
    await expect.poll(sums).toMatchObject({ posted: 3n, rows: 3n });
  });

  test('a flush whose acknowledgement was lost counts once', async () => {
    const hold = await leasedHold(10n);
    const sprung = link.cutAfter('COMMIT');
    await gate.ledger.settle(hold, used(hold, 3n));
    await sprung;
    await expect.poll(sums).toMatchObject({ posted: 3n, rows: 3n });
    const next = await leasedHold(10n);
    await gate.ledger.settle(next, used(next, 2n));
    await gate.ledger.stop(5_000);
    expect(await sums()).toEqual({ posted: 5n, held: 0n, leased: 0n, rows: 5n, postings: 0n });
  });

  test('an absurd claim of usage is booked as far as it can be counted, and its neighbours as they are', async () => {
    const [absurd, plain] = [await leasedHold(10n), await leasedHold(10n)];
    await Promise.all([
      gate.ledger.settle(absurd, { ...used(absurd, 2n), costUsd: 10n ** 24n }),
      gate.ledger.settle(plain, used(plain, 3n)),
    ]);
    await expect.poll(sums).toMatchObject({ posted: 10n ** 15n + 3n, rows: 10n ** 15n + 3n });
    const { rows } = await db.pool.query('SELECT overrun, provenance FROM attempts WHERE id = $1', [absurd.id]);
    expect(rows).toEqual([{ overrun: true, provenance: 'estimated' }]);
  });

  test('a row that the database refuses takes none of its neighbours with it', async () => {
    const [bad, good] = [await leasedHold(10n), await leasedHold(10n)];
    await Promise.all([
      gate.ledger.settle(bad, { ...used(bad, 2n), outcome: 'impossible' as 'success' }),
      gate.ledger.settle(good, used(good, 3n)),
    ]);
    await expect.poll(sums).toMatchObject({ posted: 5n, rows: 3n });
  });
});
