import { expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner } from '../../../test/support/database.ts';
import { seedProject } from '../../../test/support/ledger.ts';
import { systemClock } from '../base/clock.ts';
import { createLogger } from '../base/log.ts';
import { BudgetIndex } from './budget-index.ts';
import { BudgetService } from './budget-service.ts';
import { ThresholdNotices } from './notices.ts';
import { TouchedCounters } from './touched-counters.ts';
import { operator, projectId, spender } from '../../../test/support/ledger.ts';
import { selectBudgetsOfRun } from './budget-store.ts';
test('measure', { timeout: 200_000 }, async () => {
  const db = await createTestDatabase();
  await seedProject(db.pool);
  await db.pool.query(
    `INSERT INTO agents (id, project_id, name, created_by, control_version) SELECT 'agt_'||n, 'prj_test', 'a'||n, 'x', 1 FROM generate_series(1,100000) n`,
  );
  await db.pool
    .query(`INSERT INTO budgets (id, project_id, name, agent_id, unit, "window", limit_amount, created_by, control_version)
    SELECT 'bud_' || n, 'prj_test', 'b' || n, 'agt_'||n, 'usd', (ARRAY['day','hour','month','lifetime'])[1+n%4], 1000, 'test', 1 FROM generate_series(1, 99999) n`);
  const now = Date.parse('2026-11-23T12:00:00Z');
  await db.pool.query(`INSERT INTO budget_counters (budget_id, window_key, posted)
    SELECT b.id, w, 500 FROM budgets b, unnest(CASE "window" WHEN 'day' THEN ARRAY(SELECT '2026-11-'||lpad(d::text,2,'0') FROM generate_series(1,23) d)
      WHEN 'hour' THEN ARRAY(SELECT '2026-11-23T'||lpad(d::text,2,'0')||'+00:00' FROM generate_series(0,12) d) WHEN 'month' THEN '{2026-11,2026-10}'::text[] ELSE '{lifetime}' END) w`);
  await queryAsOwner(db, 'ANALYZE');
  console.log((await db.pool.query('select count(*) from budget_counters')).rows);

  let given = 0;
  const touched = new TouchedCounters();
  const mk = () =>
    new ThresholdNotices({
      pool: db.pool,
      touched,
      databaseNow: () => now,
      clock: systemClock,
      log: createLogger('silent'),
      onNotice: () => {
        given++;
      },
    });
  let t = 0;
  for (let i = 0; i < 3; i++) {
    t = performance.now();
    await mk().check();
    console.log('sweep ms', performance.now() - t, given);
  }
  const n = mk();
  await n.check();
  for (let i = 0; i < 5000; i++) touched.note('bud_' + (4 * i + 4), '2026-11-23');
  t = performance.now();
  await n.check();
  console.log('5000 touched ms', performance.now() - t);
  for (let i = 0; i < 50; i++) touched.note('bud_' + (4 * i + 4), '2026-11-23');
  t = performance.now();
  await n.check();
  console.log('50 touched ms', performance.now() - t);
  await db.pool.query(
    `UPDATE budget_counters SET posted = 1200 WHERE budget_id IN (SELECT id FROM budgets ORDER BY id LIMIT 2000)`,
  );
  t = performance.now();
  await mk().check();
  console.log('sweep with many due ms', performance.now() - t, given);
  await db.drop();
});
