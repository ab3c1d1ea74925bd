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

describe('E', () => {
  for (const durability of ['relaxed'] as const) test(`chaos ${durability}`, async () => {
    const b2 = await makeBudget(db.pool, { limit: 30_000n });
    const links = [await openFaultyLink(db.appUrl), await openFaultyLink(db.appUrl)];
    const pools = links.map((l) => createPool({ ...testBounds, connectionString: l.url, statementMs: 1500, lockMs: 800, plansByKey: true }));
    const gates = await Promise.all(pools.map((p) => openGate(p, undefined, durability)));
    let over = false, truth = 0n, unusable = 0, inMemory = 0, refused: Record<string, number> = {}, ended: Record<string, number> = {}, violations = 0;
    const c = await blocker();
    const chaos = (async () => { while (!over) {
      await sleep(150 + Math.random() * 250); const l = links[Math.floor(Math.random() * 2)]!; const r = Math.random();
      if (r < .3) { l.cut(); await sleep(Math.random() * 250); l.mend(); }
      else if (r < .6) { void l.cutAfter(Math.random() < .5 ? 'COMMIT' : 'unnest'); }
      else if (r < .8) { await c.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user AND random() < .3`); }
      else { await c.query('BEGIN'); await c.query('SELECT 1 FROM budget_counters FOR UPDATE'); await sleep(Math.random() * 1200); await c.query('COMMIT'); }
      const { rows } = await c.query('SELECT c.posted + c.held > b.limit_amount AS bad FROM budget_counters c JOIN budgets b ON b.id = c.budget_id'); violations += rows.filter((x) => x.bad).length;
    } })();
    const t = performance.now();
    await Promise.all(gates.flatMap((g) => Array.from({ length: 12 }, async () => { while (performance.now() - t < 22_000) {
      const usd = BigInt(1 + Math.floor(Math.random() * 30));
      const h = await reserve(g, { usd, deadlineMs: 120_000 }).catch((e) => { refused[e.code] = (refused[e.code] ?? 0) + 1; return null; });
      if (h && isLeased(h)) inMemory++; if (!h) { await sleep(20 + Math.random() * 60); continue; }
      await sleep(Math.random() * 30);
      try { h.assertUsable(); } catch { unusable++; await g.ledger.release(h, used(h, 0n)).catch(() => undefined); continue; }
      const spent = BigInt(Math.floor(Math.random() * Number(usd))) % 6n; truth += spent;
      await g.ledger.settle(h, used(h, spent)).then(() => { ended.ok = (ended.ok ?? 0) + 1; }, (e) => { const k = e.cause?.code ?? e.cause?.message ?? 'late'; ended[k] = (ended[k] ?? 0) + 1; });
    } })));
    over = true; await chaos; await c.end(); for (const l of links) l.mend();
    await sleep(500); await Promise.all(gates.map((g) => g.ledger.stop(6_000))); await sleep(300);
    show(durability, 'truth', truth, 'end', await sums(), 'held rows', (await db.pool.query(`SELECT state, count(*)::int FROM holds GROUP BY 1`)).rows, { refused, unusable, inMemory, ended, violations }, await counters(db.pool, b2.id), (await db.pool.query('SELECT * FROM leases')).rowCount);
    await Promise.all(pools.map((p) => p.end())); await Promise.all(links.map((l) => l.close()));
  }, 60_000);

  test('slow flushes, natural traffic', async () => {
    await db.pool.query('UPDATE budgets SET limit_amount = 1000000000 WHERE id = $1', [budget.id]);
    const b = await makeBudget(db.pool, { limit: 20_000n }); const out: string[] = [];
    const gates = await Promise.all([0, 1].map(() => openGate(db.pool, undefined, 'relaxed'))); const strict = await openGate(db.pool, undefined, 'strict');
    const c = await blocker();
    for (let round = 0; round < 5; round++) {
      // both leased; then quiet for 3 s
      for (const g of gates) for (let i = 0; i < 8; i++) { const h = await reserve(g, { usd: 100n }); await g.ledger.settle(h, used(h, 0n)); await sleep(40); }
      await sleep(2900);
      // a slow moment of the database: somebody has the row for 400 ms
      await c.query('BEGIN'); await c.query('SELECT 1 FROM budget_counters WHERE budget_id = $1 FOR UPDATE', [b.id]); await sleep(300);
      const hs = await Promise.all(gates.map((g) => reserve(g, { usd: 100n }).catch(() => null)));
      const big = reserve(strict, { usd: 20_000n }).catch(() => null); await sleep(100); await c.query('COMMIT');
      const bigH = await big; const [k] = await counters(db.pool, b.id);
      let live = 0; for (const h of hs) if (h) { try { h.assertUsable(); if (isLeased(h)) live++; } catch {} }
      out.push(`${bigH ? 'whole limit given to strict' : 'strict refused'}, ${live} leased calls of 100 usable, counter held ${k!.held}`);
      if (bigH) await strict.ledger.release(bigH, used(bigH, 0n)); for (const [i, h] of hs.entries()) if (h) await gates[i]!.ledger.release(h, used(h, 0n));
    }
    show(out); await c.end(); await Promise.all([...gates, strict].map((g) => g.ledger.stop(2000)));
  }, 60_000);
  test('100,000', async () => {
      const { LeaseBook } = await import('./lease-book.ts'); const { Placement } = await import('../placement.ts'); const { commitFlush } = await import('./flush.ts');
      const n = 100_000; const ids = Array.from({ length: n }, (_, i) => `bud_${n}_${i}`);
      await db.pool.query(`INSERT INTO budgets (id, project_id, name, unit, "window", limit_amount, created_by, control_version) SELECT i, 'prj_test', i, 'usd', 'lifetime', 100000, 't', 1 FROM unnest($1::text[]) i`, [ids]);
      const book = new LeaseBook(clock, new Placement(() => Date.now()));
      for (const id of ids) book.hold({ attempt: attempt(), worst: { usd: 10n, feesUsd: 0n, tokens: 1n, usage: noUsage, bounded: true }, budgets: [{ id, projectId: 'prj_test', name: id, selector: {}, unit: 'usd', window: 'lifetime', timeZone: 'UTC', limit: 100000n, mode: 'enforce' } as never], deadlineMs: 1 });
      const t2 = performance.now(); const flush = book.takeFlush(1000)!;
      show('commit', await commitFlush(pool, `ins_${n}`, flush).then(() => 'ok', (e) => e.message), ((performance.now() - t2) / 1000).toFixed(1), 's');
  }, 60_000);
});
