import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { openIdentity } from '../../../test/support/identity.ts';
import { bootstrap } from './bootstrap.ts';
import { permits } from './permission.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.drop());

it('makes the default project once, whoever starts first', async () => {
  const pepper = createSecretKey(randomBytes(32));
  const starts = await Promise.all(Array.from({ length: 5 }, () => bootstrap(db.pool, pepper, { issueKeys: false })));
  expect(new Set(starts.map(({ projectId }) => projectId)).size).toBe(1);
  expect(starts.every(({ firstKeys }) => firstKeys === null)).toBe(true);
});

it('issues an admin key and a key of the first agent where asked, also again when they were lost', async () => {
  const pepper = createSecretKey(randomBytes(32));
  const first = await bootstrap(db.pool, pepper, { issueKeys: true });
  const again = await bootstrap(db.pool, pepper, { issueKeys: true });
  expect(again.firstKeys?.agentId).toBe(first.firstKeys?.agentId);
  expect(again.firstKeys?.adminKey).not.toBe(first.firstKeys?.adminKey);

  const identity = await openIdentity(db, () => [], pepper);
  const { adminKey, agentKey, agentId } = first.firstKeys!;
  const admin = await identity.bearer(adminKey);
  const agent = await identity.bearer(agentKey);
  expect(admin).toMatchObject({ kind: 'operator', projectId: first.projectId, scopes: new Set(['admin']) });
  expect(permits(admin, 'approvals:decide')).toBe(true);
  expect(agent).toMatchObject({
    kind: 'agent',
    agentId,
    name: 'first-agent',
    scopes: new Set(['models:invoke', 'tools:call', 'runs:write']),
  });
  expect(await identity.audit('key.created')).toHaveLength(4);
  expect(await identity.audit('project.created')).toHaveLength(1);
  expect(await identity.audit('agent.created')).toHaveLength(1);
  await identity.close();
});
