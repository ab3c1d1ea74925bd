import type { Pool } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, writeRows } from '../../../test/support/ledger-days.ts';
import { projectId, seedProject } from '../../../test/support/ledger.ts';
import type { Attempt } from '../budget/model.ts';
import { createPool } from '../pg/pool.ts';
import { rollUp } from './rollups.ts';
import type { Folded } from './rollup-store.ts';
import { summarize } from './summary.ts';
import type { SummaryFilter, SummaryGroup } from './summary-store.ts';

/** What a project may tell apart, and what a summary says of the rest (decision 0022). */

let db: TestDatabase;
let pool: Pool;
let folded: Folded[];
beforeEach(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  pool = createPool({ ...testBounds, max: 2, connectionString: db.appUrl, plansByKey: true });
  folded = [];
});
afterEach(async () => {
  await pool.end();
  await db.drop();
});

const seriesMax = 3;
const everything = { projectId, workflow: null, promptVersion: null, model: null, agentId: null };
const seen = (workflow: string, modelServed: string, more: Partial<Attempt> = {}) =>
  attemptAt(Date.now(), { workflow, modelServed, costUsd: 10n, ...more });

/** Writes rows and waits until all of them are counted, two at a time. */
async function count(rows: readonly Attempt[]): Promise<void> {
  await writeRows(db.pool, rows);
  const ahead = `SELECT FROM attempts a, rollup_watermarks w WHERE w.source = 'attempts' AND (a.tx_id, a.row_no) > (w.tx_id, w.row_no)`;
  const drain = async () => {
    const step = await rollUp(pool, 'attempts', { rowsMax: 2, seriesMax, restMs: 0 });
    folded.push(...(step?.folded ?? []));
    return (await db.pool.query(ahead)).rowCount;
  };
  await expect.poll(drain, { timeout: 30_000, interval: 20 }).toBe(0);
}

const series = async () => (await db.pool.query('SELECT FROM rollup_series')).rowCount;

async function asked(filter: Partial<SummaryFilter>, group: SummaryGroup | null = null) {
  const window = { from: Date.now() - 3_600_000, to: Date.now() + 60_000 };
  const { totals, incomplete, rows } = await summarize(db.pool, { ...everything, ...filter }, window, group, 100);
  const parts = rows.map(({ key, totals: of }) => `${key} ${of.sums.attempts} ${of.sums.cost_nanousd}`);
  return { attempts: totals.sums.attempts, incomplete, parts };
}

test('a project that had many models tells new workflows apart, says which models it does not, and is told of once', async () => {
  const made = Array.from({ length: 8 }, (_, n) => seen('flow', `made-up-${n}`));
  await count(made);
  await count([seen('new flow', 'new model')]);
  expect(await series()).toBe(5);
  expect(folded).toEqual([{ projectId, names: 'models' }]);
  expect(await asked({ workflow: 'new flow' }, 'model')).toEqual({
    attempts: 1n,
    incomplete: false,
    parts: ['* 1 10'],
  });
  expect(await asked({ workflow: 'flow' }, 'model')).toMatchObject({ attempts: 8n, incomplete: false });
  expect(await asked({}, 'workflow')).toEqual({
    attempts: 9n,
    incomplete: false,
    parts: ['flow 8 80', 'new flow 1 10'],
  });
  expect(await asked({ model: 'new model' })).toMatchObject({ attempts: 0n, incomplete: true });
  expect(await asked({ model: 'made-up-0' })).toMatchObject({ attempts: 1n, incomplete: true });
  expect(await asked({ model: '*' })).toMatchObject({ attempts: 6n, incomplete: false });
  expect(await asked({ model: 'new model', agentId: 'agt_of nothing' })).toMatchObject({ incomplete: false });
  await count(made.map((row) => ({ ...row, corrects: row.id, costUsd: -4n })));
  expect(await asked({ workflow: 'flow' }, 'model')).toMatchObject({
    parts: ['* 5 30', 'made-up-0 1 6', 'made-up-1 1 6', 'made-up-2 1 6'],
  });
});

test('a project that had many workflows has one sum of the others, of which every filter says that they may be missing', async () => {
  const made = Array.from({ length: 9 }, (_, n) => seen(`flow ${n}`, 'model'));
  await count(made);
  expect(await series()).toBe(2 * seriesMax + 1);
  expect(folded).toEqual([
    { projectId, names: 'models' },
    { projectId, names: 'workflows' },
  ]);
  expect((await asked({}, 'workflow')).parts).toHaveLength(2 * seriesMax + 1);
  expect(await asked({ workflow: 'flow 8' })).toMatchObject({ attempts: 0n, incomplete: true });
  expect(await asked({ workflow: 'flow 0' })).toMatchObject({ attempts: 1n, incomplete: true });
  expect(await asked({ workflow: '*' }, 'model')).toMatchObject({ attempts: 3n, incomplete: false, parts: ['* 3 30'] });
  expect(await asked({})).toMatchObject({ attempts: 9n, incomplete: false });
  await count(made.map((row) => ({ ...row, corrects: row.id, costUsd: -10n })));
  const { rows } = await db.pool.query('SELECT FROM attempt_rollups_1d WHERE cost_nanousd <> 0');
  expect(rows).toEqual([]);
});

test('what a caller names as others are named is summed with what has no name', async () => {
  await count([seen('*', '*', { modelAsked: '*' }), seen('', 'model')]);
  expect(await asked({}, 'workflow')).toMatchObject({ parts: [' 2 20'] });
  expect(await asked({}, 'model')).toMatchObject({ parts: [' 1 10', 'model 1 10'] });
  expect(await asked({ model: 'other' })).toMatchObject({ attempts: 0n, incomplete: false });
  const { rows } = await db.pool.query(`SELECT model FROM run_totals WHERE model = '*'`);
  expect(rows).toEqual([]);
});
