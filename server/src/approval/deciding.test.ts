import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testBounds } from '../../../test/support/database.ts';
import { PortcullisError } from '../base/errors.ts';
import type { Principal } from '../identity/model.ts';
import { createPool } from '../pg/pool.ts';
import { outcomesCounted } from './counted.ts';
import { isObject } from './editors.ts';
import type { Approval } from './model.ts';
import type { Editors } from './outcomes.ts';
import { decisionOf, makeWorld, principal, requestOf, type World } from './testing/world.ts';
import { useApproval } from './use.ts';
import { readWhat } from './what.ts';

let world: World;
let ada: Principal;
let bo: Principal;
let cy: Principal;

beforeAll(async () => {
  world = await makeWorld();
  ada = await world.person('ada', ['approver']);
  bo = await world.person('bo', ['approver']);
  cy = await world.person('cy', ['admin']);
});
afterAll(() => world.db.drop());

/** Keeps what somebody edited. */
const asGiven: Editors = { tool_call: async (_db, _approval, edited) => edited };
const code = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof PortcullisError ? (error.members.rule ?? error.code) : String(error)),
  );
const eventsOf = async (id: string): Promise<string[]> => {
  const { rows } = await world.pool.query<{ type: string }>(
    'SELECT type FROM outbox_events WHERE key = $1 ORDER BY id',
    [id],
  );
  return rows.map(({ type }) => type);
};

describe('a thousand decisions at once, in two processes', () => {
  test('come to one outcome, one continuation and 999 conflicts', async () => {
    // Whoever waits for a connection or a lock waits as long as it takes.
    const patient = { ...testBounds, connectMs: 120_000, lockMs: 120_000, statementMs: 120_000 };
    const pools = [1, 2].map(() => createPool({ ...patient, connectionString: world.db.appUrl }));
    const continued: Approval[] = [];
    const parts = {
      continuations: {
        tool_call: async (_tx: unknown, _version: bigint, approval: Approval) => {
          continued.push(approval);
        },
      },
      editors: asGiven,
    };
    const processes = pools.map((pool) => world.service(parts, pool));
    const { id } = await world.asked();
    const before = outcomes();
    const people = [ada, bo, cy];
    const mixed = [
      { action: 'approve' },
      { action: 'reject', reason: 'No.' },
      { action: 'edit', editedArguments: { n: -1 } },
      { action: 'respond', text: 'Ask me tomorrow.' },
    ] as const;
    const answers = await Promise.allSettled(
      Array.from({ length: 1_000 }, (_, i) => {
        const by = people[i % people.length] ?? ada;
        return (processes[i % 2] ?? world.approvals).decide(decisionOf(by, id, mixed[i % mixed.length]));
      }),
    );
    const won = answers.filter(({ status }) => status === 'fulfilled');
    const codes = answers.flatMap((answer) =>
      answer.status === 'rejected' ? [PortcullisError.from(answer.reason).code] : [],
    );
    expect(won).toHaveLength(1);
    expect(codes.filter((one) => one === 'conflict')).toHaveLength(999);
    expect(continued).toHaveLength(1);
    expect((await world.found(id)).state).toBe(continued[0]?.state);
    expect(await world.audited(id)).toEqual(['approval.requested', 'approval.decided']);
    expect(outcomes() - before).toBe(1);
    await Promise.all(pools.map((pool) => pool.end()));
  }, 120_000);
});

function outcomes(): number {
  return [...outcomesCounted.values()].flatMap((states) => [...states.values()]).reduce((sum, count) => sum + count, 0);
}

describe('who decides', () => {
  test('is no agent and no shared credential, whatever its scopes', async () => {
    const { id } = await world.asked();
    const scopes = new Set(['admin', 'approvals:decide'] as const);
    const agent = { ...world.agent, scopes };
    const shared = principal({ id: 'static:ADMIN_API_KEY', method: 'static_key', scopes });
    const service = principal({ kind: 'service', id: 'svc', scopes, personId: ada.personId });
    expect(await code(world.approvals.decide(decisionOf(agent, id)))).toBe('scope:approvals:decide');
    expect(await code(world.approvals.decide(decisionOf(shared, id)))).toBe('scope:approvals:decide');
    expect(await code(world.approvals.decide(decisionOf(service, id)))).toBe('approval.person');
  });

  test('is nobody with a key that somebody else made for them', async () => {
    const { id } = await world.asked();
    const issued = { ...ada, method: 'api_key', keyId: 'no_such_key' } as const;
    expect(await code(world.approvals.decide(decisionOf(issued, id)))).toBe('approval.person');
  });

  test('is never who asked, nor who answers for the agent, now or then', async () => {
    const { id } = await world.asked({ requester: requestOf(ada).requester });
    expect(await code(world.approvals.decide(decisionOf(ada, id)))).toBe('approval.own');
    const dee = await world.person('dee', ['admin']);
    await world.pool.query(`UPDATE agents SET person_id = 'psn_dee' WHERE id = 'agt_a'`);
    const byAgent = await world.asked();
    await world.pool.query(`UPDATE agents SET person_id = 'psn_answers' WHERE id = 'agt_a'`);
    const later = await world.asked({ requester: { ...requestOf(world.agent).requester, personId: 'psn_dee' } });
    await world.pool.query(`UPDATE agents SET person_id = 'psn_dee' WHERE id = 'agt_a'`);
    expect(await code(world.approvals.decide(decisionOf(dee, byAgent.id)))).toBe('approval.own');
    await world.pool.query(`UPDATE agents SET person_id = 'psn_answers' WHERE id = 'agt_a'`);
    expect(await code(world.approvals.decide(decisionOf(dee, later.id)))).toBe('approval.own');
    const twin = await world.person('dee2', ['admin'], { email: 'DEE@example.com' });
    expect(await code(world.approvals.decide(decisionOf(twin, later.id)))).toBe('approval.own');
  });

  test('has a role for it, is in a group that may, and is not disabled', async () => {
    const { id } = await world.asked({ groups: ['team:payments', 'person:Eli@example.com'] });
    const auditor = await world.person('auditor', ['auditor', 'operator']);
    const nobodySaid = await world.person('unsaid', null);
    const inTeam = await world.person('fay', ['approver'], { teams: ['payments'] });
    const named = await world.person('eli', ['approver']);
    expect(await code(world.approvals.decide(decisionOf(auditor, id)))).toBe('approval.role');
    expect(await code(world.approvals.decide(decisionOf(nobodySaid, id)))).toBe('approval.role');
    expect(await code(world.approvals.decide(decisionOf(cy, id)))).toBe('approval.group');
    await world.pool.query(`UPDATE people SET state = 'disabled' WHERE id = 'psn_fay'`);
    expect(await code(world.approvals.decide(decisionOf(inTeam, id)))).toBe('approval.inactive');
    expect((await world.approvals.decide(decisionOf(named, id))).result).toMatchObject({
      state: 'approved',
      decidedBy: 'psn_eli',
      decidedVia: 'session',
    });
  });

  test('shows for high risk that they signed in just now, and a session where several decide', async () => {
    const high = await world.asked({ risk: 'high' });
    const two = await world.asked({ quorum: 2 });
    const byLink = { by: { link: { id: 'lnk', personId: 'psn_ada' } } } as const;
    expect(await code(world.approvals.decide(decisionOf(ada, high.id, byLink)))).toBe('approval.fresh');
    expect(await code(world.approvals.decide(decisionOf(ada, two.id, byLink)))).toBe('approval.session');
    await world.pool.query(
      `UPDATE sessions SET authenticated_at = now() - interval '1 hour' WHERE person_id = 'psn_ada'`,
    );
    expect(await code(world.approvals.decide(decisionOf(ada, high.id)))).toBe('approval.fresh');
    await world.pool.query(`UPDATE sessions SET authenticated_at = NULL WHERE person_id = 'psn_ada'`);
    expect(await code(world.approvals.decide(decisionOf(ada, high.id)))).toBe('approval.fresh');
    await world.pool.query(`UPDATE sessions SET authenticated_at = now() WHERE person_id = 'psn_ada'`);
    expect(await code(world.approvals.decide(decisionOf(ada, high.id)))).toBe('done');
  });
});

describe('a quorum', () => {
  test('is of different people: one who votes twice, or under two records of one address, is one', async () => {
    const { id } = await world.asked({ quorum: 2 });
    const twin = await world.person('ada_twin', ['approver'], { email: 'ADA@example.com' });
    expect((await world.approvals.decide(decisionOf(ada, id))).result.state).toBe('pending');
    expect(await code(world.approvals.decide(decisionOf(ada, id)))).toBe('conflict');
    expect((await world.approvals.decide(decisionOf(twin, id))).result.state).toBe('pending');
    expect((await world.approvals.decide(decisionOf(bo, id))).result.state).toBe('approved');
    expect(await world.audited(id)).toEqual([
      'approval.requested',
      'approval.voted',
      'approval.voted',
      'approval.decided',
    ]);
  });

  test('does not count who lost the right between the votes', async () => {
    const { id } = await world.asked({ quorum: 2 });
    const gil = await world.person('gil', ['approver']);
    await world.approvals.decide(decisionOf(gil, id));
    await world.pool.query(`UPDATE people SET roles = '{auditor}' WHERE id = 'psn_gil'`);
    expect((await world.approvals.decide(decisionOf(ada, id))).result.state).toBe('pending');
    expect((await world.approvals.decide(decisionOf(bo, id))).result.state).toBe('approved');
  });

  test('ends with one rejection, also of somebody who agreed before', async () => {
    const changed = await world.asked({ quorum: 2 });
    await world.approvals.decide(decisionOf(ada, changed.id));
    await world.approvals.decide(decisionOf(ada, changed.id, { action: 'reject', reason: 'On second thought.' }));
    expect(await world.found(changed.id)).toMatchObject({ state: 'rejected', reason: 'On second thought.' });
    const { id } = await world.asked({ quorum: 3 });
    await world.approvals.decide(decisionOf(ada, id));
    const { result } = await world.approvals.decide(decisionOf(bo, id, { action: 'reject', reason: 'Too dear.' }));
    expect(result).toMatchObject({ state: 'rejected', reason: 'Too dear.', decidedBy: 'psn_bo' });
  });

  test('counts nobody who agreed to what stood before an edit', async () => {
    const service = world.service({ editors: asGiven });
    const { id } = await world.asked({ quorum: 2 });
    await service.decide(decisionOf(ada, id));
    const edited = (await service.decide(decisionOf(bo, id, { action: 'edit', editedArguments: { n: 0 } }))).result;
    expect(edited.state).toBe('pending');
    expect(await code(service.decide(decisionOf(ada, id)))).toBe('conflict');
    const seenDigest = edited.editedDigest;
    expect((await service.decide(decisionOf(ada, id, { seenDigest }))).result.state).toBe('edited');
  });
});

describe('an edit', () => {
  const editors: Editors = {
    tool_call: async (_db, _approval, edited) => {
      if (isObject(edited) && edited['to'] === 'evil')
        throw new PortcullisError('policy_denied', 'Denied.', { rule: 'no-evil' });
      return edited;
    },
  };

  test('changes the arguments and nothing else, and what is edited is what runs', async () => {
    const service = world.service({ editors });
    const asked = await world.asked({ arguments: { to: 'all', text: 'Hi' } });
    const edit = { action: 'edit', editedArguments: { to: 'ada', text: 'Hi' } } as const;
    const { result } = await service.decide(decisionOf(ada, asked.id, edit));
    const what = readWhat(result.editedWhat ?? '');
    expect(result.state).toBe('edited');
    expect(what).toEqual({ ...readWhat(asked.what), arguments: { to: 'ada', text: 'Hi' } });
    expect(result.editedDigest).toEqual(
      createHash('sha256')
        .update(result.editedWhat ?? '')
        .digest(),
    );
    expect(await useApproval(world.pool, { id: asked.id, digest: asked.digest })).toBe(false);
    const uses = Array.from({ length: 20 }, () =>
      useApproval(world.pool, { id: asked.id, digest: result.editedDigest ?? Buffer.alloc(32) }),
    );
    expect((await Promise.all(uses)).filter(Boolean)).toHaveLength(1);
  });

  test('is judged anew, and a refusal decides nothing', async () => {
    const service = world.service({ editors });
    const { id } = await world.asked();
    const edit = { action: 'edit', editedArguments: { to: 'evil' } } as const;
    expect(await code(service.decide(decisionOf(ada, id, edit)))).toBe('no-evil');
    expect(await code(world.approvals.decide(decisionOf(ada, id, edit)))).toBe('conflict');
    expect((await world.found(id)).state).toBe('pending');
  });
});

describe('the answer of a person', () => {
  test('is told to who asked: the reason of a rejection, and the text of a response', async () => {
    const rejected = await world.asked();
    await world.approvals.decide(decisionOf(ada, rejected.id, { action: 'reject', reason: 'Not\u202e today.' }));
    expect(await world.found(rejected.id)).toMatchObject({
      state: 'rejected',
      reason: 'Not\uFFFD today.',
      response: null,
    });
    const answered = await world.asked();
    await world.approvals.decide(decisionOf(ada, answered.id, { action: 'respond', text: 'Use the draft.' }));
    expect(await world.found(answered.id)).toMatchObject({ state: 'rejected', response: 'Use the draft.' });
    expect(await useApproval(world.pool, answered)).toBe(false);
  });

  test('is told by an event where an endpoint wants it', async () => {
    await world.pool.query(
      `INSERT INTO webhook_endpoints (id, project_id, url, state, created_by)
       VALUES ('whe_t', 'prj_a', 'https://example.com/', 'active', 'test')`,
    );
    const { id } = await world.asked();
    await world.approvals.decide(decisionOf(ada, id));
    expect(await eventsOf(id)).toEqual(['approval.requested', 'approval.decided']);
  });
});

describe('a continuation', () => {
  test('that fails undoes the decision', async () => {
    const service = world.service({
      continuations: {
        tool_call: async () => {
          throw new PortcullisError('conflict', 'The policy changed meanwhile.');
        },
      },
    });
    const { id } = await world.asked();
    expect(await code(service.decide(decisionOf(ada, id)))).toBe('conflict');
    expect((await world.found(id)).state).toBe('pending');
    expect(await world.audited(id)).toEqual(['approval.requested']);
  });
});
