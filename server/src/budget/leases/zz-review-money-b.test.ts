import { Client, type Pool } from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../../test/support/database.ts';
import { type FaultyLink, openFaultyLink } from '../../../../test/support/faulty-link.ts';
import { type Gate, attempt, counters, makeBudget, openGate, reserve, seedProject, used } from '../../../../test/support/ledger.ts';
import type { Clock } from '../../base/clock.ts';
import { createPool } from '../../pg/pool.ts';
import type { BudgetRecord } from '../budget-store.ts';
import { sweepLeases, sweepHolds } from '../instances.ts';
import type { Hold } from '../ledger.ts';
class ShiftedClock implements Clock { aheadMs = 0; now = () => Date.now() + this.aheadMs; monotonic = () => performance.now() + this.aheadMs; }
let db: TestDatabase; let link: FaultyLink; let pool: Pool; let budget: BudgetRecord; let clock: ShiftedClock; let gate: Gate;
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));
beforeEach(async () => {
  db = await createTestDatabase(); await seedProject(db.pool); link = await openFaultyLink(db.appUrl);
  pool = createPool({ ...testBounds, connectionString: link.url });
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
describe('B', () => {
  test('shrink race', async () => {
    const first = await leasedHold(500n); await gate.ledger.settle(first, used(first, 0n));
    const other = await openGate(db.pool, undefined, 'strict');
    const c = await blocker(); await c.query('BEGIN'); await c.query('SELECT 1 FROM budget_counters FOR UPDATE');
    clock.aheadMs += 3_500; await sleep(300);
    const hold = await reserve(gate, { usd: 500n });
    const all = reserve(other, { usd: 100_000n }).then((h) => h, (e) => e);
    await sleep(300); await c.query('COMMIT'); await c.end();
    const rest = await all; show('leased in memory', isLeased(hold), 'strict call of the whole limit', rest.message ?? 'ADMITTED');
    await sleep(300); let usable = true; try { hold.assertUsable(); } catch { usable = false; }
    show('usable', usable, await sums());
    if (!(rest instanceof Error)) await other.ledger.settle(rest, used(rest, 100_000n));
    await gate.ledger.settle(hold, used(hold, 500n)); await sleep(400);
    const { rows } = await db.pool.query('SELECT count(*) FILTER (WHERE overrun)::int AS overruns FROM attempts');
    show('END limit 100000', await sums(), rows[0]);
    await other.ledger.stop(1000);
  }, 30_000);

  test('lost ack of a flush, retried late', async () => {
    const h = await leasedHold(500n);
    await sleep(300); show('before', await sums());
    const sprung = link.cutAfter('COMMIT'); clock.aheadMs += 3_500; await sprung; link.cut(); await sleep(100);
    show('after lost ack', await sums());
    clock.aheadMs += 8_000; await db.pool.query(`UPDATE leases SET expires_at = expires_at - interval '8 seconds'`);
    link.mend(); await sleep(700);
    const { rows: [after] } = await db.pool.query('SELECT extract(epoch FROM expires_at - now())::float AS left, granted FROM leases');
    const usable = 'leased' in h.place ? h.place.leased.parts[0]!.slice.usableUntil - clock.monotonic() : NaN;
    show('database: ends in s', after, 'process: usable for ms', usable);
    await db.pool.query(`UPDATE leases SET expires_at = expires_at - interval '3 seconds'`); clock.aheadMs += 3_000; await sleep(300);
    show('swept of a living process', await sweepLeases(db.pool)); await sleep(300);
    await gate.ledger.settle(h, used(h, 100n)); await sleep(300);
    show('END', await sums());
  }, 30_000);

  test('deadlock victim: one settlement', async () => {
    const strict = await openGate(db.pool, undefined, 'strict');
    const b2 = await makeBudget(db.pool, { limit: 100_000n }); await strict.reload();
    const hold = await reserve(strict, { usd: 10n });
    const [lo, hi] = [budget.id, b2.id].sort();
    const c = await blocker(); await c.query(`SET deadlock_timeout = '10s'`); await c.query('BEGIN');
    await c.query('SELECT 1 FROM budget_counters WHERE budget_id = $1 FOR UPDATE', [hi]);
    const settled = strict.ledger.settle(hold, used(hold, 7n)).then(() => 'settled', (e) => e.cause?.code ?? e.message);
    await sleep(200); const p = c.query('SELECT 1 FROM budget_counters WHERE budget_id = $1 FOR UPDATE', [lo]);
    show('settle:', await settled); await p; await c.query('ROLLBACK'); await c.end();
    await sleep(3000);
    show('3 s later', await counters(db.pool, lo!), (await db.pool.query('SELECT state FROM holds')).rows, 'ledger rows', (await db.pool.query('SELECT id FROM attempts')).rowCount);
    await strict.ledger.stop(500);
  }, 30_000);

  test('amount near 2^63 on a budget that only counts', async () => {
    await db.pool.query('UPDATE budgets SET limit_amount = NULL');
    const strict = await openGate(db.pool, undefined, 'strict');
    const big = await reserve(strict, { usd: 9_223_372_036_854_775_807n, tokens: 1n });
    show('other call:', await reserve(strict, { usd: 1n }).then(() => 'ok', (e) => `${e.code} ${e.message} ${e.cause?.code}`));
    await strict.ledger.release(big, used(big, 0n));
    show('afterwards:', await reserve(strict, { usd: 1n }).then(() => 'ok', (e) => `${e.code} ${e.message}`));
    await strict.ledger.stop(500);
  }, 30_000);

  test('flush that overflows', async () => {
    await db.pool.query(`INSERT INTO budget_counters (budget_id, window_key, posted) VALUES ($1, 'lifetime', 9223372036854775000)`, [budget.id]);
    await db.pool.query('UPDATE budgets SET limit_amount = NULL'); await gate.reload();
    const fine = await makeBudget(db.pool, { limit: null, unit: 'requests' }); await gate.reload();
    const h = await reserve(gate, { usd: 5000n }); await gate.ledger.settle(h, used(h, 5000n));
    for (let i = 0; i < 5; i++) { await sleep(100); const x = await reserve(gate, { usd: 0n }).catch((e) => e); if (!(x instanceof Error)) { show('leased', isLeased(x)); void gate.ledger.settle(x, used(x, 0n)).catch((e) => show(e.message)); } else show(x.message); }
    await sleep(2500); show('requests counted', await counters(db.pool, fine.id), 'rows', (await db.pool.query('SELECT id FROM attempts')).rowCount);
  }, 30_000);

  test('a refusal and a posted hold of the same attempt', async () => {
    const strict = await openGate(pool, undefined, 'strict');
    await (await reserve(strict, { usd: 1n }).then((h) => strict.ledger.release(h, used(h, 0n))));
    const a = attempt();
    const c = await blocker();
    const sprung = link.cutAfter('commit batch');
    const refused = reserve(strict, { usd: 40n, attempt: a }).catch((e) => e.message);
    await sprung; await c.query('BEGIN'); await c.query('SELECT 1 FROM budget_counters FOR UPDATE');
    show(await refused); strict.ledger.recordRefusal(a); await sleep(600);
    show('rows', (await db.pool.query('SELECT id, cost_nanousd FROM attempts WHERE id = $1', [a.id])).rows, (await db.pool.query('SELECT state FROM holds')).rows);
    link.cut(); await sleep(100); // kill -9
    await c.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = \'Lock\''); await c.query('COMMIT'); await c.end();
    await strict.instance.stop().catch(() => undefined); await db.pool.query('UPDATE instances SET stopped_at = now()');
    show('swept', await sweepHolds(db.pool)); show('END posted and rows must agree', await sums());
    await strict.ledger.stop(300);
  }, 30_000);
});
