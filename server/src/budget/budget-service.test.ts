import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import {
  agentId,
  makeBudget,
  openGate,
  operator,
  projectId,
  reserve,
  runId,
  seedProject,
  spender,
  used,
} from '../../../test/support/ledger.ts';
import { budgetsPerProjectMax } from '../base/limits.ts';
import { BudgetIndex } from './budget-index.ts';
import type { NewBudget } from './budget-input.ts';
import { BudgetService } from './budget-service.ts';

let db: TestDatabase;
let service: BudgetService;
let draft: NewBudget;

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  service = new BudgetService(db.pool, () => Date.parse('2026-11-22T12:00:00Z'));
  const { id: _, createdAt: __, createdBy: ___, ...rest } = await makeBudget(db.pool);
  draft = { ...rest, name: 'team', window: 'day', timeZone: 'Europe/Berlin', limit: 10_000_000_000n };
});
afterAll(() => db.drop());
beforeEach(() => db.pool.query('UPDATE budgets SET deleted_at = now(), control_version = 1 WHERE deleted_at IS NULL'));

async function auditOf(
  target: string,
): Promise<{ action: string; payload: unknown; actor_id: string; request_id: string }[]> {
  const { rows } = await db.pool.query<{ action: string; payload: unknown; actor_id: string; request_id: string }>(
    'SELECT action, payload, actor_id, request_id FROM audit_entries WHERE target = $1 ORDER BY id',
    [target],
  );
  return rows;
}

const change = { projectId, name: undefined, limit: undefined, mode: undefined };

describe('a budget', () => {
  test('is made, changed and ended, each with its audit entry in the same transaction', async () => {
    const { result: made } = await service.create(operator, 'req_1', draft);
    const { result: changed } = await service.update(operator, 'req_2', {
      ...change,
      id: made.id,
      limit: 5_000_000_000n,
      mode: 'dry_run',
    });
    expect(changed).toEqual({ ...made, limit: 5_000_000_000n, mode: 'dry_run' });
    await service.update(operator, 'req_3', { ...change, id: made.id, limit: null });
    await service.delete(operator, 'req_4', { projectId, id: made.id });
    await expect(service.get(projectId, { id: made.id })).rejects.toMatchObject({ code: 'not_found' });
    expect(await auditOf(made.id)).toMatchObject([
      {
        action: 'budget.created',
        actor_id: operator.id,
        request_id: 'req_1',
        payload: { name: 'team', limit: '10.00', window: 'day' },
      },
      {
        action: 'budget.updated',
        payload: { before: { limit: '10.00', mode: 'enforce' }, after: { limit: '5.00', mode: 'dry_run' } },
      },
      { action: 'budget.updated', payload: { before: { limit: '5.00' }, after: { limit: null } } },
      { action: 'budget.deleted', payload: { before: { name: 'team' } } },
    ]);
  });

  test('shows what its current window has used', async () => {
    const { result: made } = await service.create(operator, 'req_1', draft);
    await db.pool.query(
      `INSERT INTO budget_counters (budget_id, window_key, posted, held)
       VALUES ($1, '2026-11-22', 3000000000, 500000000), ($1, '2026-11-21', 9000000000, 0)`,
      [made.id],
    );
    expect((await service.get(projectId, { id: made.id })).standing).toEqual({
      posted: 3_000_000_000n,
      held: 500_000_000n,
      remaining: 6_500_000_000n,
      resetsAt: Date.parse('2026-11-22T23:00:00Z'),
    });
  });

  test('has nothing left, not less, when it is overrun', async () => {
    const { result: made } = await service.create(operator, 'req_1', { ...draft, window: 'lifetime', limit: 5n });
    await db.pool.query(`INSERT INTO budget_counters (budget_id, window_key, posted) VALUES ($1, 'lifetime', 7)`, [
      made.id,
    ]);
    expect((await service.get(projectId, { id: made.id })).standing).toMatchObject({
      posted: 7n,
      remaining: 0n,
      resetsAt: null,
    });
  });

  test('without one window of its own has no standing', async () => {
    const { result: perCall } = await service.create(operator, 'req_1', { ...draft, window: 'attempt' });
    const { result: perRun } = await service.create(operator, 'req_1', { ...draft, name: 'runs', window: 'run' });
    const ofRun = { ...draft, name: 'run', window: 'run' as const, selector: { ...draft.selector, runId } };
    const { result: oneRun } = await service.create(operator, 'req_1', ofRun);
    const { items } = await service.list(projectId, { pageSize: 10, cursor: null });
    const standings = new Map(items.map(({ id, standing }) => [id, standing]));
    expect(standings.get(perCall.id)).toBeNull();
    expect(standings.get(perRun.id)).toBeNull();
    expect(standings.get(oneRun.id)).toMatchObject({ posted: 0n, held: 0n });
  });
});

describe('a budget is refused', () => {
  test.each<[string, Partial<NewBudget>, object]>([
    ['with a limit below nothing', { limit: -1n }, { code: 'invalid_argument', members: { param: 'limit' } }],
    ['with a limit that cannot be counted', { limit: 2n ** 63n }, { code: 'invalid_argument' }],
    ['in no time zone', { timeZone: 'Berlin' }, { code: 'invalid_argument', members: { param: 'time_zone' } }],
    ['without a name', { name: ' ' }, { code: 'invalid_argument', members: { param: 'name' } }],
    ['of a project that is not there', { projectId: 'prj_none' }, { code: 'not_found' }],
  ])('%s', async (_, wrong, error) => {
    await expect(service.create(operator, 'req_1', { ...draft, ...wrong })).rejects.toMatchObject(error);
  });

  test.each([
    ['person', { personId: 'psn_none' }],
    ['agent', { agentId: 'agt_none' }],
    ['key', { keyId: 'key_none' }],
    ['run', { runId: 'run_none' }],
  ])('for a %s that is not of this project', async (kind, selected) => {
    const request = { ...draft, selector: { ...draft.selector, ...selected } };
    await expect(service.create(operator, 'req_1', request)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining(
        `no ${kind} ${kind === 'person' ? 'psn' : kind === 'agent' ? 'agt' : kind}_none`,
      ),
    });
  });

  test('under a name that is taken, until the other one is deleted', async () => {
    const { result: first } = await service.create(operator, 'req_1', draft);
    await expect(service.create(operator, 'req_1', draft)).rejects.toMatchObject({ code: 'conflict' });
    const { result: second } = await service.create(operator, 'req_1', { ...draft, name: 'other' });
    await expect(service.update(operator, 'req_1', { ...change, id: second.id, name: 'team' })).rejects.toMatchObject({
      code: 'conflict',
    });
    await service.delete(operator, 'req_1', { projectId, id: first.id });
    await expect(service.update(operator, 'req_1', { ...change, id: second.id, name: 'team' })).resolves.toBeDefined();
  });

  test('from another project', async () => {
    const { result: made } = await service.create(operator, 'req_1', draft);
    await expect(service.get('prj_other', { id: made.id })).rejects.toMatchObject({ code: 'not_found' });
    await expect(service.delete(operator, 'req_1', { projectId: 'prj_other', id: made.id })).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(
      service.update(operator, 'req_1', { ...change, projectId: 'prj_other', id: made.id }),
    ).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  test('beyond the most that a project may have', async () => {
    await db.pool.query(
      `INSERT INTO budgets (id, project_id, name, unit, "window", created_by, control_version)
       SELECT 'bud_' || n, $1, 'b' || n, 'usd', 'day', 'test', 1 FROM generate_series(1, $2::int) n`,
      [projectId, budgetsPerProjectMax],
    );
    await expect(service.create(operator, 'req_1', draft)).rejects.toMatchObject({ code: 'conflict' });
  });
});

test('a page leads to the next, newest first', async () => {
  for (const name of ['a', 'b', 'c']) await service.create(operator, 'req_1', { ...draft, name });
  const first = await service.list(projectId, { pageSize: 2, cursor: null });
  const second = await service.list(projectId, { pageSize: 2, cursor: first.nextCursor });
  expect([...first.items, ...second.items].map(({ budget }) => budget.name)).toEqual(['c', 'b', 'a']);
  expect(second.nextCursor).toBeNull();
});

describe('the index in memory', () => {
  test('follows the database and finds what counts a call, of its project only', async () => {
    const index = new BudgetIndex();
    const everyone = await makeBudget(db.pool);
    const mine = await makeBudget(db.pool, { selector: { ...draft.selector, agentId } });
    const models = await makeBudget(db.pool, { selector: { ...draft.selector, agentId, model: 'other-*' } });
    (await index.load(db.pool, 0n))();
    const found = () => index.matching(spender).map(({ id }) => id);
    expect(new Set(found())).toEqual(new Set([everyone.id, mine.id]));
    expect(index.matching({ ...spender, model: 'other-1' }).map(({ id }) => id)).toContain(models.id);
    expect(index.matching({ ...spender, agentId: null }).map(({ id }) => id)).toEqual([everyone.id]);
    expect(index.matching({ ...spender, projectId: 'prj_other' })).toEqual([]);

    const { version } = await service.delete(operator, 'req_1', { projectId, id: everyone.id });
    const apply = await index.load(db.pool, version - 1n);
    expect(found()).toHaveLength(2);
    apply();
    expect(found()).toEqual([mine.id]);
  });
});

test('calls are counted by a budget that was made through the service, and shown by it', async () => {
  const real = new BudgetService(db.pool, () => Date.now());
  const { result: made } = await real.create(operator, 'req_1', { ...draft, limit: 100n });
  const gate = await openGate(db.pool);
  const hold = await reserve(gate, { usd: 60n });
  await gate.ledger.settle(hold, used(hold, 20n));
  await reserve(gate, { usd: 30n });
  expect((await real.get(projectId, { id: made.id })).standing).toMatchObject({
    posted: 20n,
    held: 30n,
    remaining: 50n,
  });
});
