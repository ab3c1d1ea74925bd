import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { openIdentity, operatorOf, type TestIdentity } from '../../../test/support/identity.ts';
import type { NewAgent } from './agent-service.ts';
import type { Principal } from './model.ts';

let db: TestDatabase;
let identity: TestIdentity;
let by: Principal;
let elsewhere: Principal;

beforeAll(async () => {
  db = await createTestDatabase();
  identity = await openIdentity(db);
  ({ by } = await identity.project('agents'));
  ({ by: elsewhere } = await identity.project('elsewhere'));
});
afterAll(async () => {
  await identity.close();
  await db.drop();
});

async function createAgent(more: Partial<NewAgent>, caller = by) {
  const nothing = { description: '', personId: null, issuer: null, subject: null };
  const request = { ...nothing, projectId: caller.projectId, name: 'agent', ...more };
  return (await identity.agents.create(caller, 'req_test', request)).result;
}

async function createPerson(email: string, caller = by) {
  const request = { projectId: caller.projectId, email, name: 'Somebody' };
  return (await identity.people.create(caller, 'req_test', request)).result;
}

describe('an agent', () => {
  it('is registered with who answers for it and the subject that it is to an issuer', async () => {
    const person = await createPerson('answers@example.com');
    const subject = { issuer: 'https://issuer.example/', subject: 'client-1' };
    const agent = await createAgent({
      name: '  coder  ',
      description: 'Writes code.',
      personId: person.id,
      ...subject,
    });
    expect(agent).toMatchObject({ name: 'coder', state: 'active', personId: person.id, ...subject, createdBy: by.id });
    expect(await identity.agents.get(by.projectId, agent.id)).toEqual(agent);
    expect(await identity.audit('agent.created')).toMatchObject([
      {
        actor_id: by.id,
        target: agent.id,
        project_id: by.projectId,
        payload: { name: 'coder', person_id: person.id, ...subject },
      },
    ]);
  });

  it('is given to the subject of an issuer by callers without limits alone', async () => {
    const subject = { issuer: 'https://issuer.example/', subject: 'client-limited' };
    const limits: readonly Partial<Principal>[] = [
      { keyId: 'key000000001', expiresAt: Date.now() + 3_600_000 },
      { cidrs: ['10.0.0.0/8'] },
      { requiresSignature: true },
      { binding: { by: 'spiffe_id', value: 'spiffe://example.org/agent/x' } },
    ];
    for (const limit of limits) {
      await expect(createAgent({ name: 'limited', ...subject }, { ...by, ...limit })).rejects.toMatchObject({
        code: 'policy_denied',
        message: expect.stringContaining('tokens of its issuer'),
      });
    }
    await createAgent({ name: 'without a subject' }, { ...by, cidrs: ['10.0.0.0/8'] });
  });

  it('has a name and a subject that no other has', async () => {
    const subject = { issuer: 'https://issuer.example/', subject: 'client-2' };
    await createAgent({ name: 'unique', ...subject });
    await expect(createAgent({ name: 'unique' })).rejects.toMatchObject({
      code: 'conflict',
      message: 'There is an agent "unique" in this project already.',
    });
    await expect(createAgent({ name: 'other', ...subject })).rejects.toMatchObject({ code: 'conflict' });
    await expect(createAgent({ name: 'unique' }, elsewhere)).resolves.toMatchObject({ name: 'unique' });
  });

  it('is not made from half an identity, or for a person who is not there or not active', async () => {
    await expect(createAgent({ name: 'half', issuer: 'https://issuer.example/' })).rejects.toMatchObject({
      code: 'invalid_argument',
      message: 'issuer and subject go together: give both or neither.',
    });
    await expect(createAgent({ name: 'blank', issuer: 'https://i.example/', subject: ' x' })).rejects.toMatchObject({
      code: 'invalid_argument',
    });
    await expect(createAgent({ name: 'x', personId: 'psn_none' })).rejects.toMatchObject({ code: 'not_found' });
    const stranger = await createPerson('stranger@example.com', elsewhere);
    await expect(createAgent({ name: 'x', personId: stranger.id })).rejects.toMatchObject({ code: 'not_found' });
    await expect(createAgent({ name: 'x', projectId: 'prj_none' })).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is disabled once, and another project can neither see nor disable it', async () => {
    const agent = await createAgent({ name: 'to disable' });
    const disable = (caller: Principal) =>
      identity.agents.disable(caller, 'req_test', { projectId: caller.projectId, id: agent.id });
    await expect(disable(elsewhere)).rejects.toMatchObject({ code: 'not_found' });
    await expect(identity.agents.get(elsewhere.projectId, agent.id)).rejects.toMatchObject({ code: 'not_found' });
    expect((await disable(by)).result.state).toBe('disabled');
    expect((await disable(by)).result.state).toBe('disabled');
    expect(await identity.audit('agent.disabled')).toMatchObject([
      { target: agent.id, payload: { name: 'to disable' } },
    ]);
  });

  it('is listed with those of its project, newest first', async () => {
    const { by: owner } = await identity.project('agent list');
    const made = [];
    for (const name of ['a', 'b', 'c']) made.unshift((await createAgent({ name }, owner)).id);
    const first = await identity.agents.list(owner.projectId, { pageSize: 2, cursor: null });
    const second = await identity.agents.list(owner.projectId, { pageSize: 2, cursor: first.nextCursor });
    expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(made);
    expect(second.nextCursor).toBeNull();
  });
});

describe('a person', () => {
  it('has an address that nobody else in the project has, in lower case', async () => {
    const person = await createPerson(' Ada@Example.COM ');
    expect(person).toMatchObject({ email: 'ada@example.com', state: 'active' });
    await expect(createPerson('ADA@example.com')).rejects.toMatchObject({ code: 'conflict' });
    await expect(createPerson('ada@example.com', elsewhere)).resolves.toMatchObject({ email: 'ada@example.com' });
    for (const email of ['ada', '@', 'a b@example.com', `${'a'.repeat(250)}@x.example`]) {
      await expect(createPerson(email)).rejects.toMatchObject({ code: 'invalid_argument' });
    }
  });

  it('who is disabled takes the keys of their agents and their own along, at once', async () => {
    const person = await createPerson('leaver@example.com');
    const agent = await createAgent({ name: "leaver's agent", personId: person.id });
    const common = { projectId: by.projectId, name: 'k' };
    const { result: agentKey } = await identity.keys.create(by, 'req_test', {
      ...common,
      kind: 'agent',
      agentId: agent.id,
    });
    const { result: ownKey } = await identity.keys.create(by, 'req_test', {
      ...common,
      kind: 'operator',
      personId: person.id,
    });
    await identity.feed.refresh();
    const principals = [await identity.bearer(agentKey.text), await identity.bearer(ownKey.text)];
    expect(principals).toMatchObject([
      { kind: 'agent', id: agent.id, personId: person.id },
      { kind: 'operator', id: person.id, name: 'Somebody', personId: person.id },
    ]);
    expect(principals.map((principal) => identity.index.whyEnded(principal))).toEqual([null, null]);

    const { version } = await identity.people.disable(by, 'req_test', { projectId: by.projectId, id: person.id });
    await identity.feed.reach(version, 5000);
    expect(principals.map((principal) => identity.index.whyEnded(principal))).toEqual([
      'person_disabled',
      'person_disabled',
    ]);
    await expect(identity.bearer(agentKey.text)).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(identity.bearer(ownKey.text)).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(createAgent({ name: 'late', personId: person.id })).rejects.toMatchObject({ code: 'conflict' });
    const listed = await identity.people.list(by.projectId, { pageSize: 0, cursor: null });
    expect(listed.items.find(({ id }) => id === person.id)?.state).toBe('disabled');
  });

  it('of another project is not found', async () => {
    const person = await createPerson('mine@example.com');
    const request = { projectId: elsewhere.projectId, id: person.id };
    await expect(identity.people.disable(elsewhere, 'req_test', request)).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('a project', () => {
  it('has a name that no other has', async () => {
    await identity.project('named');
    await expect(identity.project(' named ')).rejects.toMatchObject({
      code: 'conflict',
      message: 'There is a project "named" already.',
    });
    await expect(identity.project('')).rejects.toMatchObject({ code: 'invalid_argument' });
  });

  it('is listed newest first, and found by its name', async () => {
    const { projectId } = await identity.project('newest');
    await identity.feed.refresh();
    const page = await identity.projects.list({ pageSize: 1, cursor: null });
    expect(page.items).toMatchObject([{ id: projectId, name: 'newest' }]);
    expect(page.nextCursor).toBe(projectId);
    expect(identity.index.projectByName('newest')?.id).toBe(projectId);
    expect(identity.index.projectByName('no such')).toBeNull();
  });
});

it('a change that fails leaves nothing: no row, no entry, no version', async () => {
  const state = async () =>
    (
      await db.pool.query(
        'SELECT (SELECT count(*) FROM agents) AS agents, (SELECT count(*) FROM audit_entries) AS entries, version FROM control_version',
      )
    ).rows;
  const before = await state();
  await expect(createAgent({ name: 'unique' })).rejects.toMatchObject({ code: 'conflict' });
  await expect(createAgent({ name: 'new' }, operatorOf('prj_none'))).rejects.toMatchObject({ code: 'not_found' });
  expect(await state()).toEqual(before);
});
