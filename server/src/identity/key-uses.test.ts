import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { asOwner, openIdentity, type TestIdentity } from '../../../test/support/identity.ts';
import type { Principal } from './model.ts';

let db: TestDatabase;
let identity: TestIdentity;
let by: Principal;

beforeAll(async () => {
  db = await createTestDatabase();
  identity = await openIdentity(db);
  ({ by } = await identity.project('uses'));
});
afterAll(async () => {
  await identity.close();
  await db.drop();
});

async function lastUsed(keyId: string): Promise<number | null> {
  const { items } = await identity.keys.list(by.projectId, { pageSize: 0, cursor: null });
  return items.find(({ id }) => id === keyId)?.lastUsedAt ?? null;
}

it('writes when a key was last used at most once a minute, and the first time to the audit log', async () => {
  const { keyId, text, agentId } = await identity.agentKey(by, 'often used');
  expect(await lastUsed(keyId)).toBeNull();
  const times: (number | null)[] = [];
  for (let i = 0; i < 13; i++) {
    await identity.bearer(text, '192.0.2.77');
    await identity.uses.flush();
    times.push(await lastUsed(keyId));
    identity.clock.advance(10_000);
  }
  const start = times[0] ?? 0;
  expect(times.map((time) => (time ?? 0) - start)).toEqual([...Array(6).fill(0), ...Array(6).fill(60_000), 120_000]);
  expect(await identity.audit('key.first_used')).toMatchObject([
    { actor_id: agentId, target: keyId, project_id: by.projectId, payload: { client_address: '192.0.2.77' } },
  ]);
});

it('changes no control state: a use is not a control write', async () => {
  const version = async () => (await db.pool.query('SELECT version FROM control_version')).rows;
  const { text } = await identity.agentKey(by, 'no write');
  const before = await version();
  await identity.bearer(text);
  await identity.uses.flush();
  expect(await version()).toEqual(before);
});

it('notes a first use once when two replicas see it at the same time', async () => {
  const replica = await openIdentity(db, () => [], identity.pepper);
  const { keyId, text } = await identity.agentKey(by, 'two replicas');
  await Promise.all([identity.bearer(text), replica.bearer(text)]);
  await Promise.all([identity.uses.flush(), replica.uses.flush()]);
  expect((await identity.audit('key.first_used')).filter(({ target }) => target === keyId)).toHaveLength(1);
  await replica.close();
});

it('is not written for a credential that did not hold', async () => {
  const { keyId, text } = await identity.agentKey(by, 'never used', { cidrs: ['10.0.0.0/8'] });
  await expect(identity.bearer(text, '192.0.2.1')).rejects.toMatchObject({ code: 'unauthenticated' });
  await identity.uses.flush();
  expect(await lastUsed(keyId)).toBeNull();
});

it('lets calls pass while it cannot be written, and writes the next use when it can', async () => {
  const { keyId, text } = await identity.agentKey(by, 'outage');
  await asOwner(db, 'REVOKE UPDATE ON api_keys FROM portcullis');
  await identity.bearer(text);
  await identity.uses.flush();
  expect(identity.errors).toHaveLength(1);
  await asOwner(db, 'GRANT UPDATE ON api_keys TO portcullis');
  await identity.bearer(text);
  await identity.uses.flush();
  expect(await lastUsed(keyId)).not.toBeNull();
});
