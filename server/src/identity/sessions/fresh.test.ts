import { createSecretKey, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { operatorOf } from '../../../../test/support/identity.ts';
import { ProjectService } from '../project-service.ts';
import { PersonService } from '../person-service.ts';
import { freshnessOf, isFreshlySignedIn } from './fresh.ts';
import type { SignedIn } from './model.ts';
import { SessionService } from './service.ts';
import { findLiveSession } from './store.ts';
import { sessionDigest } from './token.ts';

const key = createSecretKey(randomBytes(32));
const visit = { requestId: 'req_1', clientAddress: '192.0.2.1', userAgent: 'test', token: null };
let db: TestDatabase;
let sessions: SessionService;

beforeAll(async () => {
  db = await createTestDatabase();
  sessions = new SessionService(db.pool, key);
});
afterAll(() => db.drop());

async function begun(signedIn: SignedIn): Promise<string> {
  const token = await sessions.start(signedIn, visit);
  const session = await findLiveSession(db.pool, sessionDigest(key, token) ?? Buffer.alloc(0));
  return session?.id ?? '';
}

it('is when a key was entered, or what the identity provider says, and not when the session began', async () => {
  const { result: project } = await new ProjectService(db.pool).create(operatorOf('prj_none'), 'req_1', {
    name: 'one',
  });
  const by = operatorOf(project.id);
  const people = new PersonService(db.pool);
  const made = { projectId: project.id, email: 'ada@example.com', name: 'Ada' };
  const { result: person } = await people.create(by, 'req_1', made);
  const issuer = 'https://idp.example.com';
  await db.pool.query('UPDATE people SET issuer = $2, subject = $3 WHERE id = $1', [person.id, issuer, 'ada']);
  const principal = { ...by, id: person.id, personId: person.id };
  const minute = 60_000;
  const oidc = (authenticatedAt: number | null) =>
    ({ method: 'oidc', principal, issuer, subject: 'ada', authenticatedAt }) as const;
  const cases: [SignedIn, string][] = [
    [{ method: 'key', principal, tag: Buffer.alloc(32) }, 'fresh'],
    [oidc(Date.now()), 'fresh'],
    [oidc(Date.now() - 9 * minute), 'fresh'],
    [oidc(Date.now() - 11 * minute), 'stale'],
    [oidc(null), 'unknown'],
    [oidc(Date.now() + 600 * minute), 'fresh'],
  ];
  for (const [signedIn, expected] of cases) {
    const sessionId = await begun(signedIn);
    expect(await freshnessOf(db.pool, { ...principal, sessionId })).toBe(expected);
    expect(await isFreshlySignedIn(db.pool, { ...principal, sessionId })).toBe(expected === 'fresh');
  }
  // A time to come counts as now, and no longer.
  const ahead = await begun(oidc(Date.now() + 600 * minute));
  await db.pool.query("UPDATE sessions SET authenticated_at = authenticated_at - interval '11 min' WHERE id = $1", [
    ahead,
  ]);
  expect(await freshnessOf(db.pool, { ...principal, sessionId: ahead })).toBe('stale');
  await db.pool.query('UPDATE sessions SET ended_at = now() WHERE id = $1', [ahead]);
  expect(await freshnessOf(db.pool, { ...principal, sessionId: ahead })).toBe('unknown');
  expect(await freshnessOf(db.pool, principal)).toBe('unknown');
});
