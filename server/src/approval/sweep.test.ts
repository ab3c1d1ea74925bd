import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import { inTransaction } from '../pg/tx.ts';
import { cancelFor } from './cancel-for.ts';
import type { Approval, OutcomeState } from './model.ts';
import { ApprovalSweep, type SweepParts } from './sweep.ts';
import { decisionOf, makeWorld, requestOf, type World } from './testing/world.ts';
import { useApproval } from './use.ts';

let world: World;
let ada: Principal;

beforeAll(async () => {
  world = await makeWorld();
  ada = await world.person('ada', ['approver']);
});
afterAll(() => world.db.drop());
beforeEach(() =>
  world.pool.query(`UPDATE approvals SET state = 'cancelled', ended_at = now() WHERE state = 'pending'`),
);

const sweepWith = (parts: Partial<SweepParts> = {}) =>
  new ApprovalSweep(world.pool, { continuations: {}, killedBy: () => null, anyKill: () => false, ...parts });
const lapse = (id: string) =>
  world.pool.query('UPDATE approvals SET expires_at = clock_timestamp() WHERE id = $1', [id]);
const code = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => PortcullisError.from(error).code,
  );

describe('a request that nobody decides in time', () => {
  test('expires, and what follows from that follows with it', async () => {
    const told: OutcomeState[] = [];
    const continuations = {
      tool_call: async (_tx: unknown, _version: bigint, { state }: Approval) => {
        if (state !== 'pending') told.push(state);
      },
    };
    const { id } = await world.asked();
    const fresh = await world.asked();
    await lapse(id);
    const sweeps = [sweepWith({ continuations }), sweepWith({ continuations })];
    await Promise.all(sweeps.map((sweep) => sweep.sweep()));
    expect((await world.found(id)).state).toBe('expired');
    expect((await world.found(fresh.id)).state).toBe('pending');
    expect(told).toEqual(['expired']);
    expect(sweeps[0]?.pending).toBe(1);
    expect(await world.audited(id)).toEqual(['approval.requested', 'approval.expired']);
  });

  test('cannot be decided any more, swept or not, and what follows from that follows', async () => {
    const told: string[] = [];
    const service = world.service({
      continuations: {
        tool_call: async (_tx, _version, { state }, { personId }) => {
          told.push(`${state} by ${personId}`);
        },
      },
    });
    const { id } = await world.asked();
    await lapse(id);
    expect(await code(service.decide(decisionOf(ada, id)))).toBe('conflict');
    expect((await world.found(id)).state).toBe('expired');
    expect(told).toEqual(['expired by null']);
  });

  test('has one outcome where it expires while people decide', async () => {
    for (let round = 0; round < 30; round++) {
      const { id } = await world.asked({ expiresInMs: 1_000 });
      await world.pool.query(
        `UPDATE approvals SET expires_at = clock_timestamp() + $2 * interval '1 ms' WHERE id = $1`,
        [id, round % 10],
      );
      const sweep = sweepWith();
      const decisions = Array.from({ length: 4 }, () => code(world.approvals.decide(decisionOf(ada, id))));
      const [codes] = await Promise.all([Promise.all(decisions), sweep.sweep(), sweep.sweep()]);
      await lapse(id);
      await sweep.sweep();
      const { state } = await world.found(id);
      const won = codes.filter((one) => one === 'done').length;
      expect(state).toBe(won === 1 ? 'approved' : 'expired');
      expect(won).toBeLessThanOrEqual(1);
      expect(await world.audited(id)).toHaveLength(2);
    }
  });

  test('is in time by the clock of the database, whatever that of the process says', async () => {
    const { id } = await world.asked();
    const late = await world.asked();
    await lapse(late.id);
    vi.useFakeTimers({ now: Date.now() + 86_400_000, toFake: ['Date'] });
    try {
      await sweepWith().sweep();
      expect((await world.found(id)).state).toBe('pending');
      expect(await code(world.approvals.decide(decisionOf(ada, id)))).toBe('done');
      vi.setSystemTime(0);
      expect(await code(world.approvals.decide(decisionOf(ada, late.id)))).toBe('conflict');
    } finally {
      vi.useRealTimers();
    }
    expect((await world.found(late.id)).state).toBe('expired');
  });
});

test('the ladder lets further groups decide, and tells them, step by step', async () => {
  const boss = await world.person('boss', ['approver'], { teams: ['leads'] });
  const ladder = [
    { afterMs: 10_000, groups: ['team:leads'] },
    { afterMs: 20_000, groups: ['role:admin'] },
  ];
  const { id } = await world.asked({ groups: ['person:nobody@example.com'], ladder });
  expect(await code(world.approvals.decide(decisionOf(boss, id)))).toBe('policy_denied');
  await sweepWith().sweep();
  expect((await world.found(id)).rung).toBe(0);
  await world.pool.query(
    `UPDATE approvals SET created_at = created_at - interval '10 s', next_rung_at = next_rung_at - interval '10 s' WHERE id = $1`,
    [id],
  );
  await Promise.all([sweepWith().sweep(), sweepWith().sweep()]);
  expect(await world.found(id)).toMatchObject({ rung: 1, groups: ['person:nobody@example.com', 'team:leads'] });
  const { rows } = await world.pool.query(
    'SELECT rung, groups FROM approval_notices WHERE approval_id = $1 ORDER BY rung',
    [id],
  );
  expect(rows).toEqual([
    { rung: 0, groups: ['person:nobody@example.com'] },
    { rung: 1, groups: ['team:leads'] },
  ]);
  expect(await code(world.approvals.decide(decisionOf(boss, id)))).toBe('done');
  expect(await world.audited(id)).toEqual(['approval.requested', 'approval.escalated', 'approval.decided']);
});

describe('a request loses its ground', () => {
  test('with its run, in the transaction that ends it', async () => {
    const { id } = await world.asked();
    const actor = { kind: 'agent', id: 'agt_a' } as const;
    await inTransaction(world.pool, (tx) =>
      cancelFor(tx, { runId: 'run_a', reason: 'Its run ended.', actor, requestId: 'req_t' }),
    );
    expect(await world.found(id)).toMatchObject({ state: 'cancelled', reason: 'Its run ended.' });
  });

  const losses = [
    [
      'its run ends',
      `UPDATE runs SET state = 'failed', finished_at = now()`,
      `UPDATE runs SET state = 'running', finished_at = NULL`,
    ],
    ['its agent is disabled', `UPDATE agents SET state = 'disabled'`, `UPDATE agents SET state = 'active'`],
    [
      'the person who answers is disabled',
      `UPDATE people SET state = 'disabled' WHERE id = 'psn_answers'`,
      `UPDATE people SET state = 'active'`,
    ],
  ] as const;
  test.each(losses)(
    'where %s: it is cancelled, cannot be decided, and what was approved cannot be used',
    async (_, lose, regain) => {
      const swept = await world.asked();
      const decided = await world.asked();
      const used = await world.asked();
      await world.approvals.decide(decisionOf(ada, used.id));
      await world.pool.query(lose);
      expect(await code(world.approvals.decide(decisionOf(ada, decided.id)))).toBe('conflict');
      await sweepWith().sweep();
      expect(await useApproval(world.pool, used)).toBe(false);
      for (const { id } of [swept, decided]) expect((await world.found(id)).state).toBe('cancelled');
      await world.pool.query(regain);
      expect(await useApproval(world.pool, used)).toBe(true);
    },
  );

  test('with the key that asked', async () => {
    await world.pool.query(
      `INSERT INTO api_keys (id, project_id, agent_id, kind, name, secret_hash, scopes, created_by, control_version, revoked_at)
       VALUES ('key_gone', 'prj_a', 'agt_a', 'agent', 'k', '', '{}', 'test', 1, now())`,
    );
    const { id } = await world.asked({ requester: { ...requestOf(world.agent).requester, keyId: 'key_gone' } });
    await sweepWith().sweep();
    expect((await world.found(id)).state).toBe('cancelled');
  });

  test('by the kill switch, but for what people need to release it', async () => {
    const killedBy = ({ agentId, workflow }: { agentId: string | null; workflow: string | null }) =>
      agentId === 'agt_a' && workflow === 'w' ? 'The kill switch stops it: a test.' : null;
    const call = await world.asked();
    const release = await world.asked({ kind: 'kill_release' });
    await sweepWith({ killedBy, anyKill: () => true }).sweep();
    expect(await world.found(call.id)).toMatchObject({
      state: 'cancelled',
      reason: 'The kill switch stops it: a test.',
    });
    expect((await world.found(release.id)).state).toBe('pending');
    const later = await world.asked();
    const service = world.service({ killedBy });
    expect(await code(service.decide(decisionOf(ada, later.id)))).toBe('conflict');
    expect((await world.found(later.id)).state).toBe('cancelled');
    expect(await code(service.decide(decisionOf(ada, release.id)))).toBe('done');
  });
});

test('what ended long ago is deleted, with all that belongs to it', async () => {
  const { id } = await world.asked();
  await world.approvals.decide(decisionOf(ada, id, { grant: { uses: 1, withinMs: 60_000, anyArguments: false } }));
  await world.pool.query(`UPDATE approvals SET ended_at = now() - interval '401 days' WHERE id = $1`, [id]);
  await sweepWith().purge();
  const { rows } = await world.pool.query(
    `SELECT FROM approvals WHERE id = $1 UNION ALL SELECT FROM approval_votes WHERE approval_id = $1`,
    [id],
  );
  expect(rows).toHaveLength(0);
});

describe('taking back', () => {
  test('is for who asked and administrators, and has one outcome', async () => {
    const mine = await world.asked();
    const cancel = (by: Principal, id: string) =>
      world.approvals.cancel({ by, requestId: 'req_t', projectId: 'prj_a', id, reason: 'No need.' });
    expect(await code(cancel(ada, mine.id))).toBe('policy_denied');
    expect(await code(cancel({ ...world.agent, id: 'agt_b' }, mine.id))).toBe('not_found');
    expect(await cancel(world.agent, mine.id)).toMatchObject({ state: 'cancelled', reason: 'No need.' });
    expect(await code(cancel(world.agent, mine.id))).toBe('conflict');
    expect(await code(world.approvals.decide(decisionOf(ada, mine.id)))).toBe('conflict');
  });
});
