import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { writeExportedRows } from '../../../test/support/exported-rows.ts';
import { makeAgents, projectId } from '../../../test/support/runs.ts';
import { type CostReader, costOf, readCosts } from '../../../test/support/statement-costs.ts';
import type { ServiceDeps } from '../api/deps.ts';
import { exportReaders } from '../api/export/readers.ts';
import { systemClock } from '../base/clock.ts';
import { createPool } from '../pg/pool.ts';
import { firstPlace } from './model.ts';
import { takeSnapshot } from './store.ts';

let db: TestDatabase;
let costs: CostReader;
let pool: TestDatabase['pool'];

beforeAll(async () => {
  db = await createTestDatabase();
  await makeAgents(db);
  costs = await readCosts(db);
  pool = createPool({ ...testBounds, connectionString: costs.url });
});
afterAll(async () => {
  await pool?.end();
  await costs?.close();
  await db?.drop();
});

/** Attempts of this moment. */
const writeAttempts = (count: number) =>
  queryAsOwner(
    db,
    `INSERT INTO attempts (id, request_id, project_id, agent_id, workflow, provider, model_asked, model_served, dialect_in, streamed,
       tokens_input, tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning,
       cost_nanousd, provenance, outcome, started_at, queue_ms, total_ms, overrun)
     SELECT (SELECT max(id) FROM attempts) || n, 'req_' || n, $1::text, 'agt_1', 'flow', 'claude', 'claude-1', 'claude-1',
       'anthropic', false, 10, 10, 0, 0, 0, 0, 1000, 'measured', 'success', now(), 0, 1, false
     FROM generate_series(1, $2::int) AS n`,
    [projectId, count],
  );

test('the first page of attempts looks at none that came since the export began', async () => {
  await writeExportedRows(db.pool, { projectId, agentId: 'agt_1' }, 20);
  const place = firstPlace(await takeSnapshot(db.pool, projectId), ['attempt']);
  const deps = { pool, clock: systemClock } as ServiceDeps;
  const readPage = async () => {
    costs.take();
    const { items } = await exportReaders(deps, projectId, place).attempt(null);
    return { items, rows: costOf(costs.take()).rows };
  };
  const before = await readPage();
  await writeAttempts(20_000);
  const after = await readPage();
  expect(after.items).toEqual(before.items);
  expect(after.items).toHaveLength(22);
  expect(after.rows).toBeLessThan(before.rows + 100);
});
