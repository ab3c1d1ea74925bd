import { createSecretKey, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import { operator, seedProject } from '../../../../test/support/ledger.ts';
import { sessionsPerPrincipalMax } from '../../base/limits.ts';
import { controlWrite, inTransaction } from '../../pg/tx.ts';
import type { Principal } from '../model.ts';
import { PersonService } from '../person-service.ts';
import { insertPerson, updatePerson } from '../person-store.ts';
import type { PersonRecord } from '../records.ts';
import { SessionService } from './service.ts';
import { sessionDigest } from './token.ts';
import { findLiveSession } from './store.ts';

const key = createSecretKey(randomBytes(32));
const visit = { requestId: 'req_1', clientAddress: '192.0.2.1', userAgent: 'x'.repeat(500), token: null };
const signedIn = { method: 'key', principal: operator, tag: Buffer.alloc(32) } as const;
const { projectId } = operator;

let db: TestDatabase;
let sessions: SessionService;
beforeAll(async () => {
  db = await createTestDatabase();
  await seedProject(db.pool);
  sessions = new SessionService(db.pool, key);
});
afterAll(() => db.drop());

const find = async (token: string) => findLiveSession(db.pool, sessionDigest(key, token) ?? Buffer.alloc(0));

/** How sessions of a principal ended, as the audit log has it. */
async function endings(principalId: string): Promise<string[]> {
  const rows = await queryAsOwner<{ how: string }>(
    db,
    `SELECT payload->>'how' AS how FROM audit_entries WHERE action = 'session.ended' AND payload->>'of' = $1 ORDER BY id`,
    [principalId],
  );
  return rows.map(({ how }) => how);
}

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
  expect(await endings(operator.id)).toEqual(['replaced', 'signed_out']);
});

it('sessions that are over are forgotten soon, and no others', async () => {
  const begun = async () => (await find(await sessions.start(signedIn, visit)))?.id ?? '';
  const ids = { ended: '', justEnded: '', expired: '', justExpired: '', live: '' };
  for (const name of Object.keys(ids) as (keyof typeof ids)[]) ids[name] = await begun();
  const set = (id: string, column: string, age: string) =>
    queryAsOwner(db, `UPDATE sessions SET ${column} = now() - $2::interval WHERE id = $1`, [id, age]);
  await set(ids.ended, 'ended_at', '11 minutes');
  await set(ids.justEnded, 'ended_at', '9 minutes');
  await set(ids.expired, 'expires_at', '11 minutes');
  await set(ids.justExpired, 'expires_at', '9 minutes');
  await sessions.purge();
  const left = await queryAsOwner<{ id: string }>(db, 'SELECT id FROM sessions WHERE id = ANY ($1) ORDER BY id', [
    Object.values(ids),
  ]);
  expect(left.map(({ id }) => id)).toEqual([ids.justEnded, ids.justExpired, ids.live].toSorted());
});

describe('many sign-ins of one principal at once', () => {
  const deadlocks = async () => {
    const [row] = await queryAsOwner<{ deadlocks: bigint }>(
      db,
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    );
    return row?.deadlocks;
  };
  const live = async (principalId: string) =>
    queryAsOwner(db, 'SELECT FROM sessions WHERE principal_id = $1 AND ended_at IS NULL', [principalId]);

  it('all go well, and leave twenty sessions; the end of each of the others is written down', async () => {
    const principal: Principal = { ...operator, id: 'key_of_many' };
    const before = await deadlocks();
    const start = () => sessions.start({ ...signedIn, principal }, visit);
    await Promise.all(Array.from({ length: 40 }, start));
    const tokens = await Promise.all(Array.from({ length: 40 }, start));
    expect(await live(principal.id)).toHaveLength(sessionsPerPrincipalMax);
    expect(await endings(principal.id)).toEqual(Array(60).fill('too_many'));
    expect((await Promise.all(tokens.map(find))).filter((session) => session !== null)).toHaveLength(20);
    await pause(100);
    expect(await deadlocks()).toBe(before);
  });

  it('cross each other without harm where browsers change hands between two principals', async () => {
    const principals = ['key_one', 'key_other'].map((id): Principal => ({ ...operator, id }));
    let held: (string | null)[] = Array.from({ length: 20 }, () => null);
    for (let round = 0; round < 4; round++) {
      held = await Promise.all(
        held.map((token, at) => {
          const principal = principals[(at + round) % 2] ?? operator;
          return sessions.start({ ...signedIn, principal }, { ...visit, token });
        }),
      );
    }
    expect((await Promise.all(held.map((token) => find(token ?? '')))).every((session) => session !== null)).toBe(true);
  });
});

describe('a session of a person', () => {
  const account = { issuer: 'https://id.example', subject: 'sub-1' };
  let person: PersonRecord;
  let ofPerson: Principal;
  beforeEach(async () => {
    const id = `psn_${randomBytes(6).toString('hex')}`;
    ({ result: person } = await controlWrite(db.pool, async (tx, version) => {
      await tx.query('UPDATE people SET issuer = NULL, subject = NULL, control_version = $1', [version]);
      const made = await insertPerson(tx, version, { id, projectId, email: `${id}@example.com`, name: id });
      await updatePerson(tx, version, { ...made, ...account, roles: ['developer'] });
      return { ...made, ...account, roles: ['developer'] };
    }));
    ofPerson = { ...operator, id, personId: id, method: 'session', scopes: new Set(['models:invoke']) };
  });

  const byOidc = () => ({ method: 'oidc', principal: ofPerson, ...account }) as const;
  const change = (to: Partial<PersonRecord>) =>
    controlWrite(db.pool, (tx, version) => updatePerson(tx, version, { ...person, ...to }));
  /** A key of the person as it stands in the database. */
  async function keyOf(createdBy: string, kind: Principal['kind'] = 'operator'): Promise<Principal> {
    const [row] = await queryAsOwner<{ id: string }>(
      db,
      `INSERT INTO api_keys (id, project_id, person_id, kind, name, secret_hash, scopes, created_by, control_version)
       VALUES (gen_random_uuid()::text, $1, $2, $3, 'k', '', '{keys:write}', $4, 1) RETURNING id`,
      [projectId, person.id, kind, createdBy],
    );
    return { ...ofPerson, kind, method: 'api_key', keyId: row?.id ?? '' };
  }

  it('does not begin when the person was disabled or unlinked in between', async () => {
    await sessions.start(byOidc(), visit);
    const refused = { code: 'policy_denied', members: { rule: 'sign_in.person' } };
    const own = await keyOf(person.id);
    const byKey = { method: 'key', principal: own, tag: null } as const;
    await change({ issuer: null, subject: null });
    await expect(sessions.start(byOidc(), visit)).rejects.toMatchObject(refused);
    await sessions.start(byKey, visit);
    await change({ subject: 'sub-2' });
    await expect(sessions.start(byOidc(), visit)).rejects.toMatchObject(refused);
    await change({ state: 'disabled' });
    await expect(sessions.start(byOidc(), visit)).rejects.toMatchObject(refused);
    await expect(sessions.start(byKey, visit)).rejects.toMatchObject(refused);
  });

  it('waits for the end of what disables the person, and does not begin', async () => {
    let started: Promise<unknown> = Promise.resolve();
    await inTransaction(db.pool, async (tx) => {
      await tx.query(`UPDATE people SET state = 'disabled' WHERE id = $1`, [person.id]);
      started = sessions.start(byOidc(), visit).catch((error: unknown) => error);
      await pause(50);
    });
    expect(await started).toMatchObject({ code: 'policy_denied' });
  });

  it('is ended with the person, and that is written down for each', async () => {
    const tokens = [await sessions.start(byOidc(), visit), await sessions.start(byOidc(), visit)];
    await new PersonService(db.pool).disable(operator, 'req_2', { projectId, id: person.id });
    expect(await Promise.all(tokens.map(find))).toEqual([null, null]);
    expect(await endings(person.id)).toEqual(['person_disabled', 'person_disabled']);
  });

  it('is seen and ended by the person themselves, and by no key that others may have', async () => {
    const token = await sessions.start(byOidc(), visit);
    const id = (await find(token))?.id ?? '';
    const [own, issued, service] = [
      await keyOf(person.id),
      await keyOf('psn_of_an_operator'),
      await keyOf(person.id, 'service'),
    ];
    const idsFor = async (by: Principal) =>
      (await sessions.list(by, projectId, true, { pageSize: 50, cursor: null })).items.map((session) => session.id);
    for (const stolen of [issued, service, { ...issued, method: 'session' } as const]) {
      expect(await idsFor(stolen)).toEqual([]);
      await expect(sessions.end(stolen, 'req_2', { projectId, id })).rejects.toMatchObject({ code: 'not_found' });
    }
    for (const rightful of [ofPerson, own]) expect(await idsFor(rightful)).toEqual([id]);
    // A session on such a key is its own all the same.
    const onIssued = await sessions.start({ method: 'key', principal: issued, tag: null }, visit);
    const onIssuedId = (await find(onIssued))?.id ?? '';
    expect(await idsFor({ ...issued, method: 'session' })).toEqual([onIssuedId]);
    await sessions.end({ ...issued, method: 'session' }, 'req_3', { projectId, id: onIssuedId });
    await sessions.end(own, 'req_3', { projectId, id });
    expect(await find(token)).toBeNull();
    const root: Principal = { ...issued, scopes: new Set(['admin']) };
    await sessions.end(root, 'req_4', {
      projectId,
      id: (await find(await sessions.start(byOidc(), visit)))?.id ?? '',
    });
  });
});
