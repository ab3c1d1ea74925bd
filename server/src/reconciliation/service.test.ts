import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../test/support/database.ts';
import { newId } from '../base/ids.ts';
import type { Principal } from '../identity/model.ts';
import { controlWrite } from '../pg/tx.ts';
import type { BilledFigure, MatchState, ProviderDay } from './model.ts';
import { type ImportRequest, ReconciliationService } from './service.ts';

const now = Date.parse('2026-11-23T09:00:00Z');
const day = '2026-11-20';

let db: TestDatabase;
let service: ReconciliationService;
const told: { states: MatchState[]; lines: object[] } = { states: [], lines: [] };

beforeAll(async () => {
  db = await createTestDatabase();
  await controlWrite(db.pool, (tx, version) =>
    tx.query(
      `INSERT INTO projects (id, name, control_version) VALUES ('prj_d', 'default', $1), ('prj_a', 'a', $1), ('prj_b', 'b', $1)`,
      [version],
    ),
  );
  service = new ReconciliationService(
    db.pool,
    { now: () => now },
    {
      log: { warn: (members: object) => void told.lines.push(members) } as never,
      onMatched: (state) => void told.states.push(state),
    },
    (provider) => !provider.startsWith('typo'),
  );
});
afterAll(() => db.drop());
afterEach(() => {
  told.states.length = 0;
  told.lines.length = 0;
});

const by: Principal = {
  kind: 'operator',
  id: 'psn_1',
  name: 'Ada',
  projectId: 'prj_d',
  scopes: new Set(['admin']),
  method: 'api_key',
  agentId: null,
  personId: null,
  keyId: null,
  runId: null,
  models: null,
  teams: [],
  requiresSignature: false,
  binding: null,
  cidrs: null,
  token: null,
  expiresAt: null,
};

interface Attempt {
  readonly provider: string;
  readonly cost: bigint;
  readonly at?: string;
  readonly model?: string;
  readonly project?: string;
  readonly provenance?: string;
  readonly corrects?: string;
}

/** Writes a row of the ledger. @returns its id */
async function attempt({ provider, cost, at = `${day}T12:00:00Z`, model = 'm', project = 'prj_a', ...more }: Attempt) {
  const id = more.corrects ?? newId('att', Date.parse(at));
  await db.pool.query(
    `INSERT INTO attempts (id, request_id, project_id, provider, model_asked, model_served, dialect_in, streamed, tokens_input,
       tokens_output, tokens_cache_read, tokens_cache_write_5m, tokens_cache_write_1h, tokens_reasoning, cost_nanousd,
       provenance, outcome, started_at, queue_ms, total_ms, overrun, corrects)
     VALUES ($1, 'req', $2, $3, 'asked', $4, 'chat', false, 10, 5, 0, 0, 0, 0, $5, $6, 'success', $7, 0, 0, false, $8)`,
    [id, project, provider, model, cost, more.provenance ?? 'measured', new Date(at), more.corrects ?? null],
  );
  return id;
}

function figure(provider: string, costUsd: bigint | null, more: Partial<BilledFigure> = {}): BilledFigure {
  return { provider, day, model: 'm', costUsd, tokensInput: null, tokensOutput: null, ...more };
}

function importing(figures: readonly BilledFigure[], more: Partial<ImportRequest> = {}) {
  return service.importBill(by, 'req_t', {
    source: 'csv',
    figures,
    wholeDays: [],
    projectId: null,
    tolerance: {},
    allowUnknownProviders: false,
    ...more,
  });
}

const shown = ({
  model,
  state,
  billedUsd,
  bookedUsd,
  unexplainedUsd,
  projectId,
}: Awaited<ReturnType<typeof importing>>['rows'][number]) => [
  model,
  state,
  billedUsd,
  bookedUsd,
  unexplainedUsd,
  projectId,
];

async function versions(provider: string, table: 'billed_figures' | 'reconciled_days'): Promise<number> {
  const { rows } = await db.pool.query<{ count: number }>(
    `SELECT count(DISTINCT version)::int AS count FROM ${table} WHERE provider = $1`,
    [provider],
  );
  return rows[0]?.count ?? 0;
}

function audited(action: string, provider: string) {
  return db.pool
    .query<{ payload: object }>(`SELECT payload FROM audit_entries WHERE action = $1 AND target LIKE $2 ORDER BY at`, [
      action,
      `${provider} %`,
    ])
    .then(({ rows }) => rows.map(({ payload }) => payload));
}

describe('an import', () => {
  test('is matched with the ledger by UTC day, corrections included, and told', async () => {
    const id = await attempt({ provider: 'p1', cost: 700n });
    await attempt({ provider: 'p1', cost: -100n, corrects: id });
    await attempt({ provider: 'p1', cost: 400n, at: `${day}T23:59:59.999Z`, provenance: 'estimated' });
    await attempt({ provider: 'p1', cost: 9_000n, at: '2026-11-21T00:00:00Z' });
    await attempt({ provider: 'p1', cost: 9_000n, at: '2026-11-19T23:59:59.999Z' });
    await attempt({ provider: 'other', cost: 9_000n });
    const { billImport, repeated, rows } = await importing([figure('p1', 1_005n)]);
    expect(repeated).toBe(false);
    expect(billImport).toMatchObject({
      providers: ['p1'],
      firstDay: day,
      lastDay: day,
      figures: 1,
      changed: 1,
      importedBy: 'psn_1',
    });
    expect(rows.map(shown)).toEqual([['m', 'reconciled', 1_005n, 1_000n, 5n, 'prj_a']]);
    expect(rows[0]).toMatchObject({ estimatedUsd: 400n, bookedTokens: 45n });
    expect(told).toEqual({ states: ['reconciled'], lines: [] });
    expect(await audited('reconciliation.drifted', 'p1')).toEqual([]);
  });

  test('that drifts is audited once for what it is, logged and counted', async () => {
    await attempt({ provider: 'p2', cost: 1_000n });
    await importing([figure('p2', 1_500n)]);
    expect(told.states).toEqual(['drifted']);
    expect(told.lines).toEqual([{ drifted: 1, days: 1, unexplained_nanousd: '500' }]);
    await service.match(by, 'req_t', { provider: 'p2', firstDay: day, lastDay: day, tolerance: {} });
    expect(told.states).toEqual(['drifted', 'drifted']);
    expect(await audited('reconciliation.drifted', 'p2')).toEqual([
      {
        drifted: 1,
        unexplained_nanousd: '500',
        models: [{ model: 'm', billed_nanousd: '1500', booked_nanousd: '1000' }],
      },
    ]);
    expect(await versions('p2', 'reconciled_days')).toBe(1);
  });

  test('twice is one; other figures replace the first, which stay as history; the first again replace these', async () => {
    await attempt({ provider: 'p3', cost: 100n });
    const first = await importing([figure('p3', 100n)]);
    const again = await importing([figure('p3', 100n)]);
    expect(again).toMatchObject({ repeated: true, billImport: { id: first.billImport.id } });
    expect(await versions('p3', 'billed_figures')).toBe(1);
    const second = await importing([figure('p3', 300n)]);
    expect(second.repeated).toBe(false);
    expect(second.rows.map(shown)).toEqual([['m', 'drifted', 300n, 100n, 200n, 'prj_a']]);
    const back = await importing([figure('p3', 100n)]);
    expect(back.repeated).toBe(false);
    expect(back.rows.map(shown)).toEqual([['m', 'reconciled', 100n, 100n, 0n, 'prj_a']]);
    expect(await versions('p3', 'billed_figures')).toBe(3);
    expect(await versions('p3', 'reconciled_days')).toBe(3);
  });

  test('by many at once is one import, and of different ones the last one counts whole', async () => {
    await attempt({ provider: 'p4', cost: 100n });
    const same = await Promise.all(Array.from({ length: 12 }, () => importing([figure('p4', 100n)])));
    expect(new Set(same.map(({ billImport }) => billImport.id)).size).toBe(1);
    expect(same.filter(({ repeated }) => !repeated)).toHaveLength(1);
    const pair = (cost: bigint) => [figure('p4', cost), figure('p4', cost, { model: 'n' })];
    await Promise.all(Array.from({ length: 12 }, (_, n) => importing(pair(BigInt(n + 1) * 1_000n))));
    const { items } = await service.listMatches(
      { provider: 'p4', firstDay: null, lastDay: null, state: null, projectId: null },
      { pageSize: 0, cursor: null },
    );
    expect(items.map(({ model }) => model)).toEqual(['n', 'm']);
    expect(items[0]?.billedUsd).toBe(items[1]?.billedUsd);
    expect(await versions('p4', 'reconciled_days')).toBe(13);
  });

  test('of a whole day says that what it leaves out was not billed, and one of tokens leaves costs alone', async () => {
    const whole: ProviderDay[] = [{ provider: 'p5', day }];
    await importing([figure('p5', 100n), figure('p5', 200n, { model: 'n' })], { wholeDays: whole });
    await importing([figure('p5', null, { tokensInput: 7n, tokensOutput: 1n })]);
    const { rows } = await importing([figure('p5', 100n)], { wholeDays: whole });
    expect(rows.map(shown)).toEqual([
      ['m', 'drifted', 100n, 0n, 100n, 'prj_d'],
      ['n', 'reconciled', 0n, 0n, 0n, 'prj_d'],
    ]);
    expect(rows[0]?.billedTokens).toBe(8n);
  });

  test('of a day on which nothing was billed shows what was booked as not billed', async () => {
    await attempt({ provider: 'p6', cost: 50n });
    const { rows } = await importing([], { wholeDays: [{ provider: 'p6', day }] });
    expect(rows.map(shown)).toEqual([['m', 'drifted', 0n, 50n, 0n, 'prj_a']]);
    expect(rows[0]?.billedModels).toEqual([]);
  });

  test('that lists fees apart from models has nothing unexplained where the ledger has them under models', async () => {
    await attempt({ provider: 'p9', cost: 2_000n });
    const { rows } = await importing([
      figure('p9', 1_000n, { tokensInput: 10n, tokensOutput: 5n }),
      figure('p9', 1_000n, { model: 'web_search' }),
    ]);
    expect(rows.map(shown)).toEqual([
      ['m', 'reconciled', 1_000n, 1_000n, 0n, 'prj_a'],
      ['web_search', 'reconciled', 1_000n, 1_000n, 0n, 'prj_a'],
    ]);
  });

  test('of a provider that neither the configuration nor the ledger knows is taken only where that is meant', async () => {
    const bill = [figure('typo', 5n)];
    await expect(importing(bill)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(
        'There is no provider "typo" in the configuration, nor in the ledger on the days of this bill',
      ),
    });
    await expect(importing([], { wholeDays: [{ provider: 'typo', day }] })).rejects.toThrow('no provider "typo"');
    expect(await versions('typo', 'billed_figures')).toBe(0);
    expect((await importing(bill, { allowUnknownProviders: true })).rows).toHaveLength(1);
    // One that was taken out of the configuration since.
    await attempt({ provider: 'typo_of_old', cost: 5n });
    expect((await importing([figure('typo_of_old', 5n)])).rows.map(shown)).toEqual([
      ['m', 'reconciled', 5n, 5n, 0n, 'prj_a'],
    ]);
  });

  test('counts no model twice that is known by its name with a date, or without', async () => {
    const dated = { model: 'x-20250101' };
    await attempt({ provider: 'p10', cost: 100n, model: 'x' });
    await importing([figure('p10', 100n, dated)], { wholeDays: [{ provider: 'p10', day }] });
    await expect(importing([figure('p10', 100n, { model: 'x' })])).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining('x on 2026-11-20 is known already as x-20250101'),
    });
    // The same name is another version, another release another model; a bill that tells both knows what it does.
    await importing([figure('p10', 90n, dated)]);
    await importing([figure('p10', 10n, { model: 'x-20250202' })]);
    await importing([dated, { model: 'x-20250202' }, { model: 'x' }].map((named) => figure('p10', 5n, named)));
    const whole = { wholeDays: [{ provider: 'p10', day }] };
    const { rows } = await importing([figure('p10', 100n, { model: 'x' })], whole);
    expect(rows.reduce((sum, { billedUsd }) => sum + (billedUsd ?? 0n), 0n)).toBe(100n);
  });

  test('gives what is unexplained to the declared project, or the busiest one of that day, or the default one', async () => {
    for (const project of ['prj_b', 'prj_b', 'prj_a']) await attempt({ provider: 'p7', cost: 10n, project });
    const owner = async (more: Partial<ImportRequest> = {}, provider = 'p7') =>
      (await importing([figure(provider, 1_000n)], more)).rows[0]?.projectId;
    expect(await owner()).toBe('prj_b');
    expect(await owner({ projectId: 'prj_a' })).toBe('prj_a');
    expect(await owner()).toBe('prj_b');
    expect(await owner({}, 'nobody')).toBe('prj_d');
    await expect(owner({ projectId: 'prj_none' })).rejects.toMatchObject({ code: 'not_found' });
  });

  test.each<[string, Partial<BilledFigure>, string]>([
    ['a day that is not over', { day: '2026-11-23' }, 'figures[1].day is 2026-11-23, which is not over (UTC)'],
    ['no day', { day: '2026-13-01' }, 'figures[1].day must be a day like 2026-11-22.'],
    ['a negative cost', { costUsd: -1n }, 'figures[1].cost_nanousd must be from 0 to'],
    ['more than a bigint of them can hold', { costUsd: 10n ** 16n }, 'figures[1].cost_nanousd must be from 0 to'],
    ['nothing', { costUsd: null }, 'figures[1] has neither a cost nor tokens.'],
    ['tokens of one side', { tokensInput: 1n }, 'figures[1] has tokens of one side alone'],
    ['a name of two lines', { model: 'a\nb' }, 'figures[1].model must be one line'],
    ['a figure twice', { model: 'm' }, 'figures[1] tells m on 2026-11-20 a second time'],
  ])('with %s is refused whole', async (_what, wrong, message) => {
    await expect(importing([figure('p8', 1n), figure('p8', 1n, { model: 'n', ...wrong })])).rejects.toThrow(message);
    expect(await versions('p8', 'billed_figures')).toBe(0);
  });
});

describe('a matching', () => {
  test('follows what the ledger learns later', async () => {
    const id = await attempt({ provider: 'q1', cost: 900n, provenance: 'estimated' });
    const first = await importing([figure('q1', 500n)]);
    expect(first.rows.map(shown)).toEqual([['m', 'drifted', 500n, 900n, 0n, 'prj_a']]);
    expect(first.rows[0]?.estimatedUsd).toBe(900n);
    await attempt({ provider: 'q1', cost: -400n, corrects: id });
    const { days, rows } = await service.match(by, 'req_t', {
      provider: 'q1',
      firstDay: day,
      lastDay: day,
      tolerance: {},
    });
    expect(days).toBe(1);
    expect(rows.map(shown)).toEqual([['m', 'reconciled', 500n, 500n, 0n, 'prj_a']]);
    // The correction was measured: nothing of the attempt is estimated any more.
    expect(rows[0]?.estimatedUsd).toBe(0n);
  });

  test('takes the tolerance that it is given', async () => {
    await attempt({ provider: 'q2', cost: 90n });
    expect((await importing([figure('q2', 100n)], { tolerance: { basisPoints: 1_000 } })).rows[0]?.state).toBe(
      'reconciled',
    );
    const order = { provider: 'q2', firstDay: day, lastDay: day };
    expect((await service.match(by, 'req_t', { ...order, tolerance: { basisPoints: 999 } })).rows[0]?.state).toBe(
      'drifted',
    );
    const exact = { basisPoints: 10_000, nanoUsd: 9n };
    expect((await service.match(by, 'req_t', { ...order, tolerance: exact })).rows[0]?.state).toBe('drifted');
    for (const tolerance of [{ basisPoints: -1 }, { basisPoints: 10_001 }, { nanoUsd: -1n }])
      await expect(service.match(by, 'req_t', { ...order, tolerance })).rejects.toMatchObject({
        code: 'invalid_argument',
      });
  });

  test('leaves a day alone that the ledger has dropped', async () => {
    const id = await attempt({ provider: 'q3', cost: 100n });
    await importing([figure('q3', 100n)]);
    await queryAsOwner(db, 'DELETE FROM attempts WHERE id = $1', [id]);
    await queryAsOwner(db, `INSERT INTO ledger_dropped_days VALUES ($1, DEFAULT, 1, 100)`, [day]);
    const { rows, droppedDays } = await service.match(by, 'req_t', {
      provider: 'q3',
      firstDay: day,
      lastDay: day,
      tolerance: {},
    });
    await queryAsOwner(db, `DELETE FROM ledger_dropped_days`);
    expect(droppedDays).toBe(1);
    expect(rows.map(shown)).toEqual([['m', 'reconciled', 100n, 100n, 0n, 'prj_a']]);
  });

  test('reads days that lie far apart, and those alone', async () => {
    const days = ['2026-06-01', '2026-06-30', '2026-09-15', '2026-11-19'];
    for (const each of days) await attempt({ provider: 'q4', cost: 10n, at: `${each}T01:00:00Z` });
    await attempt({ provider: 'q4', cost: 10n, at: '2026-06-02T00:00:00Z' });
    const { rows } = await importing(days.map((each) => figure('q4', 10n, { day: each })));
    expect(rows.map(({ day: of, state, bookedUsd }) => [of, state, bookedUsd])).toEqual(
      days.map((each) => [each, 'reconciled', 10n]),
    );
  });

  test('is refused for days that end before they begin, or are too many', async () => {
    for (const [firstDay, lastDay] of [
      ['2026-11-02', '2026-11-01'],
      ['2024-01-01', '2026-11-01'],
      ['soon', '2026-11-01'],
    ] as const)
      await expect(
        service.match(by, 'req_t', { provider: null, firstDay, lastDay, tolerance: {} }),
      ).rejects.toMatchObject({
        code: 'invalid_argument',
      });
  });
});

test('the lists go through all pages, newest days first, and a project sees its own days alone', async () => {
  await attempt({ provider: 'r1', cost: 10n, project: 'prj_b', at: '2026-11-01T00:00:00Z' });
  const days = ['2026-11-01', '2026-11-02', '2026-11-03'];
  await importing(
    days.flatMap((each) => ['x', 'y'].map((model) => figure('r1', 1n, { day: each, model }))),
    { projectId: 'prj_a' },
  );
  const all: string[] = [];
  for (let cursor: string | null = null; ;) {
    const filter = { provider: 'r1', firstDay: '2026-11-01', lastDay: '2026-11-03', state: null, projectId: null };
    const page = await service.listMatches(filter, { pageSize: 2, cursor });
    all.push(...page.items.map((row) => `${row.day} ${row.model}`));
    if (page.nextCursor === null) break;
    cursor = page.nextCursor;
  }
  expect(all).toEqual(
    [...days]
      .toReversed()
      .flatMap((each) => (each === '2026-11-01' ? ['y', 'x', 'm'] : ['y', 'x']).map((model) => `${each} ${model}`)),
  );
  const own = await service.listMatches(
    { provider: 'r1', firstDay: null, lastDay: null, state: null, projectId: 'prj_b' },
    { pageSize: 0, cursor: null },
  );
  expect(own.items.map((row) => row.model)).toEqual(['m']);
  const imports = await service.listImports({ pageSize: 1, cursor: null });
  expect(imports.items[0]).toMatchObject({ projectId: 'prj_a', figures: 6 });
  expect(imports.nextCursor).not.toBeNull();
});

test('a project sees names of models only where it booked them, or pays for what is unexplained', async () => {
  await attempt({ provider: 'r2', cost: 10n, model: 'x' });
  await attempt({ provider: 'r2', cost: 10n, model: 'x-20250101', project: 'prj_b' });
  await attempt({ provider: 'r2', cost: 10n, model: 'secret', project: 'prj_b' });
  await importing(
    [figure('r2', 20n, { model: 'x' }), figure('r2', 10n, { model: 'secret' }), figure('r2', 7n, { model: 'around' })],
    { projectId: 'prj_a' },
  );
  const seen = async (projectId: string) => {
    const filter = { provider: 'r2', firstDay: null, lastDay: null, state: null, projectId };
    const { items } = await service.listMatches(filter, { pageSize: 0, cursor: null });
    return items.map(({ model, bookedBy, unexplainedUsd }) => [model, bookedBy[projectId] ?? [], unexplainedUsd]);
  };
  expect(await seen('prj_a')).toEqual([
    ['x', ['x'], 0n],
    ['around', [], 7n],
  ]);
  expect(await seen('prj_b')).toEqual([
    ['x', ['x-20250101'], 0n],
    ['secret', ['secret'], 0n],
  ]);
});

test("the application's role can change nothing of what was imported or matched", async () => {
  for (const table of ['bill_imports', 'billed_figures', 'billed_days', 'reconciled_days', 'provisional_attempts'])
    for (const statement of [
      `DELETE FROM ${table}`,
      `UPDATE ${table} SET ${table === 'bill_imports' || table === 'provisional_attempts' ? 'id' : 'provider'} = 'x'`,
    ])
      await expect(db.pool.query(statement)).rejects.toThrow('permission denied');
});
