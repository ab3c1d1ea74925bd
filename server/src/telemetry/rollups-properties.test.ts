import fc from 'fast-check';
import type { Client, Pool, PoolClient } from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { attemptAt, dayOf, makeDay, writeRows } from '../../../test/support/ledger-days.ts';
import {
  type KnownAttempt,
  knownAttempts,
  readLedger,
  rollupsAndRows,
  summed,
} from '../../../test/support/rollup-oracle.ts';
import { newId } from '../base/ids.ts';
import type { Attempt } from '../budget/model.ts';
import { createClient, createPool } from '../pg/pool.ts';
import { percentile } from './histogram.ts';
import { sumNames } from './rollup-sql.ts';
import { rollUp } from './rollups.ts';
import { rollupSources } from './rollup-store.ts';
import { type Latency, summarize } from './summary.ts';
import { isTime, seriesGroups, timeGroups } from './summary-store.ts';

const hour = 3_600_000;
const day = 24 * hour;
const now = Math.floor(Date.now() / day) * day + 15 * hour;

let db: TestDatabase;
let workers: Pool[] = [];
let observer: Client;

const workerPool = () => createPool({ ...testBounds, max: 1, connectionString: db.appUrl, plansByKey: true });

beforeAll(async () => {
  db = await createTestDatabase();
  for (const ago of [3, 30]) await makeDay(db, dayOf(now - ago * day));
  workers = [workerPool(), workerPool()];
  observer = createClient({ ...testBounds, connectionString: db.appUrl });
  await observer.connect();
});
afterAll(async () => {
  await Promise.all([observer, ...workers].map((connected) => connected.end()));
  await db.drop();
});

// What can happen. Attempts, runs and connections are few, so that these meet each other.
const attempts = fc.integer({ min: 0, max: 7 });
const writers = fc.integer({ min: 0, max: 2 });
const outcome = fc.constantFrom<Attempt['outcome']>(
  'success',
  'failed',
  'timeout',
  'refused',
  'killed',
  'budget',
  'client_closed',
);
const told = fc.record({
  outcome: fc.oneof(
    { weight: 2, arbitrary: fc.constant<Attempt['outcome']>('success') },
    { weight: 1, arbitrary: outcome },
  ),
  provenance: fc.constantFrom<Attempt['provenance']>('estimated', 'measured'),
  costUsd: fc.integer({ min: -1000, max: 1000 }).map(BigInt),
  notionalUsd: fc.integer({ min: 0, max: 100 }).map(BigInt),
  tokens: fc.integer({ min: -50, max: 50 }),
  totalMs: fc.oneof(fc.constantFrom(0, 1, 2 ** 0.125, 1e9), fc.double({ min: 0, max: 1e5, noNaN: true })),
  connectMs: fc.constantFrom(null, 1),
});
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('attempt' as const), writer: writers, of: attempts, told }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('correction' as const), writer: writers, of: attempts, told }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('event' as const),
      writer: writers,
      level: fc.constantFrom('info', 'warn', 'error'),
      minutesAgo: fc.integer({ min: 0, max: 10_000 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const), writer: writers, commit: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('roll up' as const), rowsMax: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('both roll up' as const), rowsMax: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('die' as const),
      rowsMax: fc.integer({ min: 1, max: 6 }),
      at: fc.integer({ min: 1, max: 9 }),
    }),
  },
);
const series = fc.record({
  daysAgo: fc.constantFrom(0, 0, 0.02, 0.2, 3, 30, 400),
  offsetMs: fc.integer({ min: 0, max: 3 * hour }),
  agentId: fc.constantFrom('agt_1', 'agt_2', null),
  run: fc.constantFrom(0, 1, null),
  provider: fc.constantFrom('claude', 'claude', null),
  modelServed: fc.constantFrom('a', 'b'),
  modelAsked: fc.constantFrom('x', 'y'),
  attemptNo: fc.integer({ min: 1, max: 3 }),
});
const window = fc.record({
  fromMs: fc.oneof(
    fc.integer({ min: 0, max: 5 * day }),
    fc.integer({ min: 0, max: 500 * day }),
    fc.integer({ min: 0, max: 8 * hour }),
  ),
  lengthMs: fc.oneof(fc.integer({ min: 1, max: 2 * hour }), fc.integer({ min: 1, max: 600 * day })),
  model: fc.constantFrom(null, null, 'a'),
  agentId: fc.constantFrom(null, null, 'agt_1'),
  workflow: fc.constantFrom(null, null, 'flow 1'),
  group: fc.constantFrom(null, ...seriesGroups, ...timeGroups),
});

type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Series = typeof series extends fc.Arbitrary<infer T> ? T : never;

const nothing = Object.fromEntries(sumNames.map((name) => [name, 0n]));

let projects = 0;

/** A project of its own, with two runs, and three connections that write to it. */
class World {
  readonly projectId = `prj_rolled_${++projects}`;
  readonly ids: readonly string[];
  readonly runIds: readonly string[] = [newId('run', now - hour), newId('run', now - 2 * day)];
  readonly #series: readonly Series[];
  readonly #open = new Map<number, { readonly client: PoolClient; readonly wrote: Set<number> }>();

  constructor(of: readonly Series[]) {
    this.#series = of;
    this.ids = of.map(({ daysAgo, offsetMs }) => newId('att', now - daysAgo * day - offsetMs));
  }

  async make(): Promise<void> {
    await db.pool.query(`INSERT INTO projects (id, name, control_version) VALUES ($1, $1, 1)`, [this.projectId]);
    await db.pool.query(
      `INSERT INTO agents (id, project_id, name, created_by, control_version) VALUES ($1 || '_agt', $1, 'a', 't', 1)`,
      [this.projectId],
    );
    // Their ids are of their times, as newId makes them.
    const times = [now - hour, now - 2 * day];
    await db.pool.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, prompt_version, control_version, started_at)
       VALUES ($2, $1, $1 || '_agt', 'flow 0', NULL, 1, $4), ($3, $1, $1 || '_agt', 'flow 1', 'v1', 1, $5)`,
      [this.projectId, ...this.runIds, ...times.map((at) => new Date(at))],
    );
  }

  async take(happened: Step): Promise<void> {
    switch (happened.kind) {
      case 'attempt':
      case 'correction':
        return this.#write(happened.writer, happened.of, happened.told, happened.kind === 'correction');
      case 'event':
        return this.#tell(happened.writer, happened.level, happened.minutesAgo);
      case 'end':
        return this.end(happened.writer, happened.commit);
      case 'roll up':
        return rolled(workers[0]!, happened.rowsMax);
      case 'both roll up':
        await Promise.all([rolled(workers[0]!, happened.rowsMax), rolled(workers[1]!, happened.rowsMax)]);
        return;
      case 'die':
        return dying(happened.rowsMax, happened.at);
    }
  }

  async end(writer: number, commit: boolean): Promise<void> {
    const open = this.#open.get(writer);
    this.#open.delete(writer);
    await open?.client.query(commit ? 'COMMIT' : 'ROLLBACK');
    open?.client.release();
  }

  async #transaction(writer: number) {
    const open = this.#open.get(writer);
    if (open) return open;
    const begun = { client: await db.pool.connect(), wrote: new Set<number>() };
    await begun.client.query('BEGIN');
    this.#open.set(writer, begun);
    return begun;
  }

  async #write(
    writer: number,
    of: number,
    { tokens, ...known }: (Step & { kind: 'attempt' })['told'],
    isCorrection: boolean,
  ) {
    // It would wait for the other one, which waits for us.
    if (!isCorrection && [...this.#open].some(([other, { wrote }]) => other !== writer && wrote.has(of))) return;
    const { client, wrote } = await this.#transaction(writer);
    if (!isCorrection) wrote.add(of);
    const { daysAgo, offsetMs, run, ...rest } = this.#series[of]!;
    const id = this.ids[of]!;
    await writeRows(client, [
      attemptAt(now - daysAgo * day - offsetMs, {
        ...rest,
        ...known,
        id,
        projectId: this.projectId,
        runId: run === null ? null : this.runIds[run]!,
        workflow: run === null ? null : `flow ${run}`,
        usage: {
          input: tokens,
          output: 2 * tokens,
          cacheRead: 3 * tokens,
          cacheWrite5m: 4 * tokens,
          cacheWrite1h: 5 * tokens,
          reasoning: tokens,
        },
        corrects: isCorrection ? id : null,
      }),
    ]);
  }

  async #tell(writer: number, level: string, minutesAgo: number) {
    const { client } = await this.#transaction(writer);
    const at = now - minutesAgo * 60_000;
    await client.query(
      `INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, occurred_at)
       VALUES ($1, $2, 'agt', $5, 'note', $3, '', $4)`,
      [newId('evt', at), this.projectId, level, new Date(at), this.runIds[1]],
    );
  }
}

async function rolled(pool: Pool, rowsMax: number): Promise<void> {
  for (const source of rollupSources) await rollUp(pool, source, { rowsMax, seriesMax: 100_000, restMs: 0 });
}

/** A worker whose connection is killed before its nth statement. */
async function dying(rowsMax: number, at: number): Promise<void> {
  const pool = workerPool();
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...statement: unknown[]) => Promise<unknown>;
    let statements = 0;
    const { processID } = client as unknown as { processID: number };
    client.query = (async (...statement: unknown[]) => {
      if (++statements === at) await db.pool.query('SELECT pg_terminate_backend($1, 5000)', [processID]);
      return query(...statement);
    }) as typeof client.query;
  });
  await rolled(pool, rowsMax).catch(() => undefined);
  await pool.end();
}

test('rollups are the sum of the rows below their watermark, whatever is written, ends, dies, or comes late', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(series, { minLength: 8, maxLength: 8 }),
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.array(window, { minLength: 3, maxLength: 3 }),
      async (of, happened, windows) => {
        const world = new World(of);
        await world.make();
        for (const [nth, one] of happened.entries()) {
          await world.take(one);
          if (nth % 5 > 0) continue;
          const { rollups, rows } = await rollupsAndRows(observer, world.projectId);
          expect(rollups).toEqual(rows);
        }
        for (const [writer, commit] of [true, false, true].entries()) await world.end(writer, commit);
        // Transactions of other tests on the same server may hold it up.
        for (let ahead = Infinity; ahead > 0;) {
          await rolled(workers[1]!, 5);
          const compared = await rollupsAndRows(observer, world.projectId);
          expect(compared.rollups).toEqual(compared.rows);
          ({ ahead } = compared);
        }
        for (const asked of windows) await expectSummary(world.projectId, asked);
      },
    ),
    { numRuns: 40 },
  );
}, 180_000);

/** A summary says what the raw rows of its window come to. */
async function expectSummary(
  projectId: string,
  { fromMs, lengthMs, group, ...narrowed }: typeof window extends fc.Arbitrary<infer T> ? T : never,
): Promise<void> {
  const filter = { projectId, promptVersion: null, ...narrowed };
  const from = now - fromMs;
  const partMs = { minute: 60_000, hour, day };
  const longest = isTime(group) ? partMs[group] * 1000 : Infinity;
  const asked = { from, to: from + Math.min(lengthMs, longest) };
  const summary = await summarize(db.pool, filter, asked, group, 500);
  expect(summary.window.from).toBe(Math.floor(asked.from / 60_000) * 60_000);
  expect(summary.window.to).toBe(Math.ceil(asked.to / 60_000) * 60_000);
  const found = knownAttempts(await readLedger(db.pool, projectId)).filter(
    ({ series: { model, agentId, workflow }, startedAt }) =>
      startedAt >= summary.window.from &&
      startedAt < summary.window.to &&
      (filter.model ?? model) === model &&
      (filter.agentId ?? agentId) === agentId &&
      (filter.workflow ?? workflow) === workflow,
  );
  expect(summary.totals.sums).toEqual(summed(found, () => 'all')['all'] ?? nothing);
  expect(summary.totals.latency).toEqual(latencyOf(found, filter.agentId === null));
  expect(summary.incomplete).toBe(false);
  const isWhole = Object.values(narrowed).every((part) => part === null);
  expect(summary.events).toEqual(isWhole ? await eventsIn(projectId, summary.window) : null);
  expect(summary.runs?.byState ?? null).toEqual(filter.model === null ? await runsIn(filter, summary.window) : null);
  if (group === null) return;
  const part = ({ series: { workflow, promptVersion, model, agentId }, startedAt }: KnownAttempt) =>
    isTime(group)
      ? String(Math.floor(startedAt / partMs[group]) * partMs[group])
      : { workflow, prompt_version: promptVersion, model, agent: agentId }[group];
  const parts = summed(found, part);
  const members = Map.groupBy(found, part);
  for (const { key, totals } of summary.rows) {
    expect(totals.latency).toEqual(latencyOf(members.get(key) ?? [], filter.agentId === null && group !== 'agent'));
  }
  const costs = Object.entries(parts).filter(([, { attempts, cost_nanousd: cost }]) => attempts !== 0n || cost !== 0n);
  expect(Object.fromEntries(summary.rows.map(({ key, totals }) => [key, totals.sums.cost_nanousd]))).toEqual(
    Object.fromEntries(costs.map(([key, { cost_nanousd: cost }]) => [key, cost])),
  );
}

type Filter = Parameters<typeof summarize>[1];

/** By level, from the rows themselves. */
async function eventsIn(projectId: string, { from, to }: { from: number; to: number }): Promise<Map<string, bigint>> {
  const { rows } = await db.pool.query<{ project_id: string; level: string; occurred_at: Date }>(
    'SELECT project_id, level, occurred_at FROM run_events',
  );
  return counted(
    rows
      .filter(({ project_id: of, occurred_at: at }) => of === projectId && +at >= from && +at < to)
      .map(({ level }) => level),
  );
}

/** By state, from the rows themselves. */
async function runsIn(
  { projectId, workflow, promptVersion, agentId }: Filter,
  { from, to }: { from: number; to: number },
): Promise<Map<string, bigint>> {
  const { rows } = await db.pool.query<Record<string, string> & { started_at: Date }>('SELECT * FROM runs');
  const found = rows.filter(
    (run) =>
      run['project_id'] === projectId &&
      (workflow ?? run['workflow']) === run['workflow'] &&
      (promptVersion ?? run['prompt_version']) === run['prompt_version'] &&
      (agentId ?? run['agent_id']) === run['agent_id'] &&
      +run.started_at >= from &&
      +run.started_at < to,
  );
  return counted(found.map(({ state }) => String(state)));
}

function counted(names: readonly string[]): Map<string, bigint> {
  return new Map([...Map.groupBy(names, (name) => name)].map(([name, { length }]) => [name, BigInt(length)]));
}

function latencyOf(attempts: readonly KnownAttempt[], hasPercentiles: boolean): Latency | null {
  const bins = attempts.flatMap(({ bin }) => (bin === null ? [] : [bin]));
  if (bins.length === 0) return null;
  const counts = new Map([...Map.groupBy(bins, (bin) => bin)].map(([bin, { length }]) => [bin, BigInt(length)]));
  const at = (percent: number) => percentile(counts, percent) ?? Number.NaN;
  const us = attempts.reduce((sum, { sums }) => sum + (sums['success_us'] ?? 0n), 0n);
  return {
    meanMs: Number(us) / bins.length / 1000,
    percentiles: hasPercentiles ? { p50Ms: at(50), p90Ms: at(90), p95Ms: at(95), p99Ms: at(99) } : null,
  };
}
