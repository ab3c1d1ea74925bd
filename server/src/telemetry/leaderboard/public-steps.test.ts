import fc from 'fast-check';
import type { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../../test/support/database.ts';
import { publicRunsMin } from '../../base/telemetry-limits.ts';
import { createPool } from '../../pg/pool.ts';
import { controlWrite } from '../../pg/tx.ts';
import type { VersionSums } from './model.ts';
import { publicSums } from './public-steps.ts';

/** Decision 0024, invariant 2: whoever keeps all boards there ever were knows nothing of fewer than five runs. */

let db: TestDatabase;
let other: Pool;
const dayMs = 86_400_000;
const start = Date.UTC(2026, 9, 1, 12);
let flows = 0;

beforeAll(async () => {
  db = await createTestDatabase();
  other = createPool({ ...testBounds, connectionString: db.appUrl });
  await controlWrite(db.pool, (tx, version) =>
    tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1)`, [version]),
  );
});
afterAll(async () => {
  await other.end();
  await db.drop();
});

/** A workflow of its own, with a version whose label somebody confirmed. */
async function newFlow(): Promise<{ readonly projectId: string; readonly workflow: string }> {
  const workflow = `flow ${flows++}`;
  await db.pool.query(
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, label_confirmed, registered_by)
     VALUES ($1, 'prj_a', $2, repeat('a', 64), 'v', true, 'test')`,
    [`prm_${workflow}`, workflow],
  );
  return { projectId: 'prj_a', workflow };
}

/** What one run adds to what is counted. Each has a bit of its own, so that a sum names the runs it is of. */
interface Counted {
  readonly at: number;
  readonly day: number;
  readonly outcome?: 'succeeded' | 'failed' | 'cancelled';
  readonly isRated?: boolean;
  readonly isEvaluated?: boolean;
}

async function count(
  workflow: string,
  { at, day, outcome, isRated = false, isEvaluated = false }: Counted,
): Promise<void> {
  const bit = (is: boolean) => (is ? 1n << BigInt(at) : 0n).toString();
  const [succeeded, failed, cancelled] = ['succeeded', 'failed', 'cancelled'].map((one) => Number(outcome === one));
  const date = new Date(start + day * dayMs).toISOString().slice(0, 10);
  await db.pool.query(
    `INSERT INTO version_days AS d (project_id, workflow, prompt_version, model, day, succeeded, failed, cancelled, cost_nanousd,
       succeeded_nanousd, cost_squares, ratings, rating_ppm, rating_squares, evaluations, evaluation_ppm, evaluation_squares)
     VALUES ('prj_a', $1, repeat('a', 64), '', $2, $3, $4, $5, $6, $7, 0, $8, $9, 0, $10, $11, 0)
     ON CONFLICT (project_id, workflow, day, prompt_version, model) DO UPDATE SET
       succeeded = d.succeeded + excluded.succeeded, failed = d.failed + excluded.failed,
       cancelled = d.cancelled + excluded.cancelled, cost_nanousd = d.cost_nanousd + excluded.cost_nanousd,
       succeeded_nanousd = d.succeeded_nanousd + excluded.succeeded_nanousd, ratings = d.ratings + excluded.ratings,
       rating_ppm = d.rating_ppm + excluded.rating_ppm, evaluations = d.evaluations + excluded.evaluations,
       evaluation_ppm = d.evaluation_ppm + excluded.evaluation_ppm`,
    [
      workflow,
      date,
      succeeded,
      failed,
      cancelled,
      bit(outcome !== undefined),
      bit(outcome === 'succeeded'),
      Number(isRated),
      bit(isRated),
      Number(isEvaluated),
      bit(isEvaluated),
    ],
  );
  if (outcome === 'succeeded') {
    await db.pool.query(
      `INSERT INTO version_durations (project_id, workflow, prompt_version, model, day, bin, runs)
       VALUES ('prj_a', $1, repeat('a', 64), '', $2, $3, 1)`,
      [workflow, date, at],
    );
  }
}

const runsMax = 60;
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ does: fc.constant('end' as const), outcome: fc.nat({ max: 3 }), late: fc.nat({ max: 3 }) }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('rate' as const), run: fc.nat(runsMax) }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('evaluate' as const), run: fc.nat(runsMax) }) },
  { weight: 4, arbitrary: fc.record({ does: fc.constant('look' as const), days: fc.nat({ max: 12 }) }) },
);

const outcomes = ['succeeded', 'succeeded', 'failed', 'cancelled'] as const;
const bitsOf = (sum: bigint) =>
  Array.from({ length: runsMax }, (_, at) => at).filter((at) => ((sum >> BigInt(at)) & 1n) === 1n);

/** Sets of what boards are of, as small as all boards together can tell them apart. */
function atoms(boards: readonly (readonly number[])[]): number[][] {
  const by = new Map<string, number[]>();
  for (const one of new Set(boards.flat())) {
    const where = boards.map((board) => Number(board.includes(one))).join('');
    by.set(where, [...(by.get(where) ?? []), one]);
  }
  return [...by.values()];
}

describe('what strangers see of a version', () => {
  it('tells of no fewer than five runs, successes, ratings or evaluations, whichever boards are compared', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 70 }), async (steps) => {
        const scope = await newFlow();
        const ended: { outcome: string; day: number; isRated: boolean; isEvaluated: boolean }[] = [];
        const boards: VersionSums[] = [];
        const settled: [VersionSums[], VersionSums[]][] = [];
        const released = new Map<string, { rating_ppm: bigint; evaluation_ppm: bigint }>();
        let today = 0;
        for (const one of steps) {
          const of = 'run' in one ? ended[one.run] : undefined;
          if (one.does === 'end' && ended.length < runsMax) {
            const outcome = outcomes[one.outcome] ?? 'failed';
            const run = { outcome, day: today - one.late, isRated: false, isEvaluated: false };
            await count(scope.workflow, { at: ended.length, day: run.day, outcome });
            ended.push(run);
          } else if (one.does === 'look') {
            today += one.days;
            const now = start + today * dayMs;
            // Two replicas at once, of which one may still show what was; then the same for all.
            const [here, there] = await Promise.all([
              publicSums(db.pool, scope, now, 10),
              publicSums(other, scope, now, 10),
            ]);
            settled.push([await publicSums(db.pool, scope, now, 10), await publicSums(other, scope, now, 10)]);
            boards.push(...here, ...there);
            // Steps that left the window are folded.
            const { rows } = await db.pool.query<{ day: string; rating_ppm: bigint; evaluation_ppm: bigint }>(
              `SELECT day::text, rating_ppm, evaluation_ppm FROM public_steps WHERE workflow = $1 AND isfinite(day)`,
              [scope.workflow],
            );
            for (const row of rows) released.set(row.day, row);
          } else if (one.does === 'rate' && of && !of.isRated) {
            of.isRated = true;
            await count(scope.workflow, { at: one.run, day: of.day, isRated: true });
          } else if (one.does === 'evaluate' && of && !of.isEvaluated) {
            of.isEvaluated = true;
            await count(scope.workflow, { at: one.run, day: of.day, isEvaluated: true });
          }
        }
        boards.push(...settled.flat(2));
        for (const [here, there] of settled) expect(here).toEqual(there);
        const told = boards.map(({ costNanousd }) =>
          bitsOf(costNanousd).filter((at) => ended[at]?.outcome !== 'cancelled'),
        );
        const durations = boards.map(({ durations: bins }) => [...bins.keys()]);
        const opinions = [
          [...released.values()].map((row) => bitsOf(row.rating_ppm)),
          [...released.values()].map((row) => bitsOf(row.evaluation_ppm)),
        ];
        for (const { cancelled } of boards) expect(cancelled === 0n || cancelled >= publicRunsMin).toBe(true);
        told.forEach((runs) => seen.add(`${scope.workflow} ${runs.join()}`));
        for (const [boardsOf, kind] of [[told, 'runs'] as const, [durations, 'durations'] as const])
          for (const atom of atoms(boardsOf)) expect(atom.length, kind).toBeGreaterThanOrEqual(publicRunsMin);
        for (const kind of opinions) {
          expect(kind.flat()).toHaveLength(new Set(kind.flat()).size);
          for (const some of kind) expect(some.length === 0 || some.length >= publicRunsMin).toBe(true);
        }
      }),
      { numRuns: 25 },
    );
    // There was something to compare.
    expect(seen.size).toBeGreaterThan(40);
  }, 120_000);

  it('is of whole days: up to yesterday, of thirty days, in steps that never change', async () => {
    const scope = await newFlow();
    const shown = async (day: number) =>
      (await publicSums(db.pool, scope, start + day * dayMs, 10))[0]?.succeeded ?? 0n;
    const end = async (from: number, runs: number, day: number) => {
      for (let at = from; at < from + runs; at++) await count(scope.workflow, { at, day, outcome: 'succeeded' });
    };
    await end(0, 6, 0);
    expect(await shown(0)).toBe(0n);
    expect(await shown(1)).toBe(6n);
    // One that was counted late, of the day before, and four of today: five.
    await end(6, 1, 0);
    await end(7, 3, 1);
    expect([await shown(1), await shown(2)]).toEqual([6n, 6n]);
    await end(10, 1, 2);
    expect([await shown(2), await shown(3)]).toEqual([6n, 11n]);
    expect([await shown(30), await shown(31), await shown(33)]).toEqual([11n, 5n, 0n]);
  });

  const endSome = async (workflow: string, runs: number, day: number, outcome: 'succeeded' | 'failed') => {
    for (let at = 0; at < runs; at++) await count(workflow, { at, day, outcome });
  };

  it('is of its thirty days alone after a gap in which nobody looked', async () => {
    const scope = await newFlow();
    const look = (day: number) => publicSums(db.pool, scope, start + day * dayMs, 10);
    await endSome(scope.workflow, 10, 0, 'succeeded');
    expect(await look(1)).toMatchObject([{ succeeded: 10n, failed: 0n }]);
    for (const day of [20, 90, 150]) await endSome(scope.workflow, 50, day, 'failed');
    // Four of before the gap are held back with what comes.
    await endSome(scope.workflow, 4, 160, 'failed');
    for (const day of [260, 280]) await endSome(scope.workflow, 8, day, 'succeeded');
    expect(await look(281)).toMatchObject([{ succeeded: 16n, failed: 0n }]);
    expect(await look(295)).toMatchObject([{ succeeded: 8n, failed: 0n }]);
  });

  it('keeps what is held back when days leave the window, and reads no more than its days', async () => {
    const scope = await newFlow();
    const look = (day: number) => publicSums(db.pool, scope, start + day * dayMs, 10);
    await look(0);
    const shown: bigint[] = [];
    for (let day = 0; day < 100; day += 3) {
      await endSome(scope.workflow, 1, day, 'succeeded');
      const [sums] = await look(day + 1);
      if (day > 40) shown.push(sums?.succeeded ?? 0n);
    }
    // Of a run each third day a window holds ten, of which four may still be held back, or be of before it.
    for (const runs of shown) expect([5n, 10n, 15n]).toContain(runs);
    const { rows } = await db.pool.query(
      `SELECT count(*) FILTER (WHERE isfinite(day)) <= 30 AS few, count(*) FILTER (WHERE NOT isfinite(day)) AS folded,
              (SELECT from_day > '2026-11-20' FROM public_counts WHERE workflow = $1) AS moved,
              (SELECT count(*) FROM public_durations WHERE workflow = $1) < 20 AS short
       FROM public_steps WHERE workflow = $1`,
      [scope.workflow],
    );
    expect(rows).toEqual([{ few: true, folded: 1n, moved: true, short: true }]);
    // What changes of folded days is no news.
    await endSome(scope.workflow, 20, 5, 'failed');
    expect((await look(105))[0]?.failed).toBe(0n);
  });

  it('waits for runs of those days that are not counted yet, and for no others', async () => {
    const scope = await newFlow();
    await queryAsOwner(
      db,
      `WITH a AS (INSERT INTO agents (id, project_id, name, created_by, control_version) VALUES ('agt_w', 'prj_a', 'w', 'test', 1)),
       r AS (INSERT INTO runs (id, project_id, agent_id, workflow, state, started_at, finished_at, control_version)
         VALUES ('run_waiting1', 'prj_a', 'agt_w', $1, 'succeeded', $2, $2, 1))
       INSERT INTO run_totals (run_id, project_id, model, recount) VALUES ('run_waiting1', 'prj_a', '', true)`,
      [scope.workflow, new Date(start)],
    );
    for (let at = 0; at < 5; at++) await count(scope.workflow, { at, day: 0, outcome: 'failed' });
    expect(await publicSums(db.pool, scope, start + dayMs, 10)).toEqual([]);
    // Counted once, whoever rates it marks it again and again.
    await queryAsOwner(
      db,
      `INSERT INTO counted_runs (run_id, project_id, workflow, prompt_version, model, day, outcome, cost_nanousd, duration_bin)
       SELECT id, project_id, workflow, '', '', started_at::date, state, 0, 0 FROM runs WHERE id = 'run_waiting1'`,
    );
    expect(await publicSums(db.pool, scope, start + dayMs, 10)).toMatchObject([{ failed: 5n, label: 'v' }]);
  });

  it('has no label that nobody confirmed, and no version that is not registered', async () => {
    const scope = await newFlow();
    for (let at = 0; at < 5; at++) await count(scope.workflow, { at, day: 0, outcome: 'failed' });
    await queryAsOwner(db, `UPDATE prompt_versions SET label_confirmed = false WHERE workflow = $1`, [scope.workflow]);
    expect(await publicSums(db.pool, scope, start + dayMs, 10)).toMatchObject([{ label: 'version aaaaaaaa' }]);
    // Whoever chooses a digest with the same beginning cannot pass for it.
    await db.pool.query(
      `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
       VALUES ('prm_twin', 'prj_a', $1, repeat('a', 63) || 'b', 'twin', 'test')`,
      [scope.workflow],
    );
    await db.pool.query(
      `INSERT INTO version_days SELECT project_id, workflow, repeat('a', 63) || 'b', model, day + 1, succeeded, failed, cancelled,
         cost_nanousd, succeeded_nanousd, cost_squares, ratings, rating_ppm, rating_squares, evaluations, evaluation_ppm,
         evaluation_squares FROM version_days WHERE workflow = $1`,
      [scope.workflow],
    );
    const twins = await publicSums(db.pool, scope, start + 2 * dayMs, 10);
    expect(twins.map(({ label }) => label)).toEqual([`version ${'a'.repeat(64)}`, `version ${'a'.repeat(63)}b`]);
    await queryAsOwner(db, `DELETE FROM prompt_versions WHERE workflow = $1`, [scope.workflow]);
    expect(await publicSums(db.pool, scope, start + dayMs, 10)).toEqual([]);
  });
});
