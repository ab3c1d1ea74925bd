import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, testBounds, type TestDatabase } from '../../../test/support/database.ts';
import { judgeOf } from '../../../test/support/policy.ts';
import { systemClock } from '../base/clock.ts';
import { runsRunningPerAgentMax } from '../base/limits.ts';
import { createLogger } from '../base/log.ts';
import type { NewBudget } from '../budget/budget-input.ts';
import { BudgetService } from '../budget/budget-service.ts';
import type { Principal } from '../identity/model.ts';
import { ControlFeed } from '../pg/control-feed.ts';
import { controlWrite } from '../pg/tx.ts';
import { KillIndex } from '../policy/kill-index.ts';
import { KillService } from '../policy/kill-service.ts';
import { runOutcomes } from './model.ts';
import { RunIndex } from './run-index.ts';
import { RunService, type StartOfRun } from './service.ts';

let db: TestDatabase;
let feed: ControlFeed;
let index: RunIndex;
let runs: RunService;
let budgets: BudgetService;
const kills = new KillIndex();

beforeAll(async () => {
  db = await createTestDatabase();
  await controlWrite(db.pool, async (tx, version) => {
    await tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1), ('prj_b', 'b', $1)`, [
      version,
    ]);
    await tx.query(
      `INSERT INTO agents (id, project_id, name, state, created_by, control_version) VALUES
         ('agt_1', 'prj_a', 'one', 'active', 'test', $1), ('agt_2', 'prj_a', 'two', 'active', 'test', $1),
         ('agt_off', 'prj_a', 'off', 'disabled', 'test', $1), ('agt_b', 'prj_b', 'b', 'active', 'test', $1)`,
      [version],
    );
  });
  index = new RunIndex(() => feed.refresh());
  budgets = new BudgetService(db.pool, Date.now);
  runs = new RunService(db.pool, () => Date.now(), kills, budgets, judgeOf());
  feed = new ControlFeed({
    connection: { ...testBounds, connectionString: db.appUrl },
    parts: [kills, index],
    clock: systemClock,
    log: createLogger('silent'),
  });
  await feed.start();
});
afterAll(async () => {
  await feed.stop();
  await db.drop();
});

function agent(id: string, known: Partial<Principal> = {}): Principal {
  return {
    kind: 'agent',
    id,
    name: id,
    projectId: id === 'agt_b' ? 'prj_b' : 'prj_a',
    scopes: new Set(['runs:write']),
    method: 'api_key',
    agentId: id,
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
    ...known,
  };
}
const one = agent('agt_1');
const two = agent('agt_2');
const operator = agent('psn_1', { kind: 'operator', agentId: null });

async function start(by: Principal = one, agentId: string | null = null, more: Partial<StartOfRun> = {}) {
  const nothingMore = { taskId: null, promptVersion: null, maxRetries: null };
  const asked = { projectId: by.projectId, agentId, workflow: 'fix-bug', ...nothingMore, ...more };
  const { result } = await runs.start(by, 'req_t', asked);
  return result;
}

function finish(id: string, outcome: (typeof runOutcomes)[number] = 'succeeded', by: Principal = one) {
  return runs.finish(by, 'req_t', { id, projectId: by.projectId, outcome, summary: `said ${outcome}`, error: '' });
}

async function actionsOn(id: string): Promise<string[]> {
  const { rows } = await db.pool.query<{ action: string }>(
    'SELECT action FROM audit_entries WHERE target = $1 ORDER BY at',
    [id],
  );
  return rows.map(({ action }) => action);
}

describe('a run', () => {
  test('finished by a hundred callers at once has one outcome, which all who asked for it are told alike', async () => {
    const { id } = await start();
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) => finish(id, runOutcomes[i % runOutcomes.length])),
    );
    const told = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value.result] : []));
    const refused = results.flatMap((r) => (r.status === 'rejected' ? [r.reason as unknown] : []));
    const [first] = told;
    for (const result of told) expect(result).toEqual(first);
    for (const error of refused) expect(error).toMatchObject({ code: 'conflict' });
    expect(told.length + refused.length).toBe(100);
    expect(told.length).toBeGreaterThanOrEqual(33);
    expect(await actionsOn(id)).toEqual(['run.started', 'run.finished']);
  });

  test('of another agent or project does not exist for the caller', async () => {
    const { id } = await start();
    for (const stranger of [two, agent('agt_b'), agent('psn_b', { agentId: null, projectId: 'prj_b' })]) {
      const where = { id, projectId: stranger.projectId };
      await expect(runs.get(stranger, where)).rejects.toMatchObject({ code: 'not_found' });
      await expect(finish(id, 'failed', stranger)).rejects.toMatchObject({ code: 'not_found' });
      await expect(index.resolve(id, stranger)).rejects.toMatchObject({ code: 'not_found' });
    }
    expect((await runs.get(operator, { id, projectId: 'prj_a' })).run.state).toBe('running');
    expect((await index.resolve(id, operator))?.id).toBe(id);
  });

  test('is started by an operator for an agent of the project that is active, and by an agent for itself alone', async () => {
    expect((await start(operator, 'agt_2')).agentId).toBe('agt_2');
    expect((await start(two, 'agt_2')).agentId).toBe('agt_2');
    await expect(start(one, 'agt_2')).rejects.toMatchObject({ code: 'not_found' });
    await expect(start(operator)).rejects.toMatchObject({ code: 'invalid_argument' });
    await expect(start(operator, 'agt_b')).rejects.toMatchObject({ code: 'not_found' });
    await expect(start(operator, 'agt_off')).rejects.toMatchObject({ code: 'conflict' });
  });

  test('is known to the data plane at once, also where it was started elsewhere, and until it is finished', async () => {
    const { id } = await start();
    expect(await index.resolve(id, one)).toMatchObject({ id, workflow: 'fix-bug' });
    expect(await index.resolve(null, one)).toBeNull();
    await feed.reach((await finish(id)).version, 5000);
    await expect(index.resolve(id, one)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('ends the keys bound to it, which reach no other run', async () => {
    const { id } = await start();
    const other = await start();
    await db.pool.query(
      `INSERT INTO api_keys (id, project_id, agent_id, kind, name, secret_hash, run_id, created_by, control_version)
       VALUES ('key_bound', 'prj_a', 'agt_1', 'agent', 'bound', '', $1, 'test', 1)`,
      [id],
    );
    const bound = agent('agt_1', { keyId: 'key_bound', runId: id });
    expect((await index.resolve(null, bound))?.id).toBe(id);
    await expect(index.resolve(other.id, bound)).rejects.toMatchObject({ code: 'policy_denied' });
    await expect(finish(other.id, 'failed', bound)).rejects.toMatchObject({ code: 'not_found' });
    await expect(start(bound)).rejects.toMatchObject({ code: 'policy_denied' });
    await finish(id, 'succeeded', bound);
    const { rows } = await db.pool.query(
      `SELECT revoked_at IS NOT NULL AS revoked FROM api_keys WHERE id = 'key_bound'`,
    );
    expect(rows).toEqual([{ revoked: true }]);
  });

  test('is not started while a kill switch covers its agent', async () => {
    const service = new KillService(db.pool, {
      isProvider: () => false,
      databaseNow: () => Date.now(),
      twoPeople: false,
      controlAgeMaxMs: 10_000,
    });
    const by = agent('psn_1', { kind: 'operator', agentId: null, name: 'Ada' });
    const { result, version } = await service.engage(by, 'req_t', {
      scope: 'agent',
      value: 'agt_2',
      projectId: 'prj_a',
      reason: 'It loops.',
      expiresAt: null,
      ttlMs: null,
      drill: false,
    });
    await feed.reach(version, 5000);
    await expect(start(two)).rejects.toMatchObject({ code: 'killed', members: { rule: result.id } });
    await expect(start(operator, 'agt_2')).rejects.toMatchObject({ code: 'killed' });
    await expect(start(one)).resolves.toBeDefined();
    await feed.reach((await service.release(by, 'req_t', { id: result.id, projectId: 'prj_a' })).version, 5000);
    await expect(start(two)).resolves.toBeDefined();
  });

  test('is not started while nothing is left of a budget that counts all of it', async () => {
    const by = agent('psn_1', { kind: 'operator', agentId: null, name: 'Ada' });
    const any: NewBudget['selector'] = {
      teamId: null,
      personId: null,
      agentId: null,
      keyId: null,
      workflow: null,
      runId: null,
      providerType: null,
      provider: null,
      model: null,
    };
    const budget = async (name: string, selector: Partial<NewBudget['selector']>, more: Partial<NewBudget> = {}) => {
      const { result } = await budgets.create(by, 'req_t', {
        projectId: 'prj_a',
        name,
        selector: { ...any, ...selector },
        unit: 'requests',
        window: 'lifetime',
        timeZone: 'UTC',
        limit: 2n,
        mode: 'enforce',
        ...more,
      });
      await db.pool.query(
        `INSERT INTO budget_counters (budget_id, window_key, held, posted) VALUES ($1, 'lifetime', 1, 1)`,
        [result.id],
      );
      return result.id;
    };
    // None of these refuses every call of a run.
    await budget('only one model', { model: 'dear-*' });
    await budget('another agent', { agentId: 'agt_1' });
    await budget('another workflow', { workflow: 'write-docs' });
    await budget('dry run', {}, { mode: 'dry_run' });
    await budget('no limit', {}, { limit: null });
    await expect(start(two)).resolves.toBeDefined();
    for (const [selector, more] of [
      [{ agentId: 'agt_2' }, {}],
      [{ workflow: 'fix-bug' }, {}],
      [{ agentId: 'agt_2' }, { window: 'run', limit: 0n }],
    ] as const) {
      const id = await budget('spent', selector, more);
      await expect(start(two)).rejects.toMatchObject({ code: 'budget_exceeded', members: { rule: 'spent' } });
      await budgets.update(by, 'req_t', { projectId: 'prj_a', id, name: undefined, limit: 3n, mode: undefined });
      await expect(start(two)).resolves.toBeDefined();
      await budgets.delete(by, 'req_t', { projectId: 'prj_a', id });
    }
  });

  test('above the limit of its agent is refused', async () => {
    const { version } = await controlWrite(db.pool, (tx, stamp) =>
      tx.query(
        `INSERT INTO runs (id, project_id, agent_id, workflow, control_version)
         SELECT 'run_many_' || n, 'prj_b', 'agt_b', 'w', $2 FROM generate_series(1, $1::int) AS n`,
        [runsRunningPerAgentMax, stamp],
      ),
    );
    await feed.reach(version, 5000);
    const by = agent('agt_b');
    await expect(start(by)).rejects.toMatchObject({ code: 'conflict' });
    for (let n = 1; n <= 3; n++) await finish(`run_many_${n}`, 'cancelled', by);
    // However many ask at once: none of them has heard of the others.
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => start(by)));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(3);
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    for (const error of refused) expect(error).toMatchObject({ code: 'conflict' });
  });
});
