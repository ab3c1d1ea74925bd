import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { operatorOf } from '../../../../test/support/identity.ts';
import { evaluationsPerRunMax } from '../../base/telemetry-limits.ts';
import type { Principal } from '../../identity/model.ts';
import { controlWrite } from '../../pg/tx.ts';
import { Opinions } from './opinion-service.ts';

let db: TestDatabase;
let opinions: Opinions;
const projectId = 'prj_a';
const issuer = 'https://id.example.com';

beforeAll(async () => {
  db = await createTestDatabase();
  opinions = new Opinions(db.pool);
  await controlWrite(db.pool, async (tx, version) => {
    await tx.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_a', 'a', $1), ('prj_b', 'b', $1)`, [
      version,
    ]);
    await tx.query(
      `INSERT INTO people (id, project_id, email, name, issuer, subject, control_version) VALUES
         ('psn_owner', 'prj_a', 'o@example.com', 'owner', $2, 'owner-subject', $1),
         ('psn_other', 'prj_a', 'x@example.com', 'other', $2, 'other-subject', $1)`,
      [version, issuer],
    );
    await tx.query(
      `INSERT INTO agents (id, project_id, name, person_id, state, created_by, control_version) VALUES
         ('agt_a', 'prj_a', 'a', 'psn_owner', 'active', 'test', $1), ('agt_b', 'prj_a', 'b', 'psn_other', 'active', 'test', $1),
         ('agt_c', 'prj_a', 'c', NULL, 'active', 'test', $1), ('agt_d', 'prj_a', 'd', NULL, 'active', 'psn_owner', $1),
         ('agt_e', 'prj_a', 'e', NULL, 'active', '${issuer}|owner-subject', $1), ('agt_f', 'prj_a', 'f', NULL, 'active', 'key_f', $1)`,
      [version],
    );
    await tx.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, state, finished_at, control_version) VALUES
         ('run_ended', 'prj_a', 'agt_a', 'w', 'succeeded', now(), $1), ('run_ended2', 'prj_a', 'agt_a', 'w', 'failed', now(), $1),
         ('run_runs', 'prj_a', 'agt_a', 'w', 'running', NULL, $1), ('run_c', 'prj_a', 'agt_c', 'w', 'failed', now(), $1),
         ('run_d', 'prj_a', 'agt_d', 'w', 'failed', now(), $1), ('run_e', 'prj_a', 'agt_e', 'w', 'failed', now(), $1),
         ('run_f', 'prj_a', 'agt_f', 'w', 'failed', now(), $1)`,
      [version],
    );
  });
});
afterAll(() => db.drop());

const reviewer: Principal = { ...operatorOf(projectId), id: 'psn_other', personId: 'psn_other' };
const rate = (by: Principal, runId = 'run_ended', rating = 4) =>
  opinions.rate(by, { projectId: by.projectId, runId, rating, comment: 'so so' });
const evaluate = (by: Principal, runId = 'run_ended', evaluator = 'tests', score = 0.5) =>
  opinions.evaluate(by, { projectId: by.projectId, runId, evaluator, score, notes: '' });
const token = (subject: string): Principal['token'] => ({ issuer, subject, jti: null, audience: [] });

describe('who may judge a run', () => {
  const agent: Principal = {
    ...operatorOf(projectId),
    kind: 'agent',
    id: 'agt_a',
    agentId: 'agt_a',
    personId: 'psn_owner',
  };
  const own: readonly (readonly [string, Partial<Principal>])[] = [
    ['its agent with a key', { ...agent, keyId: 'k' }],
    ['its agent with an access token', { ...agent, method: 'jwt', token: token('agent-subject') }],
    ['its agent with a client certificate', { ...agent, method: 'certificate' }],
    ['its agent with a key bound to the run', { ...agent, keyId: 'k', runId: 'run_ended' }],
    ['its agent without a person who answers for it', { ...agent, personId: null }],
    ['the person who answers for it, in a session', { id: 'psn_owner', personId: 'psn_owner', method: 'session' }],
    ['that person with a key', { id: 'psn_owner', personId: 'psn_owner', keyId: 'k' }],
    [
      'that person with a login of a command line',
      { id: 'psn_owner', personId: 'psn_owner', keyId: 'k', loginId: 'lgn_1' },
    ],
    ['a service with a key of that person', { kind: 'service', id: 'psn_owner', personId: 'psn_owner', keyId: 'k' }],
    [
      'that person with a token of the issuer where they sign in',
      { kind: 'service', id: `${issuer}|owner-subject`, method: 'jwt', token: token('owner-subject') },
    ],
  ];

  it.each(own)('not %s', async (_who, known) => {
    const by = { ...operatorOf(projectId), ...known };
    const denied = { code: 'policy_denied', members: { rule: 'leaderboard.own_run' } };
    await expect(rate(by)).rejects.toMatchObject(denied);
    await expect(evaluate(by)).rejects.toMatchObject(denied);
    const { rows } = await db.pool.query('SELECT FROM run_totals');
    expect(rows).toEqual([]);
  });

  const strangers: readonly (readonly [string, Partial<Principal>])[] = [
    ['another agent', { ...agent, id: 'agt_b', agentId: 'agt_b', personId: 'psn_other' }],
    ["another agent's key that is bound to its own run", { ...agent, id: 'agt_b', agentId: 'agt_b', runId: 'run_x' }],
    ['a key of the agent that is bound to another run', { ...agent, runId: 'run_ended2' }],
    ['an operator of another project', operatorOf('prj_b')],
  ];

  it.each(strangers)('the run does not exist for %s', async (_who, known) => {
    const by = { ...operatorOf(projectId), ...known };
    for (const judge of [rate, evaluate]) await expect(judge(by)).rejects.toMatchObject({ code: 'not_found' });
    const page = { pageSize: 0, cursor: null };
    const run = { projectId: by.projectId, runId: 'run_ended' };
    await expect(opinions.ratings(by, run, page)).rejects.toMatchObject({ code: 'not_found' });
    await expect(opinions.evaluations(by, run, page)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('another person, a shared key, and a token of somebody else may; anybody where nobody answers for the agent', async () => {
    const others: readonly Principal[] = [
      reviewer,
      { ...operatorOf(projectId), id: 'static:ADMIN_API_KEY', method: 'static_key' },
      { ...operatorOf(projectId), kind: 'service', id: `${issuer}|else`, method: 'jwt', token: token('else') },
      {
        ...operatorOf(projectId),
        kind: 'service',
        id: 'x|owner-subject',
        token: { ...token('owner-subject'), issuer: 'x' } as never,
      },
    ];
    for (const by of others) expect(await rate(by)).toMatchObject({ ratedBy: by.id, rating: 4 });
    const owner = { ...operatorOf(projectId), id: 'psn_owner', personId: 'psn_owner' };
    expect(await rate(owner, 'run_c')).toMatchObject({ runId: 'run_c' });
  });

  it('not whoever made the agent where nobody answers for it, however they come', async () => {
    const session = { ...operatorOf(projectId), id: 'psn_owner', personId: 'psn_owner' };
    const byToken = { ...operatorOf(projectId), id: `${issuer}|owner-subject`, token: token('owner-subject') };
    const key = { ...operatorOf(projectId), id: 'key_f', keyId: 'key_f' };
    for (const [by, runId] of [
      [session, 'run_d'],
      [byToken, 'run_d'],
      [session, 'run_e'],
      [byToken, 'run_e'],
      [key, 'run_f'],
    ] as const) {
      await expect(rate(by, runId), runId).rejects.toMatchObject({ code: 'policy_denied' });
      expect(await rate(reviewer, runId)).toMatchObject({ ratedBy: 'psn_other' });
    }
  });

  it('nobody before it has ended: a conflict says so', async () => {
    await expect(rate(reviewer, 'run_runs')).rejects.toMatchObject({ code: 'conflict' });
    await expect(evaluate(reviewer, 'run_runs')).rejects.toMatchObject({ code: 'conflict' });
    await expect(rate(reviewer, 'run_nowhere')).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('an opinion', () => {
  const page = { pageSize: 2, cursor: null };
  const run = { projectId, runId: 'run_ended2' };

  it('is one a principal, the last holds, and marks the run in its transaction', async () => {
    await rate(reviewer, run.runId, 1);
    await db.pool.query('UPDATE run_totals SET recount = false');
    await rate(reviewer, run.runId, 5);
    const { rows } = await db.pool.query('SELECT run_id FROM run_totals WHERE recount');
    expect(rows).toEqual([{ run_id: run.runId }]);
    const by = ['b', 'c', 'a'].map((id) => ({ ...operatorOf(projectId), id }));
    for (const one of by) await rate(one, run.runId, 3);
    const first = await opinions.ratings(reviewer, run, page);
    expect(first.items.map(({ ratedBy, rating }) => [ratedBy, rating])).toEqual([
      ['a', 3],
      ['b', 3],
    ]);
    const rest = await opinions.ratings(reviewer, run, { pageSize: 5, cursor: first.nextCursor });
    expect(rest.items.map(({ ratedBy, rating }) => [ratedBy, rating])).toEqual([
      ['c', 3],
      ['psn_other', 5],
    ]);
    expect(rest.nextCursor).toBeNull();
  });

  it('is one a person, by a session and by a token of the issuer where they sign in', async () => {
    const byToken: Principal = {
      ...operatorOf(projectId),
      id: `${issuer}|other-subject`,
      token: token('other-subject'),
    };
    await rate(reviewer, 'run_c', 1);
    expect(await rate(byToken, 'run_c', 5)).toMatchObject({ ratedBy: 'psn_other', rating: 5 });
    const { items } = await opinions.ratings(reviewer, { projectId, runId: 'run_c' }, { pageSize: 9, cursor: null });
    expect(items.filter(({ ratedBy }) => /other/.test(ratedBy))).toHaveLength(1);
    await evaluate(byToken, 'run_c', 'judge', 1);
    expect(await evaluate(reviewer, 'run_c', 'judge', 0)).toMatchObject({ recordedBy: 'psn_other', scorePpm: 0 });
  });

  it('of an evaluator is of who recorded it first, in millionths, and there are so many a run', async () => {
    expect(await evaluate(reviewer, run.runId, 'judge', 1 / 3)).toMatchObject({ scorePpm: 333_333 });
    expect(await evaluate(reviewer, run.runId, 'judge', 1)).toMatchObject({ scorePpm: 1_000_000 });
    const another = { ...operatorOf(projectId), id: 'svc' };
    await expect(evaluate(another, run.runId, 'judge', 0)).rejects.toMatchObject({ code: 'conflict' });
    for (let n = 1; n < evaluationsPerRunMax; n++) await evaluate(another, run.runId, `judge ${n}`, 0);
    await expect(evaluate(another, run.runId, 'one too many', 0)).rejects.toMatchObject({ code: 'conflict' });
    await evaluate(another, run.runId, 'judge 1', 0.25);
    const { items } = await opinions.evaluations(reviewer, run, { pageSize: 500, cursor: null });
    expect(items).toHaveLength(evaluationsPerRunMax);
    expect(items.find(({ evaluator }) => evaluator === 'judge 1')).toMatchObject({
      scorePpm: 250_000,
      recordedBy: 'svc',
    });
  });

  it('is refused where it is none', async () => {
    for (const rating of [0, 6, 2.5, NaN])
      await expect(rate(reviewer, run.runId, rating)).rejects.toMatchObject({ members: { param: 'rating' } });
    for (const score of [-0.1, 1.1, NaN, Infinity])
      await expect(evaluate(reviewer, run.runId, 'judge', score)).rejects.toMatchObject({
        members: { param: 'score' },
      });
    for (const comment of ['\u001b[2Jgone', 'two\nlines', 'x'.repeat(501), '\u202eevil', '\0'])
      await expect(opinions.rate(reviewer, { ...run, rating: 3, comment })).rejects.toMatchObject({
        members: { param: 'comment' },
      });
  });
});
