import { Client } from 'pg';
import { afterAll, beforeAll, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from './test/support/database.ts';
import { seedProject, projectId } from './test/support/ledger.ts';
import { attemptAt, dayOf, everything, makeDay, noon, writeRows } from './test/support/ledger-days.ts';
import { keepLedgerDays } from './server/src/budget/retention.ts';
import { sumUsage } from './server/src/budget/usage-store.ts';
let db: TestDatabase;
beforeAll(async () => { db = await createTestDatabase(); await seedProject(db.pool); });
afterAll(() => db.drop());
test('drop with readers', async () => {
  const day = dayOf(noon(-100)); await makeDay(db, day);
  await writeRows(db.pool, [attemptAt(noon(-100), { costUsd: 777n })]);
  const t0 = performance.now();
  await queryAsOwner(db, `INSERT INTO attempts (id, request_id, project_id, agent_id, run_id, dialect_in, streamed, tokens_input, tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning, cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun, recorded_at)
   SELECT substr(id,1,14) || lpad(translate(to_hex(n),'ilou','0000'), 16, '0'), request_id, project_id, agent_id, run_id, dialect_in, streamed, 0,0,0,0,0,0, 5, provenance, outcome, started_at, 0, 1, false, now() - interval '99 days' FROM attempts, generate_series(1, 500000) n WHERE id >= ledger_day_start('${day}'::date) AND id < ledger_day_start('${day}'::date + 1)`);
  await queryAsOwner(db, `UPDATE attempts SET recorded_at = now() - interval '99 days' WHERE recorded_at > now() - interval '1 day' AND id < ledger_day_start('${day}'::date + 1)`);
  console.log('rows made', performance.now() - t0);
  let stop = false; let slow = 0; let inserts = 0; let reads = 0; let slowRead = 0;
  const insert = (async () => { while (!stop) { const t = performance.now(); await writeRows(db.pool, [attemptAt(Date.now())]); slow = Math.max(slow, performance.now() - t); inserts++; await new Promise((r) => setTimeout(r, 5)); } })();
  const readers = Array.from({ length: 2 }, async () => { while (!stop) { const t = performance.now(); await sumUsage(db.pool, { ...everything, from: Date.now() - 365 * 86400000 }, 'day', 10).catch((x) => console.log('reader', x.message)); reads++; slowRead = Math.max(slowRead, performance.now() - t); await new Promise((r) => setTimeout(r, 50)); } });
  const t = performance.now();
  const outcome = await keepLedgerDays(db.pool, 90).then(() => 'done', (x) => `${x.code} ${x.message}`);
  const tookMs = performance.now() - t;
  stop = true; await Promise.all([insert, ...readers]);
  console.log({ outcome, tookMs, slowestInsertMs: slow, inserts, reads, slowRead }, await queryAsOwner(db, `SELECT to_regclass('attempts_${day.replaceAll('-', '')}') AS t`));
  const t2 = performance.now();
  console.log('without readers', await keepLedgerDays(db.pool, 90).then(() => 'done', (x) => x.message), performance.now() - t2);
});
