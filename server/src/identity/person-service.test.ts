import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { operatorOf, TestIdentity } from '../../../test/support/identity.ts';
import type { Principal } from './model.ts';
import type { PersonRecord } from './records.ts';
import { TeamService } from './team-service.ts';

let db: TestDatabase;
let identity: TestIdentity;
let teams: TeamService;
let projectId: string;
let admin: Principal;

beforeAll(async () => {
  db = await createTestDatabase();
  identity = new TestIdentity(db, () => []);
  await identity.feed.start();
  teams = new TeamService(db.pool);
  projectId = (await identity.projects.create(operatorOf('prj_none'), 'req_1', { name: 'one' })).result.id;
  admin = operatorOf(projectId);
});
afterAll(async () => {
  await identity?.feed.stop();
  await db?.drop();
});

let count = 0;
const newPerson = async (): Promise<PersonRecord> =>
  (await identity.people.create(admin, 'req_1', { projectId, email: `p${++count}@example.com`, name: `P ${count}` }))
    .result;
const newTeam = async (name = `team ${++count}`) => (await teams.create(admin, 'req_1', { projectId, name })).result;

/** A key of the person, an operator's unless said otherwise, and who holds it now. */
async function keyOf(personId: string, scopes: readonly string[], kind: 'operator' | 'service' = 'operator') {
  const { result } = await identity.keys.create(admin, 'req_1', {
    projectId,
    kind,
    name: 'k',
    personId,
    scopes,
  });
  return async () => {
    await identity.feed.refresh();
    const found = identity.index.holderOfKey(result.key.id, '127.0.0.1');
    if (typeof found === 'string') throw new Error(found);
    return found;
  };
}

async function actionsOf(target: string): Promise<string[]> {
  const { rows } = await db.pool.query<{ action: string }>(
    'SELECT action FROM audit_entries WHERE target = $1 ORDER BY id',
    [target],
  );
  return rows.map(({ action }) => action);
}

describe('roles', () => {
  it('leave keys as they were made until somebody says them, bound them then, and may be unsaid', async () => {
    const { id } = await newPerson();
    const holder = await keyOf(id, ['admin:read', 'models:invoke']);
    expect((await holder()).scopes).toEqual(new Set(['admin:read', 'models:invoke']));
    await identity.people.update(admin, 'req_2', { projectId, id, roles: ['developer'] });
    expect((await holder()).scopes).toEqual(
      new Set(['models:invoke', 'policy:read', 'runs:read', 'tasks:read', 'telemetry:read', 'tools:read']),
    );
    await identity.people.update(admin, 'req_2', { projectId, id, roles: [] });
    expect((await holder()).scopes).toEqual(new Set());
    await identity.people.update(admin, 'req_2', { projectId, id, roles: null });
    expect((await holder()).scopes).toEqual(new Set(['admin:read', 'models:invoke']));
  });

  it('bound what no agent may hold in the keys of services that a person answers for, and nothing else', async () => {
    const { id } = await newPerson();
    const holder = await keyOf(id, ['keys:write', 'models:invoke', 'webhooks:write'], 'service');
    const root = await keyOf(id, ['admin'], 'service');
    const say = (roles: ('operator' | 'auditor' | 'developer')[] | null) =>
      identity.people.update(admin, 'req_2', { projectId, id, roles });
    expect((await holder()).scopes).toEqual(new Set(['keys:write', 'models:invoke', 'webhooks:write']));
    await say(['operator']);
    expect((await holder()).scopes).toEqual(new Set(['keys:write', 'models:invoke', 'webhooks:write']));
    await say(['developer']);
    expect((await holder()).scopes).toEqual(new Set(['models:invoke', 'webhooks:write']));
    expect((await root()).scopes).toEqual(
      new Set(['models:invoke', 'policy:read', 'runs:write', 'tasks:read', 'telemetry:read', 'tools:call']),
    );
    await say([]);
    expect((await holder()).scopes).toEqual(new Set(['models:invoke', 'webhooks:write']));
    expect((await root()).scopes).toEqual(new Set());
    await say(null);
    expect((await root()).scopes).toEqual(new Set(['admin']));
  });

  it("do not bound the agents' keys that a person answers for", async () => {
    const { id: personId } = await newPerson();
    await identity.people.update(admin, 'req_2', { projectId, id: personId, roles: ['auditor'] });
    const nobody = { issuer: null, subject: null, description: '' };
    const { result: agent } = await identity.agents.create(admin, 'req_3', {
      projectId,
      name: 'a',
      personId,
      ...nobody,
    });
    const { result } = await identity.keys.create(admin, 'req_3', {
      projectId,
      kind: 'agent',
      name: 'k',
      agentId: agent.id,
      scopes: ['models:invoke'],
    });
    await identity.feed.refresh();
    expect(identity.index.holderOfKey(result.key.id, '127.0.0.1')).toMatchObject({
      scopes: new Set(['models:invoke']),
    });
  });

  it('are given by nobody who lacks what they give; what somebody has already is not given', async () => {
    const { id } = await newPerson();
    const shared: Principal = { ...admin, method: 'static_key' };
    const lesser: Principal = { ...admin, scopes: new Set(['admin:read', 'policy:write']) };
    const give = (by: Principal, roles: ('admin' | 'approver' | 'auditor')[]) =>
      identity.people.update(by, 'req_4', { projectId, id, roles });
    await expect(give(shared, ['approver'])).rejects.toMatchObject({
      code: 'insufficient_scope',
      message: 'You cannot give a person the scope approvals:decide, which yours lacks.',
    });
    await expect(give(lesser, ['admin'])).rejects.toMatchObject({ code: 'insufficient_scope' });
    await expect(give({ ...admin, models: ['sim'] }, ['auditor'])).rejects.toMatchObject({ code: 'policy_denied' });
    await give(admin, ['approver']);
    expect((await give(shared, ['approver', 'auditor'])).result.roles).toEqual(['approver', 'auditor']);
  });

  it('are unsaid by nobody who lacks what the keys of the person then get back', async () => {
    const { id } = await newPerson();
    await keyOf(id, ['approvals:decide']);
    const shared: Principal = { ...admin, method: 'static_key' };
    await identity.people.update(admin, 'req_1', { projectId, id, roles: ['developer'] });
    const unset = (by: Principal) => identity.people.update(by, 'req_2', { projectId, id, roles: null });
    await expect(unset(shared)).rejects.toMatchObject({
      code: 'insufficient_scope',
      message: 'You cannot give a person the scope approvals:decide, which yours lacks.',
    });
    expect((await unset(admin)).result.roles).toBeNull();
    expect((await unset(shared)).result.roles).toBeNull();
  });

  it('are given and unsaid, and people are enabled, by no credential that is limited, since that would outlast it', async () => {
    const { id } = await newPerson();
    const key: Principal = { ...admin, keyId: 'key1' };
    const limits: Partial<Principal>[] = [
      { expiresAt: Date.now() + 3_600_000 },
      { cidrs: ['10.0.0.0/8'] },
      { requiresSignature: true },
      { binding: { by: 'x5t#S256', value: 'A'.repeat(43) } },
    ];
    await identity.people.update(key, 'req_1', { projectId, id, roles: ['developer', 'auditor'] });
    for (const limit of limits) {
      const by = { ...key, ...limit };
      const say = (roles: ('developer' | 'operator')[] | null) =>
        identity.people.update(by, 'req_2', { projectId, id, roles });
      await expect(say(['operator'])).rejects.toMatchObject({
        code: 'policy_denied',
        members: { rule: 'key.limited' },
      });
      await expect(say(null)).rejects.toMatchObject({ code: 'policy_denied' });
      await identity.people.disable(by, 'req_3', { projectId, id });
      await expect(identity.people.enable(by, 'req_3', { projectId, id })).rejects.toMatchObject({
        code: 'policy_denied',
      });
      await identity.people.enable(key, 'req_3', { projectId, id });
      // What takes away is open to all who hold the scope.
      expect((await say(['developer'])).result.roles).toEqual(['developer']);
      await identity.people.update(by, 'req_4', { projectId, id, name: 'Renamed' });
    }
  });

  it('are the same in whatever order and however often they are said, which leaves no entry', async () => {
    const { id } = await newPerson();
    await identity.people.update(admin, 'req_1', { projectId, id, roles: ['auditor', 'admin', 'auditor'] });
    const { result } = await identity.people.update(admin, 'req_2', { projectId, id, roles: ['admin', 'auditor'] });
    expect(result.roles).toEqual(['admin', 'auditor']);
    expect(await actionsOf(id)).toEqual(['person.created', 'person.updated']);
  });
});

describe('teams', () => {
  it('are those of whoever calls, and of who answers for the agent that does', async () => {
    const { id } = await newPerson();
    const [one, other] = [await newTeam(), await newTeam()];
    const holder = await keyOf(id, ['models:invoke']);
    expect((await holder()).teams).toEqual([]);
    await identity.people.update(admin, 'req_2', { projectId, id, teams: [other.id, one.id, one.id] });
    expect((await holder()).teams).toEqual([one.id, other.id].toSorted());
    await teams.delete(admin, 'req_3', { projectId, id: one.id });
    expect((await holder()).teams).toEqual([other.id]);
  });

  it('must be there, in the same project, and not deleted', async () => {
    const { id } = await newPerson();
    const deleted = await newTeam();
    await teams.delete(admin, 'req_1', { projectId, id: deleted.id });
    const elsewhere = (await identity.projects.create(admin, 'req_1', { name: `p${++count}` })).result.id;
    const foreign = (await teams.create(admin, 'req_1', { projectId: elsewhere, name: 'x' })).result;
    for (const team of [deleted.id, foreign.id, 'team_none']) {
      await expect(identity.people.update(admin, 'req_2', { projectId, id, teams: [team] })).rejects.toMatchObject({
        code: 'not_found',
      });
    }
    await expect(
      identity.people.update(admin, 'req_2', {
        projectId,
        id,
        teams: Array.from({ length: 101 }, (_, n) => `team_${n}`),
      }),
    ).rejects.toMatchObject({ code: 'invalid_argument', members: { param: 'team_ids' } });
  });

  it('have names of their own, which are free again when a team is deleted', async () => {
    const team = await newTeam('Payments');
    await expect(newTeam('Payments')).rejects.toMatchObject({ code: 'conflict' });
    await expect(newTeam('team_x')).rejects.toMatchObject({ code: 'invalid_argument' });
    const other = await newTeam('Search');
    await expect(teams.rename(admin, 'req_1', { projectId, id: other.id, name: 'Payments' })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect((await teams.rename(admin, 'req_1', { projectId, id: other.id, name: 'Find' })).result.name).toBe('Find');
    await teams.rename(admin, 'req_1', { projectId, id: other.id, name: 'Find' });
    expect(await actionsOf(other.id)).toEqual(['team.created', 'team.renamed']);
    await teams.delete(admin, 'req_1', { projectId, id: team.id });
    await expect(teams.delete(admin, 'req_1', { projectId, id: team.id })).rejects.toMatchObject({ code: 'not_found' });
    expect((await newTeam('Payments')).id).not.toBe(team.id);
    const { items } = await teams.list(projectId, { pageSize: 500, cursor: null });
    expect(items.map(({ name }) => name)).toEqual(expect.arrayContaining(['Payments', 'Find']));
    expect(items.some(({ id }) => id === team.id)).toBe(false);
  });
});

it('a person who is disabled and enabled again has the keys that they had; each is said once', async () => {
  const { id } = await newPerson();
  const holder = await keyOf(id, ['models:invoke']);
  await identity.people.disable(admin, 'req_1', { projectId, id });
  await identity.people.disable(admin, 'req_2', { projectId, id });
  await expect(holder()).rejects.toThrow('person_disabled');
  expect(identity.index.personInSession(id)).toBe('person_disabled');
  await identity.people.enable(admin, 'req_3', { projectId, id });
  await identity.people.enable(admin, 'req_4', { projectId, id });
  expect((await holder()).personId).toBe(id);
  expect(identity.index.personInSession(id)).toBe('no_role');
  expect(await actionsOf(id)).toEqual(['person.created', 'person.disabled', 'person.enabled']);
  await expect(identity.people.enable(admin, 'req_5', { projectId: 'prj_other', id })).rejects.toMatchObject({
    code: 'not_found',
  });
});
