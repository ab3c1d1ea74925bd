import { Client, type Pool } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../../test/support/database.ts';
import { type FaultyLink, openFaultyLink } from '../../../../test/support/faulty-link.ts';
import { type Gate, attempt, counters, makeBudget, openGate, reserve, seedProject, used } from '../../../../test/support/ledger.ts';
import type { Clock } from '../../base/clock.ts';
import { createPool } from '../../pg/pool.ts';
import type { BudgetRecord } from '../budget-store.ts';
import { sweepLeases, sweepHolds } from '../instances.ts';
import { noUsage } from '../../llm/usage.ts';
import type { Hold } from '../ledger.ts';
class ShiftedClock implements Clock { aheadMs = 0; now = () => Date.now() + this.aheadMs; monotonic = () => performance.now() + this.aheadMs; }
let db: TestDatabase; let link: FaultyLink; let pool: Pool; let budget: BudgetRecord; let clock: ShiftedClock; let gate: Gate;
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));
beforeEach(async () => {
  db = await createTestDatabase(); await seedProject(db.pool); link = await openFaultyLink(db.appUrl);
  pool = createPool({ ...testBounds, connectionString: link.url, plansByKey: true });
  budget = await makeBudget(db.pool, { limit: 100_000n });
  clock = new ShiftedClock(); gate = await openGate(pool, clock, 'relaxed');
});
afterEach(async () => { link.mend(); await gate.ledger.stop(3_000); await pool.end(); await link.close(); await db.drop(); });
const isLeased = ({ place }: Hold) => 'leased' in place;
async function leasedHold(usd: bigint, of: Gate = gate): Promise<Hold> {
  for (;;) { const hold = await reserve(of, { usd }); if (isLeased(hold)) return hold; await of.ledger.release(hold, used(hold, 0n)); await sleep(20); }
}
async function sums(): Promise<{ posted: bigint; held: bigint; leased: bigint; rows: bigint; postings: bigint }> {
  const { rows } = await db.pool.query(`SELECT c.posted, c.held, c.leased, (SELECT coalesce(sum(cost_nanousd), 0)::bigint FROM attempts) AS rows,
            (SELECT coalesce(sum(amount), 0)::bigint FROM lease_postings) AS postings FROM budget_counters c WHERE budget_id = $1`, [budget.id]);
  return rows[0];
}
const show = (...x: unknown[]) => process.stdout.write('>>> ' + x.map((y) => typeof y === 'string' ? y : JSON.stringify(y, (_k, v) => typeof v === 'bigint' ? `${v}n` : v)).join(' ') + '\n');
async function blocker() { const c = new Client({ connectionString: db.ownerUrl }); await c.connect(); c.on('error', () => undefined); return c; }
describe('C', () => {
  test('absurd usage, relaxed', async () => {
    const [bad, good] = [await leasedHold(10n), await leasedHold(10n)];
    await gate.ledger.settle(good, used(good, 3n));
    await gate.ledger.settle(bad, attempt({ id: bad.id, costUsd: 675_539_944_105_574_400_000n, usage: { ...noUsage, output: Number.MAX_SAFE_INTEGER } }));
    await sleep(1500); show('after', await sums());
    const kinds: unknown[] = [];
    for (let i = 0; i < 20; i++) { await sleep(100); const h = await reserve(gate, { usd: 1n }).catch((e) => e); kinds.push(h instanceof Error ? h.message : isLeased(h)); if (!(h instanceof Error)) void gate.ledger.settle(h, used(h, 1n)).catch((e) => show(e.message)); }
    show(kinds); await sleep(500); show('END', await sums());
  }, 30_000);
  test('absurd usage, strict', async () => {
    const strict = await openGate(pool, undefined, 'strict');
    const bad = await reserve(strict, { usd: 10n });
    show(await strict.ledger.settle(bad, attempt({ id: bad.id, costUsd: 675_539_944_105_574_400_000n, usage: { ...noUsage, output: Number.MAX_SAFE_INTEGER } })).catch((e) => `${e.message} ${e.cause?.message}`));
    show(await sums(), (await db.pool.query('SELECT state FROM holds')).rows);
    await strict.ledger.stop(300);
  }, 30_000);
  test('refusal row + posted hold', async () => {
    const strict = await openGate(db.pool, undefined, 'strict');
    const hold = await reserve(strict, { usd: 40n }); strict.ledger.recordRefusal(attempt({ id: hold.id }));
    await sleep(200); await strict.ledger.stop(100); await strict.instance.stop();
    show('swept', await sweepHolds(db.pool), await sums());
  });
  test('settle twice in one batch, strict', async () => {
    const strict = await openGate(db.pool, undefined, 'strict');
    const hold = await reserve(strict, { usd: 40n });
    await Promise.all([strict.ledger.settle(hold, used(hold, 30n)), strict.ledger.release(hold, used(hold, 0n)), strict.ledger.settle(hold, used(hold, 10n))]);
    show('twice', await sums()); await strict.ledger.stop(300);
  });
  test('an outage of eleven seconds of an idle living process', async () => {
    const h = await leasedHold(500n); await gate.ledger.settle(h, used(h, 1n)); await sleep(200); show(await sums());
    link.cut(); clock.aheadMs += 11_000; await db.pool.query(`UPDATE leases SET expires_at = expires_at - interval '11 seconds'`);
    show('swept by the first process that is back', await sweepLeases(db.pool)); link.mend(); await sleep(1000);
    show('END', await sums());
  });
  test('noisy neighbour', async () => {
    const strict = await openGate(db.pool, undefined, 'strict');
    await db.pool.query('UPDATE budgets SET limit_amount = 1000000000');
    await makeBudget(db.pool, { limit: 1n, selector: { personId: null, agentId: 'agt_test', keyId: null, workflow: null, runId: null, providerType: null, provider: null, model: 'bad' } as never });
    await strict.reload();
    const run = async (noisy: boolean) => {
      const t = performance.now(); let n = 0; let stop = false; const lat: number[] = [];
      const noise = noisy ? Promise.all([1].map(async () => { while (!stop) await reserve(strict, { usd: 5n, by: { model: 'bad' } }).catch(() => undefined); })) : null;
      await Promise.all(Array.from({ length: 50 }, async () => { while (performance.now() - t < 3000) { const s = performance.now(); const h = await reserve(strict, { usd: 1n }); lat.push(performance.now() - s); await strict.ledger.settle(h, used(h, 1n)); n++; } }));
      stop = true; await noise; lat.sort((a, b) => a - b);
      show(noisy ? 'with one refused caller' : 'alone', 'calls/s', Math.round(n / 3), 'hold p50', lat[lat.length >> 1]!.toFixed(1), 'p99', lat[Math.floor(lat.length * .99)]!.toFixed(1));
    };
    await run(false); await run(false); await run(true); await run(false); await run(true); await strict.ledger.stop(300);
  }, 40_000);
  test('flush of many slices', async () => {
    const { LeaseBook } = await import('./lease-book.ts'); const { Placement } = await import('../placement.ts'); const { commitFlush } = await import('./flush.ts');
    for (const n of [1_000, 10_000, 40_000]) {
      const ids = Array.from({ length: n }, (_, i) => `bud_${n}_${i}`);
      await db.pool.query(`INSERT INTO budgets (id, project_id, name, unit, "window", limit_amount, created_by, control_version) SELECT i, 'prj_test', i, 'usd', 'lifetime', 100000, 't', 1 FROM unnest($1::text[]) i`, [ids]);
      const book = new LeaseBook(clock, new Placement(() => Date.now()));
      const b = ids.map((id) => ({ id, projectId: 'prj_test', name: id, selector: {}, unit: 'usd', window: 'lifetime', timeZone: 'UTC', limit: 100000n, mode: 'enforce' }));
      for (const one of b) book.hold({ attempt: attempt(), worst: { usd: 10n, feesUsd: 0n, tokens: 1n, usage: noUsage, bounded: true }, budgets: [one as never], deadlineMs: 1 });
      const t = performance.now(); const flush = book.takeFlush(1000)!; const t2 = performance.now();
      const left = await commitFlush(pool, `ins_${n}`, flush); const t3 = performance.now();
      for (const s of flush.reports.keys()) s.flushed(left.get(s) ?? null, clock.monotonic() + 10_000); book.tidy();
      const t4 = performance.now(); book.takeFlush(1000); const t5 = performance.now();
      show(n, 'slices: take', (t2 - t).toFixed(0), 'commit ms', (t3 - t2).toFixed(0), 'look when nothing to do ms', (t5 - t4).toFixed(1));
    }
  }, 60_000);
  test('a time zone that this process does not know', async () => {
    const strict = await openGate(db.pool, undefined, 'strict');
    const ok = await reserve(strict, { usd: 1n });
    await db.pool.query(`UPDATE budgets SET "window" = 'day', time_zone = 'Mars/Base'`); await strict.reload();
    const errors: string[] = []; const on = (e: Error) => errors.push(e.message); process.on('unhandledRejection', on);
    show('reserve:', await Promise.race([reserve(strict, { usd: 1n }).catch((e) => e.message), sleep(6500).then(() => 'HANGS')]));
    show('settle of another call:', await strict.ledger.settle(ok, used(ok, 1n)).then(() => 'ok', (e) => e.message));
    process.off('unhandledRejection', on); show('unhandled', errors);
  }, 30_000);
});
