import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { agentId, makeBudget, operator, projectId, runId, seedProject } from '../../../test/support/ledger.ts';
import { noticesRetryMs, noticesSweepMs, touchedCountersMax } from '../base/limits.ts';
import { createLogger } from '../base/log.ts';
import { BudgetService } from './budget-service.ts';
import { ThresholdNotices } from './notices.ts';
import type { Queryable } from '../pg/tx.ts';
import { type DueNotice, dueInRuns } from './notices-store.ts';
import { TouchedCounters } from './touched-counters.ts';

let db: TestDatabase;
let service: BudgetService;

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  service = new BudgetService(db.pool, () => Date.now());
});
afterAll(() => db.drop());
beforeEach(() => db.pool.query('UPDATE budgets SET deleted_at = now() WHERE deleted_at IS NULL'));

const noon = Date.parse('2026-11-23T12:00:00Z');

interface Watch {
  readonly notices: ThresholdNotices;
  readonly touched: TouchedCounters;
  readonly given: DueNotice[];
  readonly lines: string[];
  readonly later: (ms: number) => void;
}

/** One process's notices; its first look, at everything, is over unless said otherwise. */
async function watch({ now = noon, looked = true } = {}): Promise<Watch> {
  const touched = new TouchedCounters();
  const given: DueNotice[] = [];
  const lines: string[] = [];
  let passed = 0;
  const notices = new ThresholdNotices({
    pool: db.pool,
    touched,
    databaseNow: () => now + passed,
    clock: { now: () => now + passed, monotonic: () => passed },
    log: createLogger('warn', { write: (line) => void lines.push(line) }),
    onNotice: (notice) => given.push(notice),
  });
  if (looked) await notices.check();
  return { notices, touched, given, lines, later: (ms) => (passed += ms) };
}

async function post(budgetId: string, windowKey: string, posted: bigint): Promise<void> {
  await db.pool.query(
    `INSERT INTO budget_counters (budget_id, window_key, posted) VALUES ($1, $2, $3)
     ON CONFLICT (budget_id, window_key) DO UPDATE SET posted = $3`,
    [budgetId, windowKey, posted],
  );
}

async function noticesOf(budgetId: string): Promise<string[]> {
  const { items } = await service.notices(projectId, budgetId, { pageSize: 100, cursor: null });
  return items.map(({ windowKey, percent }) => `${windowKey} ${percent}`).sort();
}

async function auditOf(budgetId: string): Promise<{ payload: Record<string, unknown> }[]> {
  const { rows } = await db.pool.query<{ payload: Record<string, unknown> }>(
    `SELECT payload FROM audit_entries WHERE target = $1 AND action = 'budget.threshold_reached' ORDER BY id`,
    [budgetId],
  );
  return rows;
}

describe('a notice', () => {
  test('is given once when what is spent reaches a percent, with its audit entry and a line in the log', async () => {
    const { id, name } = await makeBudget(db.pool, { limit: 1_000_000_000n, window: 'day' });
    const { notices, touched, given, lines } = await watch();
    for (const posted of [799_999_999n, 800_000_000n, 900_000_000n]) {
      await post(id, '2026-11-23', posted);
      touched.note(id, '2026-11-23');
      await notices.check();
    }
    expect(await noticesOf(id)).toEqual(['2026-11-23 80']);
    expect(given).toMatchObject([{ budgetId: id, percent: 80, posted: 800_000_000n, limit: 1_000_000_000n }]);
    expect(await auditOf(id)).toEqual([
      {
        payload: {
          name,
          unit: 'usd',
          window: 'day',
          window_key: '2026-11-23',
          percent: 80,
          posted: '0.80',
          limit: '1.00',
          mode: 'enforce',
        },
      },
    ]);
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      msg: `Budget "${name}" reached 80 % of its limit.`,
      budget_id: id,
      percent: 80,
    });
  });

  test('is given for each percent that one call passes, and begins anew with the window', async () => {
    const { id } = await makeBudget(db.pool, { window: 'hour', notifyPercents: [1, 50, 100, 1_000] });
    const { notices, touched } = await watch();
    for (const window of ['2026-11-23T11+00:00', '2026-11-23T12+00:00']) {
      await post(id, window, 120n);
      touched.note(id, window);
    }
    await notices.check();
    expect(await noticesOf(id)).toEqual(
      ['11', '12'].flatMap((hour) => [1, 100, 50].map((percent) => `2026-11-23T${hour}+00:00 ${percent}`)),
    );
  });

  test('of a dry-run budget says so', async () => {
    const { id } = await makeBudget(db.pool, { mode: 'dry_run' });
    await post(id, 'lifetime', 100n);
    const { lines } = await watch();
    const { items } = await service.notices(projectId, id, { pageSize: 100, cursor: null });
    expect(items.map(({ mode }) => mode)).toEqual(['dry_run', 'dry_run']);
    expect(lines.join()).toContain('it is a dry run and refuses nothing');
  });

  test('is exact where a hundredfold amount does not fit', async () => {
    const limit = 2n ** 63n - 1n;
    const { id } = await makeBudget(db.pool, { limit, notifyPercents: [100] });
    await post(id, 'lifetime', limit - 1n);
    await watch();
    expect(await noticesOf(id)).toEqual([]);
    await post(id, 'lifetime', limit);
    await watch();
    expect(await noticesOf(id)).toEqual(['lifetime 100']);
  });

  test.each<[string, Parameters<typeof makeBudget>[1], bigint]>([
    ['without percents', { notifyPercents: [] }, 1_000n],
    ['without a limit', { limit: null }, 1_000n],
    ['that denies everything', { limit: 0n }, 1_000n],
    ['of which less is spent', {}, 79n],
  ])('is not given for a budget %s', async (_, budget, posted) => {
    const { id } = await makeBudget(db.pool, budget);
    await post(id, 'lifetime', posted);
    await watch();
    expect(await noticesOf(id)).toEqual([]);
  });

  test('is not given for a deleted budget, and one that was given stays', async () => {
    const { id } = await makeBudget(db.pool, { notifyPercents: [50, 100] });
    await post(id, 'lifetime', 50n);
    await watch();
    await service.delete(operator, 'req', { projectId, id });
    await post(id, 'lifetime', 100n);
    await watch();
    expect(await noticesOf(id)).toEqual(['lifetime 50']);
  });
});

describe('a limit that changes', () => {
  test('makes a percent that was told of not due again in its window, and the others by the new limit', async () => {
    const { id } = await makeBudget(db.pool, { limit: 100n, window: 'day' });
    await post(id, '2026-11-23', 80n);
    await watch();
    await service.update(operator, 'req', { projectId, id, name: undefined, limit: 1_000n, mode: undefined });
    await post(id, '2026-11-23', 850n);
    await watch();
    expect(await noticesOf(id)).toEqual(['2026-11-23 80']);
    await post(id, '2026-11-23', 1_000n);
    await post(id, '2026-11-24', 800n);
    await watch({ now: noon + 86_400_000 });
    expect(await noticesOf(id)).toEqual(['2026-11-23 100', '2026-11-23 80', '2026-11-24 80']);
  });

  test('makes what is spent already due where it is lowered', async () => {
    const { id } = await makeBudget(db.pool, { limit: 1_000n });
    await post(id, 'lifetime', 90n);
    await watch();
    await service.update(operator, 'req', { projectId, id, name: undefined, limit: 100n, mode: undefined });
    await watch();
    expect(await noticesOf(id)).toEqual(['lifetime 80']);
  });
});

describe('what a process did not see', () => {
  test('is found at its start in the last windows that closed, however long ago that was', async () => {
    const { id } = await makeBudget(db.pool, { window: 'month', notifyPercents: [100] });
    await post(id, '2026-10', 100n);
    await post(id, '2026-09', 100n);
    await watch();
    expect(await noticesOf(id)).toEqual(['2026-10 100']);
  });

  test('is found once a minute, in open windows and in those that closed lately', async () => {
    const hourly = await makeBudget(db.pool, { window: 'hour', timeZone: 'Asia/Kathmandu', notifyPercents: [100] });
    const monthly = await makeBudget(db.pool, { window: 'month', notifyPercents: [100] });
    const perRun = await makeBudget(db.pool, { window: 'run', unit: 'tokens', notifyPercents: [100] });
    const ever = await makeBudget(db.pool, { unit: 'requests', notifyPercents: [100] });
    // Three minutes past the hour in Kathmandu.
    const { notices, later } = await watch({ now: noon + 18 * 60_000 });
    for (const hour of ['16', '17', '18']) await post(hourly.id, `2026-11-23T${hour}+05:45`, 100n);
    for (const month of ['2026-10', '2026-11']) await post(monthly.id, month, 100n);
    await post(perRun.id, runId, 100n);
    await post(ever.id, 'lifetime', 100n);
    later(noticesSweepMs - 1);
    await notices.check();
    expect(await noticesOf(ever.id)).toEqual([]);
    later(1);
    await notices.check();
    expect(await noticesOf(hourly.id)).toEqual(['2026-11-23T17+05:45 100', '2026-11-23T18+05:45 100']);
    expect(await noticesOf(monthly.id)).toEqual(['2026-11 100']);
    expect(await noticesOf(perRun.id)).toEqual([`${runId} 100`]);
    expect(await noticesOf(ever.id)).toEqual(['lifetime 100']);
  });

  test('is found in a run that ended lately, and not in one that ended long ago', async () => {
    const { id } = await makeBudget(db.pool, { window: 'run', notifyPercents: [100] });
    for (const [run, minutes] of [
      ['run_lately', 5],
      ['run_old', 50],
    ] as const) {
      await db.pool.query(
        `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, control_version)
         VALUES ($1, $2, $3, 'flow', 'succeeded', now() - $4 * interval '1 minute', 1)`,
        [run, projectId, agentId, minutes],
      );
      await post(id, run, 100n);
    }
    await watch();
    expect(await noticesOf(id)).toEqual(['run_lately 100']);
  });

  test('is looked for at once when more counters moved than are remembered', async () => {
    const { id } = await makeBudget(db.pool, { notifyPercents: [100] });
    const { notices, touched } = await watch();
    await post(id, 'lifetime', 100n);
    for (let n = 0; n <= touchedCountersMax; n++) touched.note(`bud_${n}`, 'lifetime');
    await notices.check();
    expect(await noticesOf(id)).toEqual(['lifetime 100']);
  });

  test('is looked for again after a look that failed', async () => {
    const { id } = await makeBudget(db.pool, { notifyPercents: [100] });
    const { notices, touched, later } = await watch();
    await post(id, 'lifetime', 100n);
    touched.note(id, 'lifetime');
    const lock = await db.pool.connect();
    try {
      await lock.query('BEGIN');
      await lock.query(
        `INSERT INTO budget_notices (id, budget_id, project_id, window_key, percent, posted, limit_amount, mode)
         VALUES ('ntc_other', $1, $2, 'lifetime', 100, 100, 100, 'enforce')`,
        [id, projectId],
      );
      // It waits for the other process, until the database lets it wait no longer.
      await expect(notices.check()).rejects.toThrow(/lock timeout|canceling statement/);
    } finally {
      await lock.query('ROLLBACK');
      lock.release();
    }
    later(noticesRetryMs);
    await notices.check();
    expect(await noticesOf(id)).toEqual(['lifetime 100']);
  });
});

test('a look at runs takes as long as what they used, not as all pairs of a run and a budget', async () => {
  await db.pool.query(
    `INSERT INTO runs (id, project_id, agent_id, workflow, control_version)
     SELECT 'run_many' || n, $1, $2, 'flow', 1 FROM generate_series(1, 200) n`,
    [projectId, agentId],
  );
  const budgets = await Promise.all(Array.from({ length: 50 }, () => makeBudget(db.pool, { window: 'run' })));
  for (const [n, { id }] of budgets.entries()) await post(id, `run_many${n + 1}`, 1n);
  const plans: string[] = [];
  const explained = {
    query: async (text: string, values: unknown[]) => {
      const { rows } = await db.pool.query<object>(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values);
      plans.push(JSON.stringify(rows));
      return { rows: [] };
    },
  };
  await dueInRuns(explained as unknown as Queryable, 0, 100);
  const loops = [...plans.join().matchAll(/"Actual Loops":\s*([\d.]+)/g)].map(([, count]) => Number(count));
  expect(Math.max(...loops)).toBeGreaterThanOrEqual(200);
  expect(Math.max(...loops)).toBeLessThan(1_000);
});

test('of many processes that look at the same time, one gives each notice', async () => {
  const budgets = await Promise.all(
    Array.from({ length: 20 }, () => makeBudget(db.pool, { notifyPercents: [10, 20, 30] })),
  );
  for (const { id } of budgets) await post(id, 'lifetime', 30n);
  const processes = await Promise.all(Array.from({ length: 6 }, () => watch({ looked: false })));
  await Promise.all(processes.map(({ notices }) => notices.check()));
  for (const { id } of budgets) {
    expect(await noticesOf(id)).toHaveLength(3);
    expect(await auditOf(id)).toHaveLength(3);
  }
  expect(processes.flatMap(({ given }) => given)).toHaveLength(60);
});

test('notices are listed newest first, page by page, of one project', async () => {
  const { id, name } = await makeBudget(db.pool, { notifyPercents: [10, 20, 30] });
  for (const posted of [10n, 20n, 30n]) {
    await post(id, 'lifetime', posted);
    await watch();
  }
  const first = await service.notices(projectId, id, { pageSize: 2, cursor: null });
  const second = await service.notices(projectId, id, { pageSize: 2, cursor: first.nextCursor });
  expect([...first.items, ...second.items].map(({ percent, posted }) => [percent, posted])).toEqual([
    [30, 30n],
    [20, 20n],
    [10, 10n],
  ]);
  expect(first.items[0]).toMatchObject({ budgetName: name, unit: 'usd', window: 'lifetime', limit: 100n });
  expect(second.nextCursor).toBeNull();
  expect((await service.notices('prj_other', id, { pageSize: 2, cursor: null })).items).toEqual([]);
});
