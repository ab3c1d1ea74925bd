import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { provisionalPerAgentDayMax } from '../base/limits.ts';
import type { Principal } from '../identity/model.ts';
import { controlWrite } from '../pg/tx.ts';
import type { ToldAttempt } from './model.ts';
import { PromptAttempts } from './prompt-attempts.ts';

const now = Date.parse('2026-11-23T09:00:00Z');
let db: TestDatabase;
let service: PromptAttempts;

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
      `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, max_retries, prompt_version, control_version)
       VALUES ('run_1', 'prj_a', 'agt_1', 'w', 'running', NULL, NULL, NULL, $1),
         ('run_2', 'prj_a', 'agt_2', 'w', 'failed', now(), NULL, NULL, $1),
         ('run_3', 'prj_a', 'agt_3', 'w', 'running', NULL, 2, repeat('f', 64), $1)`,
      [version],
    );
  });
  service = new PromptAttempts(db.pool, { now: () => now });
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
  callId: clientId,
  attemptNumber: 1,
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
    await expect(service.record(bound, told('c5', { runId: 'run_2' }))).rejects.toMatchObject({ code: 'not_found' });
  });

  test('numbers the attempts of a call up to what its run allows, each once', async () => {
    const at = (clientId: string, callId: string, attemptNumber: number, runId: string | null = 'run_3') =>
      service.record(agent('agt_3'), told(clientId, { callId, attemptNumber, runId }));
    expect(await at('n1', 'call', 1)).toMatchObject({
      callId: 'call',
      attemptNumber: 1,
      promptVersion: 'f'.repeat(64),
    });
    expect(await at('n1', 'call', 1)).toMatchObject({ clientId: 'n1' });
    await at('n3', 'call', 3);
    await at('n2', 'call', 2);
    await expect(at('n4', 'call', 4)).rejects.toMatchObject({
      code: 'invalid_argument',
      members: { param: 'attempt_number' },
    });
    await expect(at('other', 'call', 2)).rejects.toMatchObject({
      code: 'conflict',
      members: { param: 'attempt_number' },
    });
    // Another call, another run, and no run at all have numbers of their own.
    await at('m2', 'call two', 2);
    expect(await at('w10', 'call', 10, null)).toMatchObject({ runId: null, promptVersion: null });
    await expect(at('w11', 'call', 11, null)).rejects.toMatchObject({ code: 'invalid_argument' });
    const racing = await Promise.allSettled(Array.from({ length: 10 }, (_, n) => at(`r${n}`, 'raced', 1)));
    expect(racing.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  test.each<[string, Partial<ToldAttempt>]>([
    ['call_id', { callId: '' }],
    ['attempt_number', { attemptNumber: 0 }],
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
  const operator = agent('psn_1', { kind: 'operator', agentId: null });
  const list = async (more: object, by = operator) => {
    const filter = { projectId: 'prj_a', agentId: null, runId: null, from: null, to: null, ...more };
    return (await service.list(by, filter, { pageSize: 500, cursor: null })).items;
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
  // By when they were told.
  expect(await list({ from: Date.now() + 60_000 })).toEqual([]);
  expect(await list({ to: Date.now() - 60_000 })).toEqual([]);
  expect(await list({ from: Date.now() - 60_000, to: Date.now() + 60_000, runId: 'run_1' })).toHaveLength(2);
  expect(await list({ runId: 'run_1', agentId: 'agt_2' })).toEqual([]);
  expect(await list({ projectId: 'prj_b' })).toEqual([]);
  // An agent's are its own, those of a key that is bound to a run are that run's; what else it names has none.
  const own = await list({ agentId: 'agt_1' });
  expect(await list({}, agent('agt_1'))).toEqual(own);
  expect(await list({ agentId: 'agt_2' }, agent('agt_1'))).toEqual([]);
  const bound = agent('agt_1', { runId: 'run_1' });
  expect(await list({}, bound)).toEqual(await list({ runId: 'run_1' }));
  expect(await list({ runId: 'run_1' }, bound)).toEqual(await list({}, bound));
  for (const other of [{ runId: 'run_3' }, { agentId: 'agt_2' }]) expect(await list(other, bound)).toEqual([]);
});
