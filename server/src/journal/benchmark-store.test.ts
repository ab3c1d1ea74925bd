import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { makeAgents, projectId } from '../../../test/support/runs.ts';
import { type CostReader, costOf, readCosts } from '../../../test/support/statement-costs.ts';
import { createPool } from '../pg/pool.ts';
import { selectBenchmarks } from './benchmark-store.ts';

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

/** Benchmarks of now, with ids above those of before. */
const write = (workflow: string, count: number) =>
  queryAsOwner(
    db,
    `INSERT INTO benchmarks (id, project_id, workflow, provider_type, provider, model, tokens_input, tokens_output, cost_nanousd,
       latency_ms, notes, recorded_by)
     SELECT replace(ledger_day_start((now() AT TIME ZONE 'UTC')::date), 'att_', 'bmk_') || lpad((b.n + $3)::text, 16, '0'), $1, $2, 'api',
       '', 'm', 1, 1, 1, 1, '', 'test'
     FROM generate_series(1, $4::int) AS b (n)`,
    [projectId, workflow, (written += count), count],
  );
let written = 0;

test('a page of a workflow looks at no others, also when statistics know of none', async () => {
  await write('rare', 50);
  await queryAsOwner(db, 'ANALYZE benchmarks');
  await write('common', 20_000);
  costs.take();
  const first = await selectBenchmarks(pool, projectId, 'rare', null, 11);
  const second = await selectBenchmarks(pool, projectId, 'rare', first.items.at(-1)?.id ?? '', 11);
  expect([...first.items, ...second.items].map(({ workflow }) => workflow)).toEqual(Array(22).fill('rare'));
  expect(new Set([...first.items, ...second.items].map(({ id }) => id)).size).toBe(22);
  expect(costOf(costs.take()).rows).toBeLessThan(500);
});
