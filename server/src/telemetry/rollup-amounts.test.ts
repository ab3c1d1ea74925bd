import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, writeRows } from '../../../test/support/ledger-days.ts';
import { noUsage } from '../llm/usage.ts';
import { createPool } from '../pg/pool.ts';
import { rollUp } from './rollups.ts';
import { summarize } from './summary.ts';

/** Whatever the ledger says, no row of it keeps the others from being counted. */

let db: TestDatabase;
let pool: Pool;
beforeAll(async () => {
  db = await createTestDatabase();
  pool = createPool({ ...testBounds, max: 1, connectionString: db.appUrl, plansByKey: true });
});
afterAll(async () => {
  await pool.end();
  await db.drop();
});

const sumMax = 2n ** 62n - 1n;
const largest = 2n ** 63n - 1n;
const amount = fc.oneof(
  fc.constantFrom(0n, 1n, largest, sumMax, sumMax + 1n),
  fc.bigInt({ min: 0n, max: largest }),
  fc.bigInt({ min: 0n, max: 1000n }),
);
const rows = fc.array(
  fc.record({
    amounts: fc.array(amount, { minLength: 8, maxLength: 8 }),
    totalMs: fc.constantFrom('0', '-1', '1e300', 'NaN', 'Infinity', '-Infinity', '12.5'),
    corrects: fc.boolean(),
    minutesAgo: fc.nat(2),
  }),
  { minLength: 1, maxLength: 30 },
);
const columns = [
  'tokens_input',
  'tokens_output',
  'tokens_cache_read',
  'tokens_cache_write_5m',
  'tokens_cache_write_1h',
  'tokens_reasoning',
  'cost_nanousd',
  'notional_nanousd',
];

let projects = 0;

async function newProject(): Promise<string> {
  const projectId = `prj_absurd_${++projects}`;
  await db.pool.query('INSERT INTO projects (id, name, control_version) VALUES ($1, $1, 1)', [projectId]);
  return projectId;
}

async function totalsOf(projectId: string) {
  const filter = { projectId, workflow: null, promptVersion: null, model: null, agentId: null };
  const window = { from: Date.now() - 3_600_000, to: Date.now() + 60_000 };
  return (await summarize(db.pool, filter, window, 'model', 10)).totals.sums;
}

test('rows of absurd amounts and times are counted, their sums stand still at 2^62, and other projects are counted with them', async () => {
  await fc.assert(
    fc.asyncProperty(rows, fc.integer({ min: 1, max: 10 }), async (absurd, rowsMax) => {
      const [absurdId, soundId] = [await newProject(), await newProject()];
      const first = attemptAt(Date.now(), { projectId: absurdId, usage: noUsage });
      const made = [
        first,
        ...absurd.map(({ corrects, minutesAgo }) => {
          const own = attemptAt(Date.now() - minutesAgo * 60_000, { projectId: absurdId });
          return corrects ? { ...first, corrects: first.id } : own;
        }),
      ];
      await writeRows(db.pool, made);
      const written = await queryAsOwner<{ row_no: bigint }>(
        db,
        'SELECT row_no FROM attempts WHERE project_id = $1 ORDER BY row_no OFFSET 1',
        [absurdId],
      );
      for (const [n, { amounts, totalMs }] of absurd.entries()) {
        await queryAsOwner(
          db,
          `UPDATE attempts SET total_ms = $2, ${columns.map((name, at) => `${name} = $${at + 3}`).join(', ')}
           WHERE row_no = $1`,
          [written[n]?.row_no, totalMs, ...amounts],
        );
      }
      await writeRows(db.pool, [attemptAt(Date.now(), { projectId: soundId, costUsd: 7n })]);
      // Transactions of other tests on the same server may hold it up.
      while ((await totalsOf(soundId)).attempts === 0n) {
        if ((await rollUp(pool, 'attempts', { rowsMax, seriesMax: 100_000, restMs: 0 }))?.rows === 0) await sleep(20);
      }
      expect((await totalsOf(soundId)).attempts).toBe(1n);
      expect((await totalsOf(soundId)).cost_nanousd).toBe(7n);
      const sums = await totalsOf(absurdId);
      expect(sums.attempts).toBe(BigInt(made.filter(({ corrects }) => corrects === null).length));
      const total = (at: number) => absurd.reduce((sum, { amounts }) => sum + (amounts[at] ?? 0n), 0n);
      const most = (sum: bigint) => (sum < sumMax ? sum : sumMax);
      expect(sums.tokens_output).toBe(most(total(1)));
      expect(sums.tokens_cache_write).toBe(most(total(3) + total(4)));
      expect(sums.cost_nanousd).toBe(most(total(6)));
    }),
    { numRuns: 25 },
  );
}, 120_000);
