import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, writeRows } from '../../../test/support/ledger-days.ts';
import { projectId, seedProject } from '../../../test/support/ledger.ts';
import { rollupsAndRows } from '../../../test/support/rollup-oracle.ts';
import { migrate } from '../pg/migrate.ts';
import { createPool } from '../pg/pool.ts';
import { rollUp } from './rollups.ts';
import { rollupSources } from './rollup-store.ts';

/** Numbers of transactions mean nothing in another cluster (decision 0022). */

let db: TestDatabase;
let pool: Pool;
beforeEach(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  pool = createPool({ ...testBounds, max: 2, connectionString: db.appUrl, plansByKey: true });
});
afterEach(async () => {
  await pool.end();
  await db.drop();
});

const all = { rowsMax: 1000, seriesMax: 1000, restMs: 0 };
const write = (costUsd: bigint) => writeRows(db.pool, [attemptAt(Date.now(), { costUsd })]);

async function catchUp(): Promise<bigint | undefined> {
  for (;;) {
    for (const source of rollupSources) await rollUp(pool, source, all);
    const connection = await db.pool.connect();
    const { rollups, rows, ahead } = await rollupsAndRows(connection, projectId);
    connection.release();
    expect(rollups).toEqual(rows);
    if (ahead === 0) break;
    await sleep(20);
  }
  const { rows } = await db.pool.query<{ cost: bigint }>(
    'SELECT sum(cost_nanousd)::bigint AS cost FROM attempt_rollups_1d',
  );
  return rows[0]?.cost;
}

/** As a restored dump does: the rows are the same, and were written by other transactions, which may have lower numbers. */
async function restoreElsewhere(lead: number): Promise<void> {
  await queryAsOwner(db, `UPDATE attempts SET tx_id = tx_id + ${lead}`);
  await queryAsOwner(db, 'CREATE TABLE brought AS SELECT * FROM rollup_watermarks');
  await queryAsOwner(db, 'DELETE FROM rollup_watermarks');
  await queryAsOwner(db, 'INSERT INTO rollup_watermarks SELECT * FROM brought');
  await queryAsOwner(db, 'DROP TABLE brought');
  await queryAsOwner(
    db,
    `UPDATE rollup_watermarks
     SET tx_id = tx_id + ${lead}, goal_tx_id = goal_tx_id + ${lead}, moved_by = moved_by + ${lead}`,
  );
}

test.each([
  ['far behind', 1_000_000_000],
  ['ahead of them', 0],
])(
  'in another cluster that is %s the numbers of a dump, nothing is counted until it was migrated, and then everything is, once',
  async (_, lead) => {
    await write(1n);
    await catchUp();
    await write(4n);
    await restoreElsewhere(lead);
    for (const source of [...rollupSources, ...rollupSources]) {
      await expect(rollUp(pool, source, all)).rejects.toThrow(/restored from a dump/);
    }
    await expect(db.pool.query('SELECT tx_renumber()')).rejects.toThrow(/permission denied/);
    await migrate(db.ownerUrl);
    expect(await queryAsOwner(db, 'SELECT tx_renumber() AS changed')).toEqual([{ changed: false }]);
    await write(2n);
    expect(await catchUp()).toBe(7n);
    expect(await queryAsOwner(db, 'SELECT tx_renumber() AS changed')).toEqual([{ changed: false }]);
  },
);

test('a table that was rewritten in its own cluster stays what it was', async () => {
  await write(1n);
  await catchUp();
  await queryAsOwner(db, 'VACUUM FULL FREEZE rollup_watermarks');
  await write(2n);
  expect(await catchUp()).toBe(3n);
});
