import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { type Cost, costOf, readCosts } from '../../../test/support/statement-costs.ts';
import { createPool } from '../pg/pool.ts';
import { sumNames, tableSuffix } from './rollup-sql.ts';
import { summarize } from './summary.ts';
import { seriesGroups } from './summary-store.ts';
import { bucketMs } from './summary-window.ts';

/** What a summary reads is its own project's, by what PostgreSQL itself tells of its statements. */

const workflows = 10;
const buckets = 20;
const bins = 4;
const projectId = 'prj_mine';

// So many whole days, then hours, then minutes.
const midnight = Math.floor(Date.now() / bucketMs.day) * bucketMs.day;
const from = { day: midnight - buckets * bucketMs.day, hour: midnight, minute: midnight + buckets * bucketMs.hour };
const window = { from: from.day, to: from.minute + buckets * bucketMs.minute };

const whole = { projectId, workflow: null, promptVersion: null, model: null, agentId: null };
const filters = {
  'of a project': whole,
  'of a workflow': { ...whole, workflow: 'flow 3' },
  'of an agent': { ...whole, agentId: 'agt_1' },
};
const ownRows = 3 * buckets * workflows * (1 + bins);
/** Of series, watermarks, and what is kept. */
const besides = 5 * workflows;

let quiet: TestDatabase;
let busy: TestDatabase;
beforeAll(async () => {
  quiet = await createTestDatabase();
  busy = await createTestDatabase();
  await fill(quiet, 40);
  await fill(busy, 120);
});
afterAll(() => Promise.all([quiet, busy].map((db) => db.drop())));

test('a summary reads the rows of its own project, and as many where others have three times as many', async () => {
  const [few, many] = [await measured(quiet), await measured(busy)];
  for (const [asked, { statements, rows, pages }] of Object.entries(many)) {
    const before = few[asked] ?? { statements: 0, rows: 0, pages: 0 };
    expect(statements, asked).toBe(before.statements);
    expect(rows, asked).toBeLessThanOrEqual(before.rows);
    expect(rows, asked).toBeLessThanOrEqual(ownRows + besides);
    // An index may be a level higher.
    expect(pages, asked).toBeLessThanOrEqual(1.2 * before.pages);
  }
});

/** A project and `others`, all alike, whose rows came by turns. */
async function fill(db: TestDatabase, others: number): Promise<void> {
  await queryAsOwner(
    db,
    `INSERT INTO rollup_series (project_id, workflow, prompt_version, model)
     SELECT CASE p WHEN 0 THEN '${projectId}' ELSE 'prj_' || p END, 'flow ' || w, '', 'm'
     FROM generate_series(0, ${others}) AS p, generate_series(1, ${workflows}) AS w`,
  );
  for (const resolution of ['minute', 'hour', 'day'] as const) {
    const rows = `SELECT s.project_id, to_timestamp(${from[resolution] / 1000}) + b * interval '1 ${resolution}' AS bucket, s.id
      FROM generate_series(0, ${buckets - 1}) AS b, rollup_series AS s`;
    const turns = 'ORDER BY bucket, hashint8(id)';
    await queryAsOwner(
      db,
      `INSERT INTO attempt_rollups_${tableSuffix[resolution]} (project_id, bucket, series_id, agent_id, ${sumNames.join(', ')})
       SELECT project_id, bucket, id, 'agt_' || id % 3, ${sumNames.map(() => '1').join(', ')} FROM (${rows}) AS r ${turns}`,
    );
    await queryAsOwner(
      db,
      `INSERT INTO attempt_latency_${tableSuffix[resolution]} (project_id, bucket, series_id, bin, attempts)
       SELECT project_id, bucket, id, bin, 1 FROM (${rows}) AS r, generate_series(1, ${bins}) AS bin ${turns}`,
    );
  }
  await queryAsOwner(db, 'VACUUM (ANALYZE)');
}

/** What each summary costs. */
async function measured(db: TestDatabase): Promise<Readonly<Record<string, Cost>>> {
  const reader = await readCosts(db);
  const pool = createPool({ ...testBounds, max: 1, connectionString: reader.url });
  const costs: Record<string, Cost> = {};
  for (const [of, filter] of Object.entries(filters)) {
    for (const group of [null, ...seriesGroups, 'day'] as const) {
      reader.take();
      const { totals } = await summarize(pool, filter, window, group, 50);
      expect(totals.sums.attempts).toBeGreaterThan(0n);
      costs[`${of} by ${group ?? 'nothing'}`] = costOf(reader.take());
    }
  }
  await pool.end();
  await reader.close();
  return costs;
}
