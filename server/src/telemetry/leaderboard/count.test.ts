import fc from 'fast-check';
import { Pool } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, queryAsOwner, testBounds, type TestDatabase } from '../../../../test/support/database.ts';
import { boardModelsMax } from '../../base/telemetry-limits.ts';
import { controlWrite, inTransaction } from '../../pg/tx.ts';
import { createPool } from '../../pg/pool.ts';
import { durationBin } from '../histogram.ts';
import { countMarkedRuns } from './count.ts';
import { markForRecount, writeEvaluation, writeRating } from './opinion-store.ts';

/** Decision 0024, invariant 1: what is counted is what there is, whatever came in whatever order, whoever counts and dies. */

let db: TestDatabase;
let other: Pool;

beforeAll(async () => {
  db = await createTestDatabase();
  other = createPool({ ...testBounds, connectionString: db.appUrl });
  await controlWrite(db.pool, async (tx, version) => {
    await tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1)`, [version]);
    await tx.query(
      `INSERT INTO agents (id, project_id, name, state, created_by, control_version)
       VALUES ('agt_a', 'prj_a', 'a', 'active', 'test', $1)`,
      [version],
    );
  });
});
afterAll(async () => {
  await other.end();
  await db.drop();
});

const models = ['', 'small', 'large', '*'];
const outcomes = ['succeeded', 'failed', 'cancelled'];

type Step =
  | { readonly does: 'start'; readonly version: number; readonly task: number; readonly ms: number }
  | { readonly does: 'finish'; readonly run: number; readonly outcome: number; readonly day: number }
  | { readonly does: 'attempt'; readonly run: number; readonly cost: number; readonly model: number }
  | { readonly does: 'rate'; readonly run: number; readonly by: number; readonly rating: number }
  | { readonly does: 'evaluate'; readonly run: number; readonly by: number; readonly score: number }
  | { readonly does: 'die counting'; readonly statement: number }
  | { readonly does: 'count' | 'count twice at once' };

const nat = (max: number) => fc.nat({ max });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ does: fc.constant('start' as const), version: nat(2), task: nat(3), ms: nat(100_000) }),
  fc.record({ does: fc.constant('finish' as const), run: nat(30), outcome: nat(2), day: nat(2) }),
  fc.record({
    does: fc.constant('attempt' as const),
    run: nat(30),
    cost: fc.integer({ min: -50, max: 10 ** 9 }),
    model: nat(3),
  }),
  fc.record({ does: fc.constant('rate' as const), run: nat(30), by: nat(2), rating: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ does: fc.constant('evaluate' as const), run: nat(30), by: nat(2), score: nat(1_000_000) }),
  fc.record({ does: fc.constant('die counting' as const), statement: nat(7) }),
  fc.record({ does: fc.constantFrom('count' as const, 'count twice at once' as const) }),
);

let runs = 0;
let deaths = 0;

/** What RunService, the rollup's worker and the services of opinions write, as they write it. */
async function take(made: string[], next: Step): Promise<void> {
  const id = 'run' in next ? made[next.run % Math.max(1, made.length)] : undefined;
  if (next.does === 'start') {
    const started = `run_t${String(runs++).padStart(8, '0')}`;
    made.push(started);
    await db.pool.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, prompt_version, task_id, started_at, control_version)
       VALUES ($1, 'prj_a', 'agt_a', 'w', $2, $3, timestamptz '2026-11-01' - $4 * interval '1 ms', 1)`,
      [started, next.version === 0 ? null : `v${next.version}`, next.task === 0 ? null : `task ${next.task}`, next.ms],
    );
  } else if (next.does === 'count') await countMarkedRuns(db.pool);
  else if (next.does === 'count twice at once') await Promise.all([countMarkedRuns(db.pool), countMarkedRuns(other)]);
  else if (next.does === 'die counting') await dieCounting(next.statement);
  else if ('run' in next && id !== undefined) await change(id, next);
}

async function change(id: string, next: Extract<Step, { run: number }>): Promise<void> {
  await inTransaction(db.pool, async (tx) => {
    const { rows } = await tx.query<{ state: string }>('SELECT state FROM runs WHERE id = $1', [id]);
    const hasEnded = rows[0]?.state !== 'running';
    if (next.does === 'finish') {
      await tx.query(
        `UPDATE runs SET state = $2, finished_at = timestamptz '2026-11-01' + $3 * interval '1 day'
         WHERE id = $1 AND state = 'running'`,
        [id, outcomes[next.outcome], next.day],
      );
    } else if (next.does === 'attempt') {
      await tx.query(
        `INSERT INTO run_totals AS t (run_id, project_id, cost_nanousd, model) VALUES ($1, 'prj_a', $2, $3)
         ON CONFLICT (run_id) DO UPDATE SET cost_nanousd = t.cost_nanousd + excluded.cost_nanousd, model = excluded.model`,
        [id, next.cost, models[next.model]],
      );
    } else if (!hasEnded) return;
    else if (next.does === 'rate') {
      await writeRating(tx, 'prj_a', { runId: id, ratedBy: `psn_${next.by}`, rating: next.rating, comment: '' });
    } else {
      const evaluation = {
        runId: id,
        evaluator: `judge ${next.by}`,
        scorePpm: next.score,
        notes: '',
        recordedBy: 'svc',
      };
      await writeEvaluation(tx, 'prj_a', evaluation);
    }
    await markForRecount(tx, 'prj_a', id);
  });
}

/** A worker whose connection breaks before one of its statements, BEGIN and COMMIT among them. */
async function dieCounting(statement: number): Promise<void> {
  const dying = new Pool({ connectionString: db.appUrl, max: 1 });
  dying.on('error', () => undefined);
  dying.on('connect', (client) => {
    client.on('error', () => undefined);
    const query = client.query.bind(client) as (...given: readonly unknown[]) => Promise<unknown>;
    let statements = 0;
    const broken = async (...given: readonly unknown[]) => {
      if (statements++ === statement) {
        const { rows } = (await query('SELECT pg_backend_pid() AS pid')) as { rows: { pid: number }[] };
        await queryAsOwner(db, 'SELECT pg_terminate_backend($1)', [rows[0]?.pid]);
        deaths++;
      }
      return query(...given);
    };
    Object.assign(client, { query: broken });
  });
  await countMarkedRuns(dying).catch(() => undefined);
  await dying.end();
}

interface Day {
  readonly version: string;
  readonly model: string;
  readonly day: string;
  readonly [sum: string]: string;
}

const days = `SELECT prompt_version AS version, model, day::text, succeeded::text, failed::text, cancelled::text, cost_nanousd::text,
    succeeded_nanousd::text, cost_squares::text, ratings::text, rating_ppm::text, rating_squares::text, evaluations::text,
    evaluation_ppm::text, evaluation_squares::text FROM version_days
  WHERE succeeded + failed + cancelled > 0 ORDER BY 1, 2, 3`;

/** The same, of the runs one by one and in JavaScript. */
async function afresh(): Promise<{ readonly days: Day[]; readonly durations: Map<string, bigint> }> {
  const { rows } = await db.pool.query<{
    id: string;
    version: string | null;
    state: string;
    started_at: Date;
    finished_at: Date;
    cost: bigint | null;
    model: string | null;
  }>(
    `SELECT r.id, r.prompt_version AS version, r.state, r.started_at, r.finished_at, t.cost_nanousd AS cost, t.model
     FROM runs AS r LEFT JOIN run_totals AS t ON t.run_id = r.id WHERE r.state <> 'running'`,
  );
  const ratings = await db.pool.query<{ run_id: string; rating: number }>('SELECT run_id, rating FROM run_ratings');
  const scores = await db.pool.query<{ run_id: string; score_ppm: number }>(
    'SELECT run_id, score_ppm FROM run_evaluations',
  );
  const sums = new Map<string, Record<string, bigint>>();
  const durations = new Map<string, bigint>();
  for (const run of rows) {
    const key = [run.version ?? '', run.model ?? '', run.finished_at.toISOString().slice(0, 10)].join('|');
    const sum = sums.get(key) ?? {};
    sums.set(key, sum);
    const add = (name: string, amount: bigint) => (sum[name] = (sum[name] ?? 0n) + amount);
    const cost = run.cost ?? 0n;
    add(run.state, 1n);
    add('cost_nanousd', cost);
    add('cost_squares', cost * cost);
    if (run.state === 'succeeded') {
      add('succeeded_nanousd', cost);
      const bin = `${key}|${durationBin(run.finished_at.getTime() - run.started_at.getTime())}`;
      durations.set(bin, (durations.get(bin) ?? 0n) + 1n);
    }
    const addMean = (names: readonly [string, string, string], given: readonly number[], unit: bigint) => {
      if (given.length === 0) return;
      // As `round` of a numeric does: a half away from 0.
      const [sumOf, count] = [given.reduce((all, one) => all + BigInt(one), 0n) * unit, BigInt(given.length)];
      const mean = (2n * sumOf + count) / (2n * count);
      add(names[0], 1n);
      add(names[1], mean);
      add(names[2], mean ** 2n);
    };
    const ofRun = <T extends { run_id: string }>(all: readonly T[]) => all.filter(({ run_id: id }) => id === run.id);
    addMean(
      ['ratings', 'rating_ppm', 'rating_squares'],
      ofRun(ratings.rows).map(({ rating }) => rating),
      1_000_000n,
    );
    addMean(
      ['evaluations', 'evaluation_ppm', 'evaluation_squares'],
      ofRun(scores.rows).map(({ score_ppm: ppm }) => ppm),
      1n,
    );
  }
  const names = [
    'succeeded',
    'failed',
    'cancelled',
    'cost_nanousd',
    'succeeded_nanousd',
    'cost_squares',
    'ratings',
    'rating_ppm',
    'rating_squares',
    'evaluations',
    'evaluation_ppm',
    'evaluation_squares',
  ];
  return {
    days: [...sums].map(([key, sum]) => {
      const [version = '', model = '', day = ''] = key.split('|');
      const counted = Object.fromEntries(names.map((name) => [name, String(sum[name] ?? 0n)]));
      return { version, model, day, ...counted };
    }),
    durations,
  };
}

async function counted(): Promise<Awaited<ReturnType<typeof afresh>>> {
  const { rows } = await db.pool.query<Day>(days);
  const bins = await db.pool.query<{ key: string; runs: bigint }>(
    `SELECT concat_ws('|', prompt_version, model, day::text, bin::text) AS key, runs FROM version_durations WHERE runs <> 0`,
  );
  return { days: rows, durations: new Map(bins.rows.map(({ key, runs: count }) => [key, count])) };
}

const sorted = (rows: readonly Day[]) =>
  rows.toSorted((a, b) => (`${a.version}|${a.model}|${a.day}` < `${b.version}|${b.model}|${b.day}` ? -1 : 1));

describe('what is counted of runs', () => {
  it('is the sum over runs, afresh, after anything in any order, deaths and two workers included', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 90, size: 'max' }), async (steps) => {
        const made: string[] = [];
        for (const next of steps) await take(made, next);
        await countMarkedRuns(db.pool);
        const [is, should] = [await counted(), await afresh()];
        expect(sorted(is.days)).toEqual(sorted(should.days));
        expect(is.durations).toEqual(should.durations);
      }),
      { numRuns: 12 },
    );
    expect(deaths).toBeGreaterThan(5);
  });

  it('is right where workers count while others write, and nobody waits for nobody in a circle', async () => {
    const made: string[] = [];
    for (let i = 0; i < 60; i++) await take(made, { does: 'start', version: i % 3, task: i % 4, ms: i });
    const writing = { isDone: false };
    const failures: unknown[] = [];
    const workers = [db.pool, other].map(async (pool) => {
      while (!writing.isDone) await countMarkedRuns(pool).catch((error: unknown) => failures.push(error));
    });
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let i = 0; i < 120; i++) {
        const run = (writer * 31 + i * 7) % made.length;
        const kinds: readonly Step[] = [
          { does: 'finish', run, outcome: i % 3, day: i % 2 },
          { does: 'attempt', run, cost: i * 1_000, model: i % 4 },
          { does: 'rate', run, by: writer, rating: 1 + (i % 5) },
          { does: 'evaluate', run, by: i % 3, score: i * 1_000 },
        ];
        await take(made, kinds[(i + writer) % kinds.length] ?? { does: 'count' });
      }
    });
    await Promise.all(writers);
    writing.isDone = true;
    await Promise.all(workers);
    await countMarkedRuns(db.pool);
    expect(failures).toEqual([]);
    const { rows } = await db.pool.query('SELECT FROM run_totals WHERE recount');
    expect(rows).toEqual([]);
    const [is, should] = [await counted(), await afresh()];
    expect(sorted(is.days)).toEqual(sorted(should.days));
    expect(is.durations).toEqual(should.durations);
  });

  it('of the same many versions is added by several workers at once, each in its turn', async () => {
    await db.pool.query(
      `WITH made AS (
         INSERT INTO runs (id, project_id, agent_id, workflow, prompt_version, state, started_at, finished_at, control_version)
         SELECT 'run_w' || n, 'prj_a', 'agt_a', 'wide', 'v' || n % 100, 'succeeded', now() - n % 100 * interval '1 s', now(), 1
         FROM generate_series(1, 6000) AS n RETURNING id
       ) INSERT INTO run_totals (run_id, project_id, recount) SELECT id, 'prj_a', true FROM made`,
    );
    const four = await Promise.all([db.pool, other, db.pool, other].map((pool) => countMarkedRuns(pool)));
    expect(four.reduce((all, runsOfOne) => all + runsOfOne)).toBe(6_000);
    const { rows } = await db.pool.query(
      `SELECT count(*), sum(succeeded)::int, (SELECT sum(runs)::int FROM version_durations WHERE workflow = 'wide') AS durations
       FROM version_days WHERE workflow = 'wide'`,
    );
    expect(rows).toEqual([{ count: 100n, sum: 6_000, durations: 6_000 }]);
  });

  it('is one rating and one evaluation a run, the mean, however many somebody gives', async () => {
    const made: string[] = [];
    await take(made, { does: 'start', version: 0, task: 0, ms: 5 });
    await take(made, { does: 'finish', run: 0, outcome: 0, day: 7 });
    for (let by = 0; by < 100; by++) await take(made, { does: 'evaluate', run: 0, by, score: by * 10_000 });
    for (const rating of [1, 2, 2]) await take(made, { does: 'rate', run: 0, by: rating * 10 + made.length, rating });
    await countMarkedRuns(db.pool);
    const { rows } = await db.pool.query(
      `SELECT ratings, rating_ppm, evaluations, evaluation_ppm FROM version_days WHERE day = '2026-11-08'`,
    );
    expect(rows).toEqual([{ ratings: 1n, rating_ppm: 1_500_000n, evaluations: 1n, evaluation_ppm: 495_000n }]);
  });

  it('is told apart by the first models of a workflow, and is of none of them under any other name', async () => {
    const runsOf = (prefix: string, from: number, to: number) =>
      db.pool.query(
        `WITH made AS (
           INSERT INTO runs (id, project_id, agent_id, workflow, state, started_at, finished_at, control_version)
           SELECT 'run_' || $1 || n, 'prj_a', 'agt_a', 'named', 'failed', now(), now(), 1 FROM generate_series($2::int, $3::int) AS n
           RETURNING id
         ) INSERT INTO run_totals (run_id, project_id, model, cost_nanousd, recount)
         SELECT id, 'prj_a', 'model ' || id, 1, true FROM made`,
        [prefix, from, to],
      );
    for (const [from, to] of [
      [1, 60],
      [61, 300],
      [301, 900],
    ] as const) {
      await runsOf('named', from, to);
      await countMarkedRuns(db.pool);
    }
    const models = async () => {
      const { rows } = await db.pool.query<{ model: string; runs: bigint }>(
        `SELECT model, sum(failed)::bigint AS runs FROM version_days WHERE workflow = 'named' GROUP BY 1`,
      );
      return new Map(rows.map(({ model, runs: count }) => [model, count]));
    };
    const told = await models();
    expect(told.size).toBe(boardModelsMax + 1);
    expect(told.get('*')).toBe(900n - BigInt(boardModelsMax));
    // Counted again, each is where it was.
    await db.pool.query(`UPDATE run_totals SET recount = true, cost_nanousd = 2 WHERE run_id LIKE 'run_named%'`);
    await Promise.all([countMarkedRuns(db.pool), countMarkedRuns(other)]);
    expect(await models()).toEqual(told);
  });

  it('is one batch after the other, and no batch where nothing is marked', async () => {
    expect(await countMarkedRuns(db.pool)).toBe(0);
    await db.pool.query(
      `INSERT INTO run_totals (run_id, project_id, recount)
       SELECT 'run_none' || n, 'prj_a', true FROM generate_series(1, 1201) AS n`,
    );
    expect(await countMarkedRuns(db.pool)).toBe(1_201);
    expect(await countMarkedRuns(db.pool)).toBe(0);
  });
});
