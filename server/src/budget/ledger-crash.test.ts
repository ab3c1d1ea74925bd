import type { Pool } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { type FaultyLink, openFaultyLink } from '../../../test/support/faulty-link.ts';
import { type Gate, counters, makeBudget, openGate, reserve, seedProject, used } from '../../../test/support/ledger.ts';
import type { Clock } from '../base/clock.ts';
import { holdGraceMs, instanceDeadMs, settleQueueMax } from '../base/limits.ts';
import { createPool } from '../pg/pool.ts';
import type { BudgetRecord } from './budget-store.ts';
import { sweepHolds } from './instances.ts';
import { postDeadHolds } from './late-holds-store.ts';

const alreadyOver = { deadlineMs: -holdGraceMs - 1 };

let db: TestDatabase;
let budget: BudgetRecord;
let gate: Gate;

beforeEach(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  budget = await makeBudget(db.pool, { limit: 1_000n });
  gate = await openGate(db.pool);
});
afterEach(() => db.drop());

async function ledgerOf(id: string) {
  const { rows } = await db.pool.query<{
    cost_nanousd: bigint;
    tokens_output: bigint;
    provenance: string;
    outcome: string;
  }>(
    `SELECT cost_nanousd, tokens_output, provenance, outcome, error_class, corrects FROM attempts WHERE id = $1 ORDER BY row_no`,
    [id],
  );
  return rows;
}

async function stateOf(id: string): Promise<string | undefined> {
  const { rows } = await db.pool.query<{ state: string }>('SELECT state FROM holds WHERE id = $1', [id]);
  return rows[0]?.state;
}

describe('a hold that nobody ended', () => {
  test('is posted all the same when the release before left it, whose rows have no notional cost', async () => {
    const hold = await reserve(gate, { usd: 40n, ...alreadyOver });
    await db.pool.query(`UPDATE holds SET crash_row = (crash_row::jsonb - 'notional_nanousd')::json`);
    expect(await sweepHolds(db.pool)).toBe(1);
    await gate.ledger.settle(hold, { ...used(hold, 30n), notionalUsd: 9n });
    const { rows } = await db.pool.query('SELECT notional_nanousd AS notional FROM attempts ORDER BY row_no');
    expect(rows).toEqual([{ notional: 0n }, { notional: 9n }]);
  });

  test('is posted at its worst case when its deadline passes, as a crash that is estimated', async () => {
    const hold = await reserve(gate, { usd: 40n, ...alreadyOver });
    const alive = await reserve(gate, { usd: 7n });
    expect(await sweepHolds(db.pool)).toBe(1);
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 40n, held: 7n }]);
    expect(await ledgerOf(hold.id)).toEqual([
      {
        cost_nanousd: 40n,
        tokens_output: 40n,
        provenance: 'estimated',
        outcome: 'failed',
        error_class: 'crash',
        corrects: null,
      },
    ]);
    expect(await stateOf(alive.id)).toBe('held');
  });

  test('is posted when its process stopped, and one of a living process is not', async () => {
    const other = await openGate(db.pool);
    const [dead, alive] = await Promise.all([reserve(other, { usd: 1n }), reserve(gate, { usd: 2n })]);
    await other.instance.stop();
    await sweepHolds(db.pool);
    expect([await stateOf(dead.id), await stateOf(alive.id)]).toEqual(['posted', 'held']);
  });

  test('is posted when its process was not seen for long, but not for the time in which the database was away', async () => {
    const other = await openGate(db.pool);
    const hold = await reserve(other, { usd: 1n });
    await db.pool.query(`UPDATE instances SET seen_at = now() - interval '1 day' WHERE id = $1`, [other.instance.id]);
    // This server runs for less than an hour: an hour ago nobody could have been seen.
    expect(await postDeadHolds(db.pool, 3_600_000, 100)).toEqual([]);
    await gate.instance.beat();
    await db.pool.query('SELECT pg_sleep(0.05)');
    await gate.instance.beat();
    expect(await postDeadHolds(db.pool, 40, 100)).toEqual([hold.id]);
  });

  test('is posted at once where the data directory has one owner, though its process was seen a moment ago', async () => {
    const other = await openGate(db.pool);
    const [dead, own] = await Promise.all([reserve(other, { usd: 1n }), reserve(gate, { usd: 2n })]);
    await gate.instance.buryOthers();
    await sweepHolds(db.pool);
    expect([await stateOf(dead.id), await stateOf(own.id)]).toEqual(['posted', 'held']);
  });

  test('is posted by one of many sweepers only', async () => {
    await Promise.all(Array.from({ length: 60 }, () => reserve(gate, { usd: 1n, ...alreadyOver })));
    const swept = await Promise.all(Array.from({ length: 4 }, () => sweepHolds(db.pool)));
    expect(swept.reduce((sum, count) => sum + count)).toBe(60);
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 60n, held: 0n }]);
  });
});

describe('the truth that arrives after the sweeper', () => {
  test('makes counter and ledger exact again by a correction', async () => {
    const requests = await makeBudget(db.pool, { unit: 'requests', limit: 10n });
    await gate.reload();
    const hold = await reserve(gate, { usd: 40n, ...alreadyOver });
    await sweepHolds(db.pool);
    await gate.ledger.settle(hold, used(hold, 15n));
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 15n, held: 0n }]);
    expect(await counters(db.pool, requests.id)).toMatchObject([{ posted: 1n, held: 0n }]);
    expect(await ledgerOf(hold.id)).toMatchObject([
      { cost_nanousd: 40n, tokens_output: 40n, provenance: 'estimated', corrects: null },
      { cost_nanousd: -25n, tokens_output: -25n, provenance: 'measured', outcome: 'success', corrects: hold.id },
    ]);
  });

  test('is told once, however often it is told', async () => {
    const hold = await reserve(gate, { usd: 40n, ...alreadyOver });
    await sweepHolds(db.pool);
    await Promise.all([gate.ledger.settle(hold, used(hold, 60n)), gate.ledger.settle(hold, used(hold, 60n))]);
    await gate.ledger.release(hold, used(hold, 0n));
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 60n, held: 0n }]);
    expect(await ledgerOf(hold.id)).toHaveLength(2);
  });

  test('gives everything back when nothing had been sent', async () => {
    const hold = await reserve(gate, { usd: 40n, ...alreadyOver });
    await sweepHolds(db.pool);
    await gate.ledger.release(hold, used(hold, 0n));
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 0n, held: 0n }]);
    expect((await ledgerOf(hold.id)).reduce((sum, row) => sum + row.cost_nanousd, 0n)).toBe(0n);
  });
});

test('a hold in doubt that was booked as a refusal and then posted is in the ledger, until it is given back', async () => {
  const hold = await reserve(gate, { usd: 40n, ...alreadyOver });
  gate.ledger.recordRefusal(used(hold, 0n));
  await expect.poll(() => ledgerOf(hold.id)).toHaveLength(1);
  await sweepHolds(db.pool);
  const booked = async () => (await ledgerOf(hold.id)).reduce((sum, row) => sum + row.cost_nanousd, 0n);
  expect([await booked(), (await counters(db.pool, budget.id))[0]?.posted]).toEqual([40n, 40n]);
  await gate.ledger.release(hold, used(hold, 0n));
  expect([await booked(), (await counters(db.pool, budget.id))[0]?.posted]).toEqual([0n, 0n]);
});

/** Real time that a test can move on. */
class ShiftedClock implements Clock {
  aheadMs = 0;
  now = () => Date.now() + this.aheadMs;
  monotonic = () => performance.now() + this.aheadMs;
}

test('usage lands in the window of its hold, and the next window begins empty', async () => {
  const daily = await makeBudget(db.pool, { window: 'day', timeZone: 'Asia/Tokyo', limit: 100n });
  const clock = new ShiftedClock();
  const shifted = await openGate(db.pool, clock);
  const hold = await reserve(shifted, { usd: 100n });
  await expect(reserve(shifted, { usd: 1n })).rejects.toMatchObject({ code: 'budget_exceeded' });
  clock.aheadMs += 86_400_000;
  const next = await reserve(shifted, { usd: 30n });
  await shifted.ledger.settle(hold, used(hold, 90n));
  await shifted.ledger.settle(next, used(next, 20n));
  const windows = await counters(db.pool, daily.id);
  expect(windows.map(({ posted, held }) => ({ posted, held }))).toEqual([
    { posted: 90n, held: 0n },
    { posted: 20n, held: 0n },
  ]);
});

test('a hold may not be used once its process slept through its deadline, or long enough to be taken for dead', async () => {
  const clock = new ShiftedClock();
  const sleepy = await openGate(db.pool, clock);
  const short = await reserve(sleepy, { usd: 1n, deadlineMs: 1_000 });
  const long = await reserve(sleepy, { usd: 1n, deadlineMs: 3_600_000 });
  short.assertUsable();
  clock.aheadMs += 1_001;
  expect(() => short.assertUsable()).toThrow('too old to be used');
  long.assertUsable();
  clock.aheadMs += instanceDeadMs;
  expect(() => long.assertUsable()).toThrow('too old to be used');
});

describe('when the database goes away', () => {
  let link: FaultyLink;
  let pool: Pool;
  let far: Gate;

  beforeEach(async () => {
    link = await openFaultyLink(db.appUrl);
    pool = createPool({ ...testBounds, connectionString: link.url });
    far = await openGate(pool);
  });
  afterEach(async () => {
    await pool.end();
    await link.close();
  });

  test('a new call is refused, and nothing is held for it', async () => {
    link.cut();
    await expect(reserve(far, { usd: 10n })).rejects.toMatchObject({
      code: 'unavailable',
      members: { retryAfterS: 1 },
    });
    link.mend();
    await far.ledger.stop(5_000);
    expect(await counters(db.pool, budget.id)).toEqual([]);
  });

  test('a call that ends is told so within two seconds, and is settled when the database is back', async () => {
    const hold = await reserve(far, { usd: 10n });
    link.cut();
    await expect(far.ledger.settle(hold, used(hold, 4n))).rejects.toThrow('could not be written in time');
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 0n, held: 10n }]);
    link.mend();
    await far.ledger.stop(10_000);
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 4n, held: 0n }]);
    expect(await ledgerOf(hold.id)).toMatchObject([{ cost_nanousd: 4n, provenance: 'measured' }]);
  });

  test('a flood of refusals takes no place of a settlement that waits', async () => {
    const hold = await reserve(far, { usd: 10n });
    link.cut();
    const refused = used(hold, 0n);
    for (let i = 0; i < settleQueueMax + 1_000; i++) far.ledger.recordRefusal({ ...refused, id: `att_flood_${i}` });
    await expect(far.ledger.settle(hold, used(hold, 4n))).rejects.toThrow('could not be written in time');
    link.mend();
    await far.ledger.stop(20_000);
    expect(await stateOf(hold.id)).toBeUndefined();
  });

  test('a hold whose commit is in doubt is given back, since the caller was told no', async () => {
    await reserve(far, { usd: 1n });
    const sprung = link.cutAfter('commit batch');
    const id = 'att_doubt';
    await expect(reserve(far, { usd: 10n, attempt: { id } })).rejects.toMatchObject({ code: 'unavailable' });
    await sprung;
    await far.ledger.stop(5_000);
    expect(await stateOf(id)).toBe('abandoned');
    expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 1n }]);
  });

  test('a hold that is granted after its caller gave up is given back', async () => {
    const patient = createPool({ ...testBounds, lockMs: 15_000, connectionString: db.appUrl });
    const slow = await openGate(patient);
    await reserve(slow, { usd: 1n });
    const blocker = await db.pool.connect();
    await blocker.query('BEGIN');
    await blocker.query('SELECT 1 FROM budget_counters WHERE budget_id = $1 FOR UPDATE', [budget.id]);
    const id = 'att_late';
    await expect(reserve(slow, { usd: 10n, attempt: { id } })).rejects.toThrow('did not answer in time');
    await blocker.query('COMMIT');
    blocker.release();
    await slow.ledger.stop(5_000);
    expect(await stateOf(id)).toBe('abandoned');
    expect(await counters(db.pool, budget.id)).toMatchObject([{ held: 1n }]);
    await patient.end();
  });

  test('a settlement whose commit is in doubt counts once', async () => {
    const hold = await reserve(far, { usd: 10n });
    const sprung = link.cutAfter('commit batch');
    await far.ledger.settle(hold, used(hold, 4n));
    await sprung;
    expect(await counters(db.pool, budget.id)).toMatchObject([{ posted: 4n, held: 0n }]);
    expect(await ledgerOf(hold.id)).toHaveLength(1);
  });
});
