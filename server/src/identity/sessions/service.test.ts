import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import { operator, seedProject } from '../../../../test/support/ledger.ts';
import { SessionService } from './service.ts';
import { sessionDigest } from './token.ts';
import { findLiveSession } from './store.ts';

const key = createSecretKey(randomBytes(32));
const visit = { requestId: 'req_1', clientAddress: '192.0.2.1', userAgent: 'x'.repeat(500), token: null };
const signedIn = { method: 'key', principal: operator, tag: Buffer.alloc(32) } as const;

let db: TestDatabase;
let sessions: SessionService;
beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  sessions = new SessionService(db.pool, key);
});
afterAll(() => db.drop());

const find = async (token: string) => findLiveSession(db.pool, sessionDigest(key, token) ?? Buffer.alloc(0));

it('a session begins under a token of its own, and ends the one that the browser had', async () => {
  const before = await sessions.start(signedIn, visit);
  const after = await sessions.start(signedIn, { ...visit, token: before });
  expect(await find(before)).toBeNull();
  expect(await find(after)).toMatchObject({ principalId: operator.id, method: 'key', useIsDue: false });
  expect((await find(after))?.userAgent).toHaveLength(200);
  // What was planted, or is another's, ends nothing.
  await sessions.signOut('nonsense', 'req_2');
  expect(await find(after)).not.toBeNull();
  await sessions.signOut(after, 'req_3');
  await sessions.signOut(after, 'req_4');
  expect(await find(after)).toBeNull();
  const rows = await queryAsOwner(
    db,
    `SELECT payload->>'how' AS how FROM audit_entries WHERE action = 'session.ended'`,
  );
  expect(rows).toEqual([{ how: 'replaced' }, { how: 'signed_out' }]);
});

it('sessions that were over long ago are forgotten, and no others', async () => {
  const tokens = [await sessions.start(signedIn, visit), await sessions.start(signedIn, visit)];
  const [old, recent] = await Promise.all(tokens.map(async (token) => (await find(token))?.id));
  const expire = (id: string | undefined, age: string) =>
    queryAsOwner(db, 'UPDATE sessions SET expires_at = now() - $2::interval WHERE id = $1', [id, age]);
  await expire(old, '8 days');
  await expire(recent, '6 days');
  await sessions.purge();
  const ids = (await queryAsOwner<{ id: string }>(db, 'SELECT id FROM sessions')).map(({ id }) => id);
  expect(ids).toContain(recent);
  expect(ids).not.toContain(old);
});
