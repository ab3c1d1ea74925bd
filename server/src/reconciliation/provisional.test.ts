import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { provisionalPerAgentDayMax } from '../base/limits.ts';
import type { Principal } from '../identity/model.ts';
import { controlWrite } from '../pg/tx.ts';
import type { ToldAttempt } from './model.ts';
import { ProvisionalService } from './provisional.ts';

const now = Date.parse('2026-11-23T09:00:00Z');
let db: TestDatabase;
let service: ProvisionalService;

beforeAll(async () => {
  db = await createTestDatabase();
  await controlWrite(db.pool, async (tx, version) => {
    await tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1)`, [version]);
    await tx.query(
      `INSERT INTO agents (id, project_id, name, created_by, control_version)
       VALUES ('agt_1', 'prj_a', 'one', 't', $1), ('agt_2', 'prj_a', 'two', 't', $1), ('agt_3', 'prj_a', 'three', 't', $1)`,
      [version],
    );
    await tx.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, control_version)
       VALUES ('run_1', 'prj_a', 'agt_1', 'w', 'running', NULL, $1), ('run_2', 'prj_a', 'agt_2', 'w', 'failed', now(), $1)`,
      [version],
    );
  });
  service = new ProvisionalService(db.pool, { now: () => now });
});
afterAll(() => db.drop());

function agent(id: string, more: Partial<Principal> = {}): Principal {
  return {
    kind: 'agent',
    id,
    name: id,
    projectId: 'prj_a',
    scopes: new Set(['telemetry:write']),
    method: 'api_key',
    agentId: id,
    personId: 'psn_1',
    keyId: 'key_1',
    runId: null,
    models: null,
    teams: [],
    requiresSignature: false,
    binding: null,
    cidrs: null,
    token: null,
    expiresAt: null,
    ...more,
  };
}

const told = (clientId: string, more: Partial<ToldAttempt> = {}): ToldAttempt => ({
  clientId,
  runId: null,
  provider: 'bedrock',
  model: 'nova',
  tokensInput: 10n,
  tokensOutput: 5n,
  tokensCacheRead: 1n,
  tokensCacheWrite: 2n,
  costUsd: 700n,
  outcome: 'success',
  startedAt: now - 60_000,
  ...more,
});

describe('a report', () => {
  test('is kept with who told it, and told again it is the same', async () => {
    const made = await service.record(agent('agt_1'), told('c1', { runId: 'run_1' }));
    expect(made).toMatchObject({
      ...told('c1', { runId: 'run_1' }),
      projectId: 'prj_a',
      agentId: 'agt_1',
      personId: 'psn_1',
      keyId: 'key_1',
    });
    expect(await service.record(agent('agt_1'), told('c1', { runId: 'run_1' }))).toEqual(made);
    // Another agent's id of the same name is another one.
    expect((await service.record(agent('agt_2'), told('c1'))).id).not.toBe(made.id);
  });

  test('of one id by many at once is one', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => service.record(agent('agt_1'), told('at once'))));
    expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  });

  test('of a known id with another content is refused', async () => {
    await service.record(agent('agt_1'), told('c2'));
    for (const more of [
      { costUsd: 701n },
      { model: 'x' },
      { runId: 'run_1' },
      { outcome: 'failed' },
      { startedAt: now },
    ] as const)
      await expect(service.record(agent('agt_1'), told('c2', more))).rejects.toMatchObject({
        code: 'idempotency_mismatch',
      });
  });

  test('is an agent’s own: of its runs, and of the run that its key is bound to', async () => {
    await expect(service.record(agent('agt_1', { agentId: null }), told('c3'))).rejects.toMatchObject({
      code: 'policy_denied',
    });
    for (const runId of ['run_2', 'run_none'])
      await expect(service.record(agent('agt_1'), told('c3', { runId }))).rejects.toMatchObject({ code: 'not_found' });
    const bound = agent('agt_1', { runId: 'run_1' });
    expect((await service.record(bound, told('c4'))).runId).toBe('run_1');
    await expect(service.record(bound, told('c5', { runId: 'run_2' }))).rejects.toMatchObject({
      code: 'policy_denied',
    });
  });

  test.each<[string, Partial<ToldAttempt>]>([
    ['client_id', { clientId: '' }],
    ['client_id', { clientId: 'x'.repeat(201) }],
    ['client_id', { clientId: 'a\u0000b' }],
    ['provider', { provider: ' ' }],
    ['model', { model: 'x'.repeat(201) }],
    ['input_tokens', { tokensInput: -1n }],
    ['output_tokens', { tokensOutput: 10n ** 13n }],
    ['cache_read_tokens', { tokensCacheRead: -1n }],
    ['cache_write_tokens', { tokensCacheWrite: -1n }],
    ['cost_nanousd', { costUsd: -1n }],
    ['cost_nanousd', { costUsd: 10n ** 16n }],
    ['start_time', { startedAt: now + 600_000 }],
    ['start_time', { startedAt: now - 40 * 86_400_000 }],
  ])('with a wrong %s is refused by its name', async (param, wrong) => {
    await expect(service.record(agent('agt_1'), told('c6', wrong))).rejects.toMatchObject({
      code: 'invalid_argument',
      members: { param },
    });
  });

  test('is one of so many a day, and what is known already is none of them', async () => {
    await service.record(agent('agt_3'), told('first'));
    await db.pool.query(`UPDATE provisional_days SET recorded = $1 WHERE agent_id = 'agt_3'`, [
      provisionalPerAgentDayMax - 1,
    ]);
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, (_, n) => service.record(agent('agt_3'), told(`last ${n}`))),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    for (const error of refused) {
      expect(error).toMatchObject({ code: 'rate_limited', members: { retryAfterS: 15 * 3600 } });
    }
    await expect(service.record(agent('agt_3'), told('first'))).resolves.toBeDefined();
    const { rows } = await db.pool.query(`SELECT recorded FROM provisional_days WHERE agent_id = 'agt_3'`);
    expect(rows).toEqual([{ recorded: provisionalPerAgentDayMax }]);
  });
});

test('reports are listed newest first, by agent, run and time', async () => {
  const list = async (more: object) => {
    const filter = { projectId: 'prj_a', agentId: null, runId: null, from: null, to: null, ...more };
    return (await service.list(filter, { pageSize: 500, cursor: null })).items;
  };
  const all = await list({});
  expect(all.map(({ id }) => id)).toEqual(
    all
      .map(({ id }) => id)
      .toSorted()
      .toReversed(),
  );
  expect((await list({ agentId: 'agt_2' })).map(({ clientId }) => clientId)).toEqual(['c1']);
  expect((await list({ runId: 'run_1' })).map(({ clientId }) => clientId).toSorted()).toEqual(['c1', 'c4']);
  expect(await list({ from: now })).toEqual([]);
  expect(await list({ to: now - 60_000 })).toEqual([]);
  expect(await list({ projectId: 'prj_b' })).toEqual([]);
});
