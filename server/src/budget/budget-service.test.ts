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
  used,
} from '../../../test/support/ledger.ts';
import { budgetsPerProjectMax } from '../base/limits.ts';
import type { NewBudget } from './budget-input.ts';
import { type BudgetChange, BudgetService } from './budget-service.ts';

let db: TestDatabase;
let service: BudgetService;
let draft: NewBudget;

beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  service = new BudgetService(db.pool, () => Date.parse('2026-11-22T12:00:00Z'));
  const { id: _, createdAt: __, createdBy: ___, notifyPercents: ____, ...rest } = await makeBudget(db.pool);
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
      leased: 0n,
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

describe('notices', () => {
  test('are due at 80 and 100 percent unless somebody says otherwise, where there is anything to spend', async () => {
    const percentsOf = async (budget: Partial<NewBudget>) => {
      const made = await service.create(operator, 'req_1', { ...draft, name: crypto.randomUUID(), ...budget });
      return made.result.notifyPercents;
    };
    expect(await percentsOf({})).toEqual([80, 100]);
    expect(await percentsOf({ notifyPercents: [50, 1_000] })).toEqual([50, 1_000]);
    expect(await percentsOf({ notifyPercents: [] })).toEqual([]);
    expect(await percentsOf({ window: 'attempt' })).toEqual([]);
    expect(await percentsOf({ unit: 'concurrent_requests', window: 'lifetime' })).toEqual([]);
    expect(await percentsOf({ unit: 'latency_ms', window: 'attempt' })).toEqual([]);
  });

  test('can be changed and ended, which the audit log tells', async () => {
    const { result: made } = await service.create(operator, 'req_1', draft);
    const percents = { ...change, id: made.id, notifyPercents: [90] };
    expect((await service.update(operator, 'req_2', percents)).result.notifyPercents).toEqual([90]);
    await service.update(operator, 'req_3', { ...percents, notifyPercents: [] });
    expect((await service.get(projectId, { name: 'team' })).budget.notifyPercents).toEqual([]);
    expect(await auditOf(made.id)).toMatchObject([
      { payload: { notify_percents: [80, 100] } },
      { payload: { before: { notify_percents: [80, 100] }, after: { notify_percents: [90] } } },
      { payload: { after: { notify_percents: [] } } },
    ]);
  });
});

describe('a budget is refused', () => {
  test.each<[NewBudget['unit'], NewBudget['window'], string]>([
    ['requests', 'attempt', 'window must be run or hour or day or month or lifetime for the unit requests: each'],
    ['concurrent_requests', 'day', 'window must be run or lifetime for the unit concurrent_requests: it counts calls'],
    ['concurrent_requests', 'attempt', 'window must be run or lifetime for the unit concurrent_requests'],
    ['latency_ms', 'lifetime', 'window must be attempt for the unit latency_ms: it is how long one attempt may take'],
  ])('of %s in the window %s', async (unit, window, message) => {
    await expect(service.create(operator, 'req_1', { ...draft, unit, window })).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(message),
      members: { param: 'window' },
    });
  });

  test('by the database too, where the service is not asked', async () => {
    const insert = (unit: string, window: string) =>
      db.pool.query(
        `INSERT INTO budgets (id, project_id, name, unit, "window", created_by, control_version)
         VALUES ('bud_x', $1, 'x', $2, $3, 'test', 1)`,
        [projectId, unit, window],
      );
    await expect(insert('concurrent_requests', 'hour')).rejects.toThrow(/budgets_unit_window/);
    await expect(insert('latency_ms', 'run')).rejects.toThrow(/budgets_unit_window/);
    await expect(insert('bytes', 'run')).rejects.toThrow(/budgets_unit_check/);
  });

  test.each<[string, Partial<NewBudget>]>([
    ['that fall', { notifyPercents: [100, 80] }],
    ['that repeat', { notifyPercents: [80, 80] }],
    ['of nothing', { notifyPercents: [0] }],
    ['beyond tenfold', { notifyPercents: [1_001] }],
    ['in parts', { notifyPercents: [0.5] }],
    ['that are too many', { notifyPercents: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }],
    ['of calls in flight', { unit: 'concurrent_requests', window: 'run', notifyPercents: [80] }],
    ['of single attempts', { window: 'attempt', notifyPercents: [80] }],
  ])('with percents %s', async (_, wrong) => {
    await expect(service.create(operator, 'req_1', { ...draft, ...wrong })).rejects.toMatchObject({
      code: 'invalid_argument',
      members: { param: 'notify_percents' },
    });
  });

  describe('for what does not belong together', () => {
    beforeAll(async () => {
      await db.pool.query(
        `INSERT INTO people (id, project_id, email, name, control_version) VALUES ('psn_1', $1, 'a@b', 'Ann', 1)`,
        [projectId],
      );
      await db.pool.query(
        `INSERT INTO agents (id, project_id, name, person_id, created_by, control_version)
         VALUES ('agt_other', $1, 'other', 'psn_1', 'test', 1)`,
        [projectId],
      );
      await db.pool.query(
        `INSERT INTO api_keys (id, project_id, agent_id, kind, name, secret_hash, run_id, created_by, control_version)
         VALUES ('keyofother', $1, 'agt_other', 'agent', 'k', '', NULL, 'test', 1),
                ('keyofrun', $1, $2, 'agent', 'k', '', 'run_test', 'test', 1),
                ('keyofall', $1, NULL, 'service', 'k', '', NULL, 'test', 1)`,
        [projectId, agentId],
      );
      await db.pool.query(
        `INSERT INTO runs (id, project_id, agent_id, workflow, control_version) VALUES ('run_2', $1, $2, 'flow', 1)`,
        [projectId, agentId],
      );
    });

    test.each<[Partial<NewBudget['selector']>, string]>([
      [{ agentId, keyId: 'keyofother' }, 'the key keyofother is not of the agent agt_test'],
      [{ agentId, keyId: 'keyofall' }, 'the key keyofall is not of the agent agt_test'],
      [{ agentId: 'agt_other', runId }, 'the run run_test is not of the agent agt_other'],
      [{ keyId: 'keyofother', runId }, 'the run run_test is not of the agent of the key keyofother'],
      [{ keyId: 'keyofrun', runId: 'run_2' }, 'the key keyofrun is bound to another run than run_2'],
      [{ runId, workflow: 'other' }, 'the run run_test is of another workflow'],
      [{ agentId, personId: 'psn_1' }, 'the person psn_1 does not answer for the agent agt_test'],
      [{ keyId: 'keyofall', personId: 'psn_1' }, 'the key keyofall is not of the person psn_1'],
    ])('%o', async (selected, message) => {
      const request = { ...draft, selector: { ...draft.selector, ...selected } };
      await expect(service.create(operator, 'req_1', request)).rejects.toMatchObject({
        code: 'invalid_argument',
        message: `selector can match no call: ${message}.`,
      });
    });

    test.each<Partial<NewBudget['selector']>>([
      { agentId: 'agt_other', keyId: 'keyofother', personId: 'psn_1' },
      { agentId, keyId: 'keyofrun', runId, workflow: 'flow' },
      { keyId: 'keyofall', runId },
      { personId: 'psn_1', workflow: 'flow' },
    ])('and not %o', async (selected) => {
      const request = { ...draft, selector: { ...draft.selector, ...selected } };
      await expect(service.create(operator, 'req_1', request)).resolves.toBeDefined();
    });
  });

  test.each<[string, Partial<NewBudget>, object]>([
    ['with a limit below nothing', { limit: -1n }, { code: 'invalid_argument', members: { param: 'limit' } }],
    ['with a limit that cannot be counted', { limit: 2n ** 63n }, { code: 'invalid_argument' }],
    ['in no time zone', { timeZone: 'Berlin' }, { code: 'invalid_argument', members: { param: 'time_zone' } }],
    ['in an offset', { timeZone: '+05:30' }, { code: 'invalid_argument', members: { param: 'time_zone' } }],
    ['without a name', { name: ' ' }, { code: 'invalid_argument', members: { param: 'name' } }],
    ['with two lines for a name', { name: 'one\u2028two' }, { code: 'invalid_argument', members: { param: 'name' } }],
    ['with an id for a name', { name: ' bud_1' }, { code: 'invalid_argument', members: { param: 'name' } }],
    [
      'with a time in which no attempt can be made',
      { unit: 'latency_ms', window: 'attempt', limit: 99n },
      { code: 'invalid_argument', members: { param: 'limit' }, message: expect.stringContaining('100 ms') },
    ],
    ['of a project that is not there', { projectId: 'prj_none' }, { code: 'not_found' }],
  ])('%s', async (_, wrong, error) => {
    await expect(service.create(operator, 'req_1', { ...draft, ...wrong })).rejects.toMatchObject(error);
  });

  test.each([
    ['person', { personId: 'psn_none' }],
    ['agent', { agentId: 'agt_none' }],
    ['key', { keyId: 'key_none' }],
    ['run', { runId: 'run_none' }],
    ['team', { teamId: 'team_none' }],
  ])('for a %s that is not of this project', async (kind, selected) => {
    const request = { ...draft, selector: { ...draft.selector, ...selected } };
    await expect(service.create(operator, 'req_1', request)).rejects.toMatchObject({
      code: 'not_found',
      message: expect.stringContaining(
        `no ${kind} ${kind === 'person' ? 'psn' : kind === 'agent' ? 'agt' : kind}_none`,
      ),
    });
  });

  test('a change that would not be taken in a new one', async () => {
    const quick: NewBudget = { ...draft, unit: 'latency_ms', window: 'attempt', limit: 100n };
    const { result: made } = await service.create(operator, 'req_1', quick);
    const update = (changed: Partial<BudgetChange>) =>
      service.update(operator, 'req_2', { ...change, id: made.id, ...changed });
    for (const limit of [1n, 99n])
      await expect(update({ limit })).rejects.toMatchObject({ code: 'invalid_argument', members: { param: 'limit' } });
    await expect(update({ name: 'bud_1' })).rejects.toMatchObject({ code: 'invalid_argument' });
    await update({ limit: 0n });
    await update({ limit: null });
  });

  test('by ids that are cut where they are very long', async () => {
    const long = 'x'.repeat(5_000);
    const cut = { code: 'not_found', message: expect.stringMatching(/ x{100} in this project/) };
    await expect(service.get(projectId, { id: long })).rejects.toMatchObject(cut);
    await expect(service.update(operator, 'req_1', { ...change, id: long })).rejects.toMatchObject(cut);
    await expect(service.delete(operator, 'req_1', { projectId, id: long })).rejects.toMatchObject(cut);
    const request = { ...draft, selector: { ...draft.selector, agentId: long } };
    await expect(service.create(operator, 'req_1', request)).rejects.toMatchObject(cut);
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
});

test('texts of a selector are kept without the blanks around them', async () => {
  const texts = { workflow: ' flow ', provider: ' claude', model: '\tgpt-1 ' };
  const { result: made } = await service.create(operator, 'req_1', {
    ...draft,
    selector: { ...draft.selector, ...texts },
  });
  const kept = { workflow: 'flow', provider: 'claude', model: 'gpt-1' };
  expect(made.selector).toMatchObject(kept);
  expect(await auditOf(made.id)).toMatchObject([{ payload: { selector: kept } }]);
});

test('a page leads to the next, newest first', async () => {
  for (const name of ['a', 'b', 'c']) await service.create(operator, 'req_1', { ...draft, name });
  const first = await service.list(projectId, { pageSize: 2, cursor: null });
  const second = await service.list(projectId, { pageSize: 2, cursor: first.nextCursor });
  expect([...first.items, ...second.items].map(({ budget }) => budget.name)).toEqual(['c', 'b', 'a']);
  expect(second.nextCursor).toBeNull();
});

test('a budget tells whom it is for, and why it counts no further call', async () => {
  await db.pool.query(
    `INSERT INTO agents (id, project_id, name, state, created_by, control_version)
     VALUES ('agt_off', $1, 'Old hand', 'disabled', 'test', 1)`,
    [projectId],
  );
  await db.pool.query(
    `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, control_version)
     VALUES ('run_over', $1, $2, 'flow', 'failed', now(), 1)`,
    [projectId, agentId],
  );
  await db.pool.query(
    `INSERT INTO api_keys (id, project_id, kind, name, secret_hash, created_by, expires_at, revoked_at, control_version)
     VALUES ('keyrevoked', $1, 'service', 'k', '', 'test', NULL, now(), 1),
            ('keyexpired', $1, 'service', 'k', '', 'test', now(), NULL, 1)`,
    [projectId],
  );
  const subjectOf = async (selected: Partial<NewBudget['selector']>) => {
    const name = crypto.randomUUID();
    await service.create(operator, 'req_1', { ...draft, name, selector: { ...draft.selector, ...selected } });
    return (await service.get(projectId, { name })).subject;
  };
  expect(await subjectOf({})).toEqual({ agentName: null, personName: null, teamName: null, idleReason: null });
  expect(await subjectOf({ agentId })).toMatchObject({ agentName: 'agent', idleReason: null });
  expect(await subjectOf({ agentId: 'agt_off' })).toMatchObject({
    agentName: 'Old hand',
    idleReason: 'its agent is disabled',
  });
  expect(await subjectOf({ runId: 'run_over' })).toMatchObject({ idleReason: 'its run is over' });
  expect(await subjectOf({ keyId: 'keyrevoked' })).toMatchObject({ idleReason: 'its key is revoked' });
  expect(await subjectOf({ keyId: 'keyexpired' })).toMatchObject({ idleReason: 'its key has expired' });
  await db.pool.query(
    `INSERT INTO teams (id, project_id, name, created_by) VALUES ('team_1', $1, 'Payments', 'test')`,
    [projectId],
  );
  expect(await subjectOf({ teamId: 'team_1' })).toMatchObject({ teamName: 'Payments', idleReason: null });
  await db.pool.query(`UPDATE teams SET deleted_at = now() WHERE id = 'team_1'`);
  const deleted = await service.list(projectId, { pageSize: 1, cursor: null });
  expect(deleted.items[0]?.subject).toMatchObject({ teamName: 'Payments', idleReason: 'its team is deleted' });
});

test('calls in flight stop no run from starting, unless there may be none', async () => {
  const run = { projectId, agentId, workflow: 'flow' };
  const { result: made } = await service.create(operator, 'req_1', {
    ...draft,
    unit: 'concurrent_requests',
    window: 'lifetime',
    limit: 2n,
  });
  await db.pool.query(`INSERT INTO budget_counters (budget_id, window_key, held) VALUES ($1, 'lifetime', 2)`, [
    made.id,
  ]);
  expect((await service.get(projectId, { id: made.id })).standing).toMatchObject({ held: 2n, remaining: 0n });
  await service.requireLeft(run);
  await service.update(operator, 'req_2', { ...change, id: made.id, limit: 0n });
  await expect(service.requireLeft(run)).rejects.toMatchObject({ code: 'budget_exceeded' });
});

test.each([
  ['is spent', { posted: 10n, held: 0n }, { final: true, members: { spent: '10', held: '0', remaining: '0' } }],
  ['is held', { posted: 7n, held: 3n }, { final: false, members: { spent: '7', held: '3', retryAfterS: 1 } }],
])('a run that cannot begin since its budget %s hears as much as a call would', async (_, { posted, held }, told) => {
  const { result: made } = await service.create(operator, 'req_1', {
    ...draft,
    window: 'lifetime',
    limit: 10n,
    unit: 'tokens',
  });
  await db.pool.query(
    `INSERT INTO budget_counters (budget_id, window_key, posted, held) VALUES ($1, 'lifetime', $2, $3)`,
    [made.id, posted, held],
  );
  await expect(service.requireLeft({ projectId, agentId, workflow: 'flow' })).rejects.toMatchObject(told);
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

// The last, since so many rows make everything after it slow.
test('a budget beyond the most that a project may have is refused', async () => {
  await db.pool.query(
    `INSERT INTO budgets (id, project_id, name, unit, "window", created_by, control_version)
     SELECT 'bud_' || n, $1, 'b' || n, 'usd', 'day', 'test', 1 FROM generate_series(1, $2::int) n`,
    [projectId, budgetsPerProjectMax],
  );
  await expect(service.create(operator, 'req_1', draft)).rejects.toMatchObject({ code: 'conflict' });
});
