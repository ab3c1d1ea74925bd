import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { asOwner, openIdentity, type TestIdentity } from '../../../test/support/identity.ts';
import { newAccessRecord } from '../base/access-record.ts';
import { PortcullisError } from '../base/errors.ts';
import { inTransaction } from '../pg/tx.ts';
import { formatApiKey, generateApiKey, hashSecret } from './api-key.ts';
import type { Headers } from './credential.ts';
import { checkNewKey } from './key-input.ts';
import { insertKey } from './key-store.ts';
import type { Principal } from './model.ts';
import { StaticCredentials } from './static-credentials.ts';

let db: TestDatabase;
let identity: TestIdentity;
let by: Principal;
let addresses = 0;

const adminKey = 'canary-admin-key-0123456789abcdef';
const basic = { user: 'canary-user', password: 'canary-password', allowed: true };

beforeAll(async () => {
  db = await createTestDatabase();
  identity = await openIdentity(db, () => [
    new StaticCredentials({
      projectId: 'prj_static',
      adminApiKey: adminKey,
      apiKey: null,
      metricsApiKey: null,
      authToken: null,
      basic,
    }),
  ]);
  ({ by } = await identity.project('doors'));
});
afterAll(async () => {
  await identity.close();
  await db.drop();
});

/** An address that has no failures yet. */
function freshAddress(): string {
  addresses++;
  return `198.18.${addresses >> 8}.${addresses & 255}`;
}

async function refusal(headers: Headers, options: { url?: string; from?: string } = {}): Promise<PortcullisError> {
  const error: unknown = await identity.identify(headers, { from: freshAddress(), ...options }).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof PortcullisError)) throw new Error('not refused', { cause: error });
  return error;
}

const bearer = (text: string): Headers => ({ authorization: `Bearer ${text}` });

function swapped(text: string): string {
  return formatApiKey({ id: text.slice(4, 16), secret: generateApiKey().secret });
}

describe('an API key', () => {
  it('is its agent, in either header', async () => {
    const { agentId, keyId, text } = await identity.agentKey(by, 'coder', { models: ['claude-*'] });
    const access = newAccessRecord('req_1');
    const principal = await identity.identify({ 'x-api-key': text }, { access });
    expect(principal).toMatchObject({
      kind: 'agent',
      id: agentId,
      agentId,
      keyId,
      name: 'coder',
      projectId: by.projectId,
      scopes: new Set(['models:invoke']),
      method: 'api_key',
      models: ['claude-*'],
    });
    expect(access).toMatchObject({ projectId: by.projectId, agentId, keyId, subject: agentId, authMethod: 'api_key' });
    expect(await identity.identify(bearer(text))).toEqual(principal);
  });

  it('without an agent or a person is a service with the id of the key', async () => {
    const { result, version } = await identity.keys.create(by, 'req_1', {
      projectId: by.projectId,
      kind: 'service',
      name: 'ci',
    });
    await identity.feed.reach(version, 5000);
    await expect(identity.bearer(result.text)).resolves.toMatchObject({
      kind: 'service',
      id: result.key.id,
      name: 'ci',
    });
  });

  it('works only from its addresses', async () => {
    const { text } = await identity.agentKey(by, 'office', { cidrs: ['10.1.0.0/16', '2001:db8::/32'] });
    await expect(identity.bearer(text, '10.1.2.3')).resolves.toMatchObject({ name: 'office' });
    await expect(identity.bearer(text, '2001:db8::7')).resolves.toMatchObject({ name: 'office' });
    for (const from of ['10.2.0.1', '2001:db9::1', 'unknown']) {
      expect(await refusal(bearer(text), { from })).toMatchObject({
        internal: 'credential refused: address_not_allowed',
      });
    }
  });

  it('that was accepted before lends nothing to another secret with its id, nor loses anything by it', async () => {
    const { text } = await identity.agentKey(by, 'often');
    await expect(identity.bearer(text)).resolves.toMatchObject({ name: 'often' });
    for (let attempt = 0; attempt < 2; attempt++) {
      expect(await refusal(bearer(swapped(text)), { from: freshAddress() })).toMatchObject({
        internal: 'credential refused: bad_secret',
      });
      await expect(identity.bearer(text)).resolves.toMatchObject({ name: 'often' });
    }
  });

  it('stops with its revocation, its expiry, its agent, and each reason reaches only the log', async () => {
    const revoked = await identity.agentKey(by, 'revoked');
    const disabled = await identity.agentKey(by, 'disabled');
    const expired = await identity.agentKey(by, 'expired', { lifetimeS: 60 });
    const principals = await Promise.all([revoked, disabled, expired].map(({ text }) => identity.bearer(text)));
    await identity.keys.revoke(by, 'req_1', { projectId: by.projectId, id: revoked.keyId });
    await identity.agents.disable(by, 'req_1', { projectId: by.projectId, id: disabled.agentId });
    await identity.feed.refresh();
    identity.clock.advance(61_000);
    const reasons = { key_revoked: revoked, agent_disabled: disabled, key_expired: expired };
    for (const [reason, { text, keyId }] of Object.entries(reasons)) {
      const access = newAccessRecord('req_1');
      await expect(identity.identify(bearer(text), { from: freshAddress(), access })).rejects.toMatchObject({
        code: 'unauthenticated',
        internal: `credential refused: ${reason}`,
      });
      expect(access).toMatchObject({ authReason: reason, keyId, authMethod: 'api_key', projectId: null });
    }
    expect(principals.map((principal) => identity.index.whyEnded(principal))).toEqual([
      'key_revoked',
      'agent_disabled',
      null,
    ]);
  });

  it('that another replica made a moment ago works at once, and one that nobody made asks the database once', async () => {
    const replica = await openIdentity(db, () => [], identity.pepper);
    const key = generateApiKey();
    const checked = checkNewKey({ projectId: by.projectId, kind: 'service', name: 'new' });
    const secretHash = hashSecret(identity.pepper, key.secret);
    // As where the notification is lost and the poll is still to come.
    await inTransaction(db.pool, async (tx) => {
      const { rows } = await tx.query('UPDATE control_version SET version = version + 1 RETURNING version');
      await insertKey(tx, rows[0].version, {
        ...checked,
        id: key.id,
        secretHash,
        createdBy: by.id,
        madeWithKeyId: null,
      });
    });
    await expect(replica.bearer(formatApiKey(key))).resolves.toMatchObject({ name: 'new' });
    const before = replica.refreshes;
    const unknown = Array.from({ length: 50 }, () => formatApiKey(generateApiKey()));
    const from = unknown.map(freshAddress);
    const verdicts = await Promise.allSettled(unknown.map((text, i) => replica.bearer(text, from[i])));
    expect(verdicts.every(({ status }) => status === 'rejected')).toBe(true);
    expect(replica.refreshes).toBe(before + 1);
    await replica.close();
  });

  it('with an unknown id is neither accepted nor refused while the database cannot be asked', async () => {
    const { text } = await identity.agentKey(by, 'known');
    await asOwner(db, 'REVOKE SELECT ON control_version FROM portcullis');
    expect(await refusal(bearer(formatApiKey(generateApiKey())))).toMatchObject({ code: 'unavailable' });
    await expect(identity.bearer(text)).resolves.toMatchObject({ name: 'known' });
    await asOwner(db, 'GRANT SELECT ON control_version TO portcullis');
    expect(await refusal(bearer(formatApiKey(generateApiKey())))).toMatchObject({ code: 'unauthenticated' });
  });
});

describe('a refusal', () => {
  it('reads the same whatever the reason, and holds nothing of what was presented', async () => {
    const good = await identity.agentKey(by, 'canary');
    const cases: [string, Headers, string?][] = [
      ['missing', {}],
      ['in_url', bearer(good.text), '/v1/models?api_key=canary-in-url'],
      ['conflicting', { ...bearer(good.text), 'x-api-key': 'canary-other' }],
      ['malformed', { authorization: 'Bearer canary malformed' }],
      ['unsupported_scheme', { authorization: 'Negotiate canary-ticket' }],
      ['unrecognised', bearer('sk-ant-canary-0123456789')],
      ['bad_checksum', bearer(`${good.text.slice(0, -1)}${good.text.endsWith('0') ? '1' : '0'}`)],
      ['unknown_key', bearer(formatApiKey(generateApiKey()))],
      ['bad_secret', bearer(swapped(good.text))],
      ['bad_password', { authorization: `Basic ${btoa('canary-user:canary-wrong')}` }],
    ];
    const messages = new Set<string>();
    for (const [reason, headers, url = '/'] of cases) {
      const error = await refusal(headers, { url });
      expect(error).toMatchObject({ code: 'unauthenticated', internal: `credential refused: ${reason}`, members: {} });
      expect(error.cause).toBeUndefined();
      messages.add(error.message);
    }
    expect(messages.size).toBe(1);
    await identity.refusals.flush();
    const { rows } = await db.pool.query('SELECT * FROM audit_entries');
    const seen = JSON.stringify([rows, identity.attempts, identity.errors, [...messages]]);
    const headers = cases.flatMap(([, presented]) => Object.values(presented).map(String));
    const secrets = headers.map((header) => header.replace(/^(Bearer|Basic|Negotiate) /, ''));
    for (const secret of [adminKey, basic.password, good.text, good.text.slice(17, 60), 'canary-in-url', ...secrets]) {
      expect(seen).not.toContain(secret);
    }
  });

  it('is audited unless nothing was presented', async () => {
    const from = freshAddress();
    await refusal({}, { from });
    await refusal(bearer('sk-wrong'), { from });
    await identity.refusals.flush();
    const mine = (await identity.audit('credential.refused')).filter(({ actor_id: actor }) => actor === from);
    expect(mine).toMatchObject([{ target: 'none', payload: { reason: 'unrecognised', client_address: from } }]);
  });

  it('is counted with its method', async () => {
    const { text } = await identity.agentKey(by, 'counted');
    identity.attempts.length = 0;
    await identity.bearer(text);
    await refusal(bearer(swapped(text)));
    await refusal({});
    await identity.bearer(adminKey);
    const from = freshAddress();
    for (let i = 0; i < 6; i++) await refusal(bearer(swapped(text)), { from });
    expect(identity.attempts).toEqual([
      'api_key accepted',
      'api_key refused',
      'none refused',
      'static_key accepted',
      ...Array<string>(5).fill('api_key refused'),
      'api_key limited',
    ]);
  });
});

describe('many failures', () => {
  it('of one stale key never slow 60 good keys at the same address', async () => {
    const from = freshAddress();
    const good: string[] = [];
    for (let i = 0; i < 60; i++) good.push((await identity.agentKey(by, `neighbour ${i}`)).text);
    const stale = await identity.agentKey(by, 'stale');
    await identity.keys.revoke(by, 'req_1', { projectId: by.projectId, id: stale.keyId });
    await identity.feed.refresh();
    const codes = new Map<string, number>();
    for (let round = 0; round < 20; round++) {
      const calls = good.map((text) => identity.bearer(text, from));
      for (let i = 0; i < 10; i++) {
        const { code } = await refusal(bearer(stale.text), { from });
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
      await expect(Promise.all(calls)).resolves.toHaveLength(60);
      identity.clock.advance(100);
    }
    expect(codes).toEqual(
      new Map([
        ['unauthenticated', 5],
        ['rate_limited', 195],
      ]),
    );
  });

  it('wait, and are told how long', async () => {
    const from = freshAddress();
    const { text } = await identity.agentKey(by, 'guessed');
    for (let i = 0; i < 5; i++) expect((await refusal(bearer(swapped(text)), { from })).code).toBe('unauthenticated');
    const limited = await refusal(bearer(swapped(text)), { from });
    expect(limited).toMatchObject({ code: 'rate_limited', members: { retryAfterS: 2, rule: 'failed_credentials' } });
    await expect(identity.bearer(text, from)).resolves.toMatchObject({ name: 'guessed' });
  });

  it('are counted by /64, so that a host with many IPv6 addresses is one', async () => {
    for (let i = 0; i < 5; i++)
      expect((await refusal(bearer('sk-x'), { from: `2001:db8:5::${i}` })).code).toBe('unauthenticated');
    expect((await refusal(bearer('sk-y'), { from: '2001:db8:5::ffff' })).code).toBe('rate_limited');
    expect((await refusal(bearer('sk-y'), { from: '2001:db8:6::1' })).code).toBe('unauthenticated');
  });

  it('and missing credentials come at 5 a second from one address, 20 at once; a missing one is no failure', async () => {
    const from = freshAddress();
    const codes: string[] = [];
    for (let i = 0; i < 21; i++) codes.push((await refusal({}, { from })).code);
    expect(codes).toEqual([...Array<string>(20).fill('unauthenticated'), 'rate_limited']);
    identity.clock.advance(200);
    expect((await refusal({}, { from })).code).toBe('unauthenticated');
    expect((await refusal({}, { from })).code).toBe('rate_limited');
    identity.clock.advance(4000);
    for (let i = 0; i < 5; i++) expect((await refusal(bearer('sk-z'), { from })).code).toBe('unauthenticated');
  });
});

it('the credentials of the configuration go the same way', async () => {
  await expect(identity.bearer(adminKey)).resolves.toMatchObject({
    id: 'static:ADMIN_API_KEY',
    projectId: 'prj_static',
  });
  await expect(identity.identify({ 'x-api-key': adminKey })).resolves.toMatchObject({ method: 'static_key' });
  await expect(
    identity.identify({ authorization: `Basic ${btoa(`${basic.user}:${basic.password}`)}` }),
  ).resolves.toMatchObject({ method: 'basic' });
});
