import { afterAll, beforeAll, expect, test } from 'vitest';
import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import { inTransaction } from '../pg/tx.ts';
import { useGrant, useGrantAudited } from './grants.ts';
import type { Approval } from './model.ts';
import { decisionOf, makeWorld, type World } from './testing/world.ts';

let world: World;
let ada: Principal;

beforeAll(async () => {
  world = await makeWorld();
  ada = await world.person('ada', ['approver']);
});
afterAll(() => world.db.drop());

const useOf = (approval: Approval) => ({
  projectId: approval.projectId,
  kind: approval.kind,
  runId: approval.runId,
  action: approval.action,
  digest: approval.digest,
  requesterId: approval.requester.id,
  ruleDigest: null,
});

test('a grant lets exactly so many through, however many come at once', async () => {
  const asked = await world.asked({ action: 'many' });
  const grant = { uses: 7, withinMs: 60_000, anyArguments: true };
  await world.approvals.decide(decisionOf(ada, asked.id, { grant }));
  const other = { ...useOf(asked), digest: Buffer.alloc(32) };
  const uses = await Promise.all(Array.from({ length: 40 }, () => useGrant(world.pool, other)));
  expect(uses.filter((used) => used !== null)).toHaveLength(7);
  expect(new Set(uses.flatMap((used) => (used === null ? [] : [used.usesLeft])))).toEqual(
    new Set([0, 1, 2, 3, 4, 5, 6]),
  );
});

test('a grant of the same arguments covers no others, and none covers another agent, run, action, project or rule', async () => {
  const asked = await world.asked({ action: 'exact' });
  await world.approvals.decide(
    decisionOf(ada, asked.id, { grant: { uses: 100, withinMs: 60_000, anyArguments: false } }),
  );
  const use = useOf(asked);
  const others = [
    { digest: Buffer.alloc(32) },
    { requesterId: 'agt_b' },
    { runId: null },
    { action: 'exactly' },
    { projectId: 'prj_b' },
    { kind: 'model_call' as const },
    { ruleDigest: Buffer.alloc(32) },
  ];
  for (const other of others) expect(await useGrant(world.pool, { ...use, ...other })).toBeNull();
  const used = await inTransaction(world.pool, (tx) => useGrantAudited(tx, use, 'req_t'));
  expect(used).toEqual({ approvalId: asked.id, usesLeft: 99 });
  expect(await world.audited(asked.id)).toEqual([
    'approval.requested',
    'approval.decided',
    'approval.granted',
    'approval.grant_used',
  ]);
});

test('a grant ends with its time, its run, its agent, and the right of who gave it', async () => {
  const asked = await world.asked({ action: 'ends' });
  await world.approvals.decide(
    decisionOf(ada, asked.id, { grant: { uses: 100, withinMs: 60_000, anyArguments: true } }),
  );
  const works = async () => (await useGrant(world.pool, useOf(asked))) !== null;
  const changes = [
    [`UPDATE runs SET state = 'failed', finished_at = now()`, `UPDATE runs SET state = 'running', finished_at = NULL`],
    [`UPDATE agents SET state = 'disabled'`, `UPDATE agents SET state = 'active'`],
    [
      `UPDATE people SET roles = '{auditor}' WHERE id = 'psn_ada'`,
      `UPDATE people SET roles = '{approver}' WHERE id = 'psn_ada'`,
    ],
    [`UPDATE people SET state = 'disabled' WHERE id = 'psn_ada'`, `UPDATE people SET state = 'active'`],
  ] as const;
  for (const [away, back] of changes) {
    await world.pool.query(away);
    expect(await works()).toBe(false);
    await world.pool.query(back);
    expect(await works()).toBe(true);
  }
  await world.pool.query(`UPDATE approval_grants SET expires_at = clock_timestamp()`);
  expect(await works()).toBe(false);
});

test('nothing of high risk, of several people or that is no call is granted again, nor beyond the bounds', async () => {
  const refused = async (asked: Approval, grant = { uses: 1, withinMs: 60_000, anyArguments: false }) =>
    world.approvals.decide(decisionOf(ada, asked.id, { grant })).then(
      () => 'granted',
      (error: unknown) => PortcullisError.from(error).code,
    );
  expect(await refused(await world.asked({ risk: 'high' }))).toBe('policy_denied');
  expect(await refused(await world.asked({ quorum: 2 }))).toBe('policy_denied');
  expect(await refused(await world.asked({ kind: 'run_gate' }))).toBe('policy_denied');
  const asked = await world.asked();
  for (const grant of [
    { uses: 0, withinMs: 1, anyArguments: false },
    { uses: 1_001, withinMs: 1, anyArguments: false },
    { uses: 1, withinMs: 8 * 86_400_000, anyArguments: false },
  ])
    expect(await refused(asked, grant)).toBe('invalid_argument');
  expect((await world.found(asked.id)).state).toBe('pending');
});
