import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { openIdentity, operatorOf, type TestIdentity } from '../../../test/support/identity.ts';
import { apiKeysPerProjectMax, keyLifetimeDefaultS } from '../base/limits.ts';
import type { NewKey } from './key-input.ts';
import type { Principal } from './model.ts';

let db: TestDatabase;
let identity: TestIdentity;
let by: Principal;
let agentId: string;

beforeAll(async () => {
  db = await createTestDatabase();
  identity = await openIdentity(db);
  ({ by } = await identity.project('keys'));
  ({ agentId } = await identity.agentKey(by, 'agent of the tests'));
});
// The database's clock goes on.
beforeEach(() => identity.clock.catchUp());
afterAll(async () => {
  await identity.close();
  await db.drop();
});

function newKey(more: Partial<NewKey> = {}): NewKey {
  return { projectId: by.projectId, kind: 'agent', agentId, name: 'a key', ...more };
}

async function create(more: Partial<NewKey> = {}, caller = by) {
  return (await identity.keys.create(caller, 'req_test', newKey(more))).result;
}

describe('a new key', () => {
  it('has no scopes and 90 days unless more is asked for', async () => {
    const { key, text } = await create();
    expect(key).toMatchObject({ scopes: [], models: null, cidrs: null, runId: null, createdBy: by.id, kind: 'agent' });
    expect((key.expiresAt ?? 0) - key.createdAt).toBe(keyLifetimeDefaultS * 1000);
    expect(text).toContain(`pcl_${key.id}_`);
  });

  it('has what was asked for', async () => {
    const asked = { models: ['claude-*'], cidrs: ['10.0.0.0/8'] };
    const { key } = await create({ ...asked, scopes: ['runs:write', 'models:invoke', 'runs:write'], lifetimeS: null });
    expect(key).toMatchObject({ ...asked, scopes: ['models:invoke', 'runs:write'], expiresAt: null });
  });

  it('is stored without its secret, and audited without it', async () => {
    const { key, text } = await create({ name: 'canary' });
    const { rows } = await db.pool.query('SELECT to_jsonb(api_keys) AS row FROM api_keys WHERE id = $1', [key.id]);
    const entries = await identity.audit('key.created');
    const entry = entries.find(({ target }) => target === key.id);
    expect(entry).toMatchObject({ actor_id: by.id, project_id: by.projectId, payload: { name: 'canary', scopes: [] } });
    for (const secret of [text, text.slice(17, 60)]) {
      expect(JSON.stringify([rows, entries])).not.toContain(secret);
    }
  });

  it.each<[string, Partial<NewKey>, string]>([
    ['a scope that does not exist', { scopes: ['models:*'] }, '"models:*" is not a scope'],
    ['an alias of a scope', { scopes: ['mcp:admin'] }, '"mcp:admin" is not a scope'],
    ['an agent as an admin', { scopes: ['admin'] }, 'An agent cannot hold admin'],
    ['an agent that decides approvals', { scopes: ['approvals:decide'] }, 'An agent cannot hold approvals:decide'],
    ['no name', { name: ' \t' }, 'name must be one line of 1 to 100 characters'],
    ['a name with a line break', { name: 'a\nb' }, 'name must be one line'],
    ['a name with half a character', { name: 'a\ud800' }, 'name must be one line'],
    ['an agent key without an agent', { agentId: null }, 'agent_id belongs to keys of kind agent'],
    ['an operator key with an agent', { kind: 'operator' }, 'agent_id belongs to keys of kind agent'],
    ['no models at all', { models: [] }, 'models must have 1 to 100 entries, or be left out'],
    ['a model with a blank', { models: ['a b'] }, '"a b" is not a model name'],
    ['an address range that is none', { cidrs: ['10.0.0.0/33'] }, '"10.0.0.0/33" is not an address range'],
    ['a life of a second', { lifetimeS: 1 }, 'The lifetime must be whole seconds'],
    ['a run for a service', { kind: 'service', agentId: null, runId: 'run_1' }, "run_id belongs to agents' keys"],
  ])('is refused for %s', async (_title, more, message) => {
    await expect(create(more)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(message),
    });
  });

  it('is refused for an agent, person or project that is not there, or not in this project', async () => {
    const { by: stranger } = await identity.project('strangers');
    await expect(create({ agentId: 'agt_none' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(create({ projectId: 'prj_none' })).rejects.toMatchObject({ code: 'not_found' });
    await expect(create({ projectId: stranger.projectId })).rejects.toMatchObject({ code: 'not_found' });
    await expect(create({ kind: 'operator', agentId: null, personId: 'psn_none' })).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('is refused for an agent that is disabled', async () => {
    const other = await identity.agentKey(by, 'disabled agent');
    await identity.agents.disable(by, 'req_test', { projectId: by.projectId, id: other.agentId });
    await expect(create({ agentId: other.agentId })).rejects.toMatchObject({ code: 'conflict' });
  });

  it('may be bound to a running run of its agent, and to no other', async () => {
    const other = await identity.agentKey(by, 'agent with a run');
    await db.pool.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, control_version) VALUES ('run_k', $1, $2, 'w', 1)`,
      [by.projectId, other.agentId],
    );
    await expect(create({ runId: 'run_k' })).rejects.toMatchObject({ code: 'not_found' });
    expect((await create({ agentId: other.agentId, runId: 'run_k' })).key.runId).toBe('run_k');
    await db.pool.query(`UPDATE runs SET state = 'succeeded', finished_at = now() WHERE id = 'run_k'`);
    await expect(create({ agentId: other.agentId, runId: 'run_k' })).rejects.toMatchObject({ code: 'not_found' });
  });

  it('names another person only for who holds admin, in rotation too', async () => {
    const newPerson = async (email: string) =>
      (await identity.people.create(by, 'req_test', { projectId: by.projectId, email, name: email })).result.id;
    const [boss, lesser] = [await newPerson('boss@example.com'), await newPerson('lesser@example.com')];
    const caller: Principal = { ...by, id: lesser, personId: lesser, scopes: new Set(['keys:write']) };
    for (const kind of ['operator', 'service'] as const) {
      const refused = { code: 'insufficient_scope', message: expect.stringContaining('another person') };
      const more = { kind, agentId: null, scopes: ['keys:read'] } as const;
      await expect(create({ ...more, personId: boss }, caller)).rejects.toMatchObject(refused);
      const { key } = await create({ ...more, personId: boss });
      expect(key.personId).toBe(boss);
      const named = { projectId: by.projectId, id: key.id };
      await expect(identity.keys.rotate(caller, 'req_test', named)).rejects.toMatchObject(refused);
      const own = await create({ ...more, personId: lesser }, caller);
      expect(own.key.personId).toBe(lesser);
      const { result } = await identity.keys.rotate(caller, 'req_test', { ...named, id: own.key.id });
      expect(result.key.personId).toBe(lesser);
    }
  });

  it('that no agent has is answered for by the person who makes it, in whatever project', async () => {
    const { result: person } = await identity.people.create(by, 'req_test', {
      projectId: by.projectId,
      email: 'maker@example.com',
      name: 'Maker',
    });
    const { projectId: elsewhere } = await identity.project('of others');
    const maker: Principal = { ...by, personId: person.id };
    const made: string[] = [];
    for (const more of [
      { kind: 'service' },
      { kind: 'operator' },
      { kind: 'service', projectId: elsewhere },
    ] as const) {
      const { key, text } = await create({ agentId: null, ...more }, maker);
      expect(key.personId).toBe(person.id);
      made.push(text);
    }
    expect((await create({}, maker)).key.personId).toBeNull();
    const { key: shared } = await create({ kind: 'service', agentId: null });
    expect(shared.personId).toBeNull();
    const { result, version } = await identity.keys.rotate(maker, 'req_test', {
      projectId: by.projectId,
      id: shared.id,
    });
    expect(result.key.personId).toBe(person.id);
    made.push(result.text);
    await identity.feed.reach(version, 5000);
    for (const text of made) await expect(identity.bearer(text)).resolves.toMatchObject({ personId: person.id });
    const disabled = await identity.people.disable(by, 'req_test', { projectId: by.projectId, id: person.id });
    await identity.feed.reach(disabled.version, 5000);
    for (const text of made)
      await expect(identity.bearer(text, '198.51.100.7')).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('is limited as its maker is, and ends no later, also when it is a successor', async () => {
    const { key: own, text } = await create({
      kind: 'operator',
      agentId: null,
      scopes: ['keys:write'],
      cidrs: ['192.0.2.0/24'],
      lifetimeS: 7200,
    });
    const { key: other, version } = { ...(await create({ cidrs: ['192.0.2.7'] })), version: await latestVersion() };
    await identity.feed.reach(version, 5000);
    const maker = await identity.bearer(text);
    await expect(create({}, maker)).rejects.toMatchObject({ code: 'policy_denied' });
    await expect(create({ cidrs: ['192.0.2.1'], lifetimeS: 86_400 }, maker)).rejects.toMatchObject({
      code: 'policy_denied',
      message: expect.stringContaining('no key that it makes may outlive it'),
    });
    // This process may be behind the database, whose clock says when a key ends.
    const behind = { ...maker, expiresAt: (own.expiresAt ?? 0) - 60_000 };
    for (const asked of [{}, { lifetimeS: 7140 }]) {
      const { key } = await create({ cidrs: ['192.0.2.1'], ...asked }, behind);
      expect(key.expiresAt).toBeLessThanOrEqual(behind.expiresAt);
    }
    const rotate = (id: string) => identity.keys.rotate(maker, 'req_test', { projectId: by.projectId, id });
    expect((await rotate(other.id)).result.key.expiresAt).toBeLessThanOrEqual(own.expiresAt ?? 0);
    await expect(rotate((await create()).key.id)).rejects.toMatchObject({ code: 'policy_denied' });
  });

  it('keeps through a rotation what binds it, and that its requests are signed', async () => {
    const bound = { requireSignature: true, binding: { by: 'spiffe_id', value: 'spiffe://example.org/x' } } as const;
    const { key } = await create(bound);
    expect(key).toMatchObject(bound);
    const { result } = await identity.keys.rotate(by, 'req_test', { projectId: by.projectId, id: key.id });
    expect(result.key).toMatchObject(bound);
    expect((await identity.audit('key.rotated')).find(({ target }) => target === key.id)?.payload).toMatchObject({
      require_signature: true,
      binding: bound.binding,
    });
  });

  it('cannot have a scope that its maker lacks', async () => {
    const maker: Principal = { ...by, scopes: new Set(['keys:write', 'models:invoke']) };
    expect((await create({ scopes: ['models:invoke', 'keys:read'] }, maker)).key.scopes).toHaveLength(2);
    await expect(create({ scopes: ['runs:write'] }, maker)).rejects.toMatchObject({ code: 'insufficient_scope' });
    await expect(create({ kind: 'operator', agentId: null, scopes: ['admin'] }, maker)).rejects.toMatchObject({
      code: 'insufficient_scope',
    });
  });
});

async function latestVersion(): Promise<bigint> {
  const { rows } = await db.pool.query('SELECT max(control_version) AS version FROM api_keys');
  return rows[0].version;
}

describe('rotation', () => {
  it('makes a successor with the same properties, and ends the old key after the overlap', async () => {
    const asked = {
      name: 'to rotate',
      scopes: ['models:invoke'],
      models: ['claude-*'],
      cidrs: ['192.0.2.0/24'],
      lifetimeS: 7200,
    };
    const { key: old, text } = await create(asked);
    const { result, version } = await identity.keys.rotate(by, 'req_test', {
      projectId: by.projectId,
      id: old.id,
      overlapS: 60,
    });
    const { id, createdAt, expiresAt, ...same } = result.key;
    expect(old).toMatchObject(same);
    expect((expiresAt ?? 0) - createdAt).toBe(7_200_000);
    expect(result.predecessor).toMatchObject({ id: old.id, successorId: id });
    expect((result.predecessor.expiresAt ?? 0) - createdAt).toBe(60_000);
    const entries = await identity.audit('key.rotated');
    expect(entries.filter(({ target }) => target === old.id)).toMatchObject([
      { target: old.id, payload: { successor_id: id, overlap_s: 60 } },
    ]);

    await identity.feed.reach(version, 5000);
    await expect(identity.bearer(text)).resolves.toMatchObject({ keyId: old.id });
    await expect(identity.bearer(result.text)).resolves.toMatchObject({ keyId: id });
    identity.clock.advance(61_000);
    await expect(identity.bearer(text)).rejects.toMatchObject({ code: 'unauthenticated' });
    await expect(identity.bearer(result.text)).resolves.toMatchObject({ keyId: id });
  });

  it('never makes the old key live longer', async () => {
    const { key } = await create({ lifetimeS: 120 });
    const { result } = await identity.keys.rotate(by, 'req_test', { projectId: by.projectId, id: key.id });
    expect(result.predecessor.expiresAt).toBe(key.expiresAt);
  });

  it('of a key that never expires gives the old one an end, and the new one none', async () => {
    const { key } = await create({ lifetimeS: null });
    const { result } = await identity.keys.rotate(by, 'req_test', { projectId: by.projectId, id: key.id });
    expect(result.key.expiresAt).toBeNull();
    expect(result.predecessor.expiresAt).not.toBeNull();
  });

  it('is refused twice, after the end, for a key of another project, and for one that can do more than the caller', async () => {
    const { key } = await create();
    const rotate = (id: string, caller = by) =>
      identity.keys.rotate(caller, 'req_test', { projectId: caller.projectId, id });
    await rotate(key.id);
    await expect(rotate(key.id)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('rotated already'),
    });
    const { key: revoked } = await create();
    await identity.keys.revoke(by, 'req_test', { projectId: by.projectId, id: revoked.id });
    await expect(rotate(revoked.id)).rejects.toMatchObject({ code: 'conflict' });
    await expect(rotate((await create()).key.id, operatorOf('prj_other'))).rejects.toMatchObject({ code: 'not_found' });
    const { key: admin } = await create({ kind: 'operator', agentId: null, scopes: ['admin'] });
    await expect(rotate(admin.id, { ...by, scopes: new Set(['keys:write']) })).rejects.toMatchObject({
      code: 'insufficient_scope',
    });
  });
});

describe('revocation', () => {
  it('of a key with admin needs admin: a lesser key must not lock every operator out', async () => {
    const { key } = await create({ kind: 'operator', agentId: null, scopes: ['admin'] });
    const lesser: Principal = { ...by, scopes: new Set(['keys:write']) };
    await expect(
      identity.keys.revoke(lesser, 'req_test', { projectId: by.projectId, id: key.id }),
    ).rejects.toMatchObject({ code: 'insufficient_scope' });
  });

  it('ends a key for good, is audited once, and may be asked for twice', async () => {
    const { key, text } = await create();
    const revoke = () => identity.keys.revoke(by, 'req_test', { projectId: by.projectId, id: key.id });
    const first = await revoke();
    const second = await revoke();
    expect(first.result.revokedAt).not.toBeNull();
    expect(second.result.revokedAt).toBe(first.result.revokedAt);
    expect((await identity.audit('key.revoked')).filter(({ target }) => target === key.id)).toHaveLength(1);
    await identity.feed.reach(second.version, 5000);
    await expect(identity.bearer(text)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('of a key of another project is not found', async () => {
    const { key } = await create();
    await expect(
      identity.keys.revoke(operatorOf('prj_other'), 'req_test', { projectId: 'prj_other', id: key.id }),
    ).rejects.toMatchObject({ code: 'not_found' });
  });
});

describe('the list of keys', () => {
  it('has each key once, newest first, page by page, also when many have the same millisecond', async () => {
    const { by: owner } = await identity.project('lists');
    await db.pool.query(
      `INSERT INTO api_keys (id, project_id, kind, name, secret_hash, created_by, created_at, control_version)
       SELECT 'list' || lpad(n::text, 8, '0'), $1, 'service', 'k', '', 'test',
         timestamptz '2026-01-01' + (n / 3) * interval '1 microsecond', 1 FROM generate_series(1, 50) AS n`,
      [owner.projectId],
    );
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await identity.keys.list(owner.projectId, { pageSize: 7, cursor });
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => `list${String(50 - i).padStart(8, '0')}`));
    expect(await identity.keys.list('prj_other', { pageSize: 0, cursor: seen[3] ?? null })).toEqual({
      items: [],
      nextCursor: null,
    });
  });

  it('has pages of bounded size', async () => {
    for (const pageSize of [-1, 501, 1.5]) {
      await expect(identity.keys.list(by.projectId, { pageSize, cursor: null })).rejects.toMatchObject({
        code: 'invalid_argument',
      });
    }
  });
});

it('a project has at most 10,000 keys that work; ended ones do not count', async () => {
  const { by: owner } = await identity.project('full');
  await db.pool.query(
    `INSERT INTO api_keys (id, project_id, kind, name, secret_hash, created_by, expires_at, revoked_at, control_version)
     SELECT 'full' || n, $1, 'service', 'k', '', 'test',
       CASE WHEN n % 2 = 0 THEN now() - interval '1 s' END, CASE WHEN n % 4 = 1 THEN now() END, 1
     FROM generate_series(1, 39996) AS n`,
    [owner.projectId],
  );
  const make = () => create({ projectId: owner.projectId, kind: 'service', agentId: null }, owner);
  await make();
  await expect(make()).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining(`${apiKeysPerProjectMax}`),
  });
});
