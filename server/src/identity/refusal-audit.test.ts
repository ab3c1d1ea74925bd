import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { asOwner, openIdentity, operatorOf, type TestIdentity } from '../../../test/support/identity.ts';
import { refusalGroupsMax } from '../base/limits.ts';
import type { Refused } from './verifier.ts';

let db: TestDatabase;
let identity: TestIdentity;

beforeEach(async () => {
  db = await createTestDatabase();
  identity = await openIdentity(db);
});
afterEach(async () => {
  await identity.close();
  await db.drop();
});

const refused: Refused = { method: 'api_key', reason: 'bad_secret', keyId: 'Ab0123456789' };

function refuse(times: number, address = '192.0.2.1', what: Partial<Refused> = {}): void {
  for (let i = 0; i < times; i++) identity.refusals.noteCredential({ ...refused, ...what }, address, 'req_1');
}

async function entries(action = 'credential.refused') {
  await identity.refusals.flush();
  return identity.audit(action);
}

describe('refused credentials', () => {
  it('are audited verbatim the first time, then by one count a minute', async () => {
    const start = identity.clock.now();
    refuse(1000);
    expect(await entries()).toMatchObject([
      {
        actor_id: '192.0.2.1',
        target: 'Ab0123456789',
        project_id: null,
        payload: { reason: 'bad_secret', method: 'api_key', client_address: '192.0.2.1' },
      },
    ]);
    identity.clock.advance(60_000);
    refuse(5);
    expect((await entries())[1]).toMatchObject({
      actor_id: '192.0.2.1',
      payload: { rule: 'bad_secret', count: 1004, from: start, until: start + 60_000 },
    });
    refuse(7);
    identity.clock.advance(60_000);
    expect((await entries())[2]).toMatchObject({ payload: { count: 7 } });
  });

  it('are verbatim again after a quiet minute', async () => {
    refuse(1);
    await entries();
    identity.clock.advance(60_000);
    await entries();
    refuse(1);
    expect(await entries()).toMatchObject([{ payload: { method: 'api_key' } }, { payload: { method: 'api_key' } }]);
  });

  it('are counted by reason, and by /64 for IPv6', async () => {
    refuse(1);
    refuse(1, '192.0.2.1', { reason: 'key_revoked' });
    refuse(1, '192.0.2.2');
    refuse(1, '2001:db8::1');
    refuse(50, '2001:db8::2:2');
    expect(await entries()).toHaveLength(4);
    identity.clock.advance(60_000);
    expect((await entries()).slice(4)).toMatchObject([{ actor_id: '2001:db8::/64', payload: { count: 50 } }]);
  });

  it('of very many addresses are counted together, and leave room for what known callers are refused', async () => {
    for (let i = 0; i < refusalGroupsMax + 500; i++) refuse(1, `10.0.${i >> 8}.${i & 255}`);
    identity.refusals.note('call.denied', operatorOf('prj_1'), 'key.models', 'req_1');
    expect(await entries()).toHaveLength(refusalGroupsMax);
    expect(await entries('call.denied')).toHaveLength(1);
    identity.clock.advance(60_000);
    expect((await entries()).slice(refusalGroupsMax)).toMatchObject([
      { actor_id: 'many', target: 'many', payload: { count: 500 } },
    ]);
  });
});

it('what a rule refuses to a caller is counted by caller and rule, in the project of the caller', async () => {
  const [one, other] = [operatorOf('prj_1'), operatorOf('prj_2')];
  for (let i = 0; i < 10; i++) identity.refusals.note('call.denied', one, 'key.models', 'req_1');
  identity.refusals.note('call.denied', one, 'unknown_price', 'req_2');
  identity.refusals.note('call.denied', other, 'key.models', 'req_3');
  identity.refusals.note('scope.denied', one, 'models:invoke', 'req_4');
  expect(await entries('scope.denied')).toMatchObject([
    { actor_id: one.id, target: 'models:invoke', project_id: 'prj_1' },
  ]);
  identity.clock.advance(60_000);
  expect(await entries('call.denied')).toMatchObject([
    { actor_id: one.id, target: 'key.models', project_id: 'prj_1', payload: { rule: 'key.models' } },
    { actor_id: one.id, target: 'unknown_price' },
    { actor_id: other.id, target: 'key.models', project_id: 'prj_2' },
    { actor_id: one.id, target: 'key.models', payload: { count: 9 } },
  ]);
});

it('a rule that holds what a caller wrote does not hold up the others', async () => {
  identity.refusals.note('call.denied', operatorOf('prj_1'), `model:\0\ud800${'x'.repeat(1000)}`, 'req_1');
  refuse(1);
  expect(await entries()).toHaveLength(1);
  const [denied] = await entries('call.denied');
  expect(denied?.target).toBe(`model:??${'x'.repeat(92)}`);
});

it('a stop writes what was counted in the minute that has not ended', async () => {
  refuse(3);
  await identity.refusals.stop();
  expect(await identity.audit('credential.refused')).toMatchObject([{}, { payload: { count: 2 } }]);
});

it('what could not be written is written by the next flush', async () => {
  refuse(3);
  await asOwner(db, 'REVOKE INSERT ON audit_entries FROM portcullis');
  expect(await entries()).toEqual([]);
  expect(identity.errors).toHaveLength(1);
  await asOwner(db, 'GRANT INSERT ON audit_entries TO portcullis');
  identity.clock.advance(60_000);
  expect(await entries()).toMatchObject([{ payload: { method: 'api_key' } }, { payload: { count: 2 } }]);
});
