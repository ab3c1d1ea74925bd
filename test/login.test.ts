import { describe, expect, it, vi } from 'vitest';
import { queryAsOwner } from './support/database.ts';
import { begin, client, decide, poll, postForm, refresh, signIn } from './support/login-client.ts';
import { alertOf, fieldOf } from './support/visitor.ts';
import {
  provider,
  gate,
  other,
  account,
  type Tokens,
  logIn,
  self,
  holds,
  endsEverywhere,
  set,
  audited,
  isNotedAsUsed,
  invoke,
  developerScopes,
  useLoginGates,
} from './support/login-gates.ts';

useLoginGates();

describe('a login', () => {
  it('is asked for at one replica, confirmed at the other, and fetched at the first', async () => {
    const asked = await begin(gate);
    expect(asked).toMatchObject({
      device_code: expect.stringMatching(/^pcd_[\w-]{43}$/),
      user_code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
      verification_uri: `${gate.url}/device`,
      verification_uri_complete: `${gate.url}/device?user_code=${asked.user_code}`,
      expires_in: 600,
      interval: 5,
    });
    expect((await poll(gate, asked.device_code)).json.error).toBe('authorization_pending');
    const visitor = await signIn(other, provider, account());
    const page = await decide(other, visitor, asked.user_code.toLowerCase().replace('-', ' '));
    expect(page.text).toContain('go back to your terminal');
    const { json, headers } = await poll(gate, asked.device_code);
    expect(json).toMatchObject({ token_type: 'Bearer', scope: developerScopes });
    expect(json.expires_in).toBeGreaterThan(3_500);
    expect(json.expires_in).toBeLessThanOrEqual(3_600);
    expect(headers.get('cache-control')).toBe('no-store');
    for (const at of [gate, other]) {
      const { principal } = await self(json.access_token, at);
      expect(principal).toMatchObject({ kind: 'PRINCIPAL_KIND_OPERATOR', scopes: developerScopes.split(' ') });
      expect(principal.id).toBe(principal.personId);
    }
  });

  it('gives what was asked for of what the person has, and admin only when it is asked for', async () => {
    const admin = await logIn(account(['admins']));
    expect(admin.tokens.scope.split(' ')).toContain('keys:write');
    expect(admin.tokens.scope.split(' ')).not.toContain('admin');
    await expect(gate.api('ProjectService/CreateProject', { name: 'x' }, admin.tokens.access_token)).rejects.toThrow(
      '403',
    );
    const asAdmin = await logIn(account(['admins']), { scope: 'admin' });
    expect(asAdmin.tokens.scope).toBe('admin');
    const developer = await logIn(account(), { scope: 'keys:write admin:read telemetry:read' });
    expect(developer.tokens.scope).toBe('policy:read runs:read tasks:read telemetry:read tools:read');
  });

  it('that asks for nothing that the person has is not confirmed', async () => {
    const visitor = await signIn(gate, provider, account());
    const asked = await begin(gate, { scope: 'keys:write approvals:decide' });
    const page = await decide(gate, visitor, asked.user_code);
    expect(page.status).toBe(403);
    expect(alertOf(page)).toContain('none of the scopes');
  });

  it('is written down from its confirmation to its end, and no secret with it', async () => {
    const { visitor, tokens, asked } = await logIn();
    const id = (await audited('login.started')).at(-1)?.target ?? '';
    expect(id).toMatch(/^lgn_/);
    await visitor.post(`${gate.url}/account/logins/end`, {
      csrf: fieldOf(await visitor.get(`${gate.url}/account`), 'csrf'),
      login_id: id,
    });
    for (const action of ['login.approved', 'login.started', 'login.ended'])
      expect((await audited(action)).map(({ target }) => target)).toContain(id);
    const { principal } = { principal: (await audited('token.issued')).at(-1)?.payload };
    expect(principal).toMatchObject({ login_id: id, name: 'login of a test', kind: 'operator' });
    const everything = JSON.stringify(await set('SELECT * FROM audit_entries')) + (await gate.settledLog());
    for (const secret of [tokens.access_token, tokens.refresh_token, asked.device_code, asked.user_code])
      expect(everything).not.toContain(secret);
    await endsEverywhere(tokens.access_token);
  });
});

describe('a device code', () => {
  it('that is asked about too often is told to slow down', async () => {
    const { device_code: code } = await begin(gate);
    const errors: string[] = [];
    for (let polls = 0; polls < 3; polls++) errors.push((await poll(gate, code)).json.error);
    expect(errors).toEqual(['authorization_pending', 'slow_down', 'slow_down']);
    const [row] = await queryAsOwner<{ interval_s: number }>(
      gate.database,
      'SELECT interval_s FROM device_codes ORDER BY id DESC LIMIT 1',
    );
    expect(row?.interval_s).toBe(15);
  });

  it('that a person denied, or that expired, or that was made up, gives nothing', async () => {
    const visitor = await signIn(gate, provider, account());
    const denied = await begin(gate);
    expect((await decide(gate, visitor, denied.user_code, 'deny')).text).toContain('gets nothing');
    expect((await poll(gate, denied.device_code)).json.error).toBe('access_denied');
    const late = await begin(gate);
    await set("UPDATE device_codes SET expires_at = now() - interval '1 second' WHERE state = 'pending'");
    expect((await poll(gate, late.device_code)).json.error).toBe('expired_token');
    expect((await decide(gate, visitor, late.user_code)).status).toBe(404);
    const confirmed = await begin(gate);
    await decide(gate, visitor, confirmed.user_code);
    await set("UPDATE device_codes SET expires_at = now() - interval '1 second' WHERE state = 'approved'");
    expect((await poll(gate, confirmed.device_code)).json.error).toBe('expired_token');
    for (const madeUp of ['pcd_', `pcd_${'A'.repeat(43)}`, denied.user_code, 'x'.repeat(10_000)])
      expect((await poll(gate, madeUp)).json.error).toBe('invalid_grant');
    expect((await audited('login.denied')).length).toBe(1);
  });

  it('of one is nothing to whoever has only the code of another', async () => {
    const visitor = await signIn(gate, provider, account());
    const [mine, other] = [await begin(gate), await begin(gate)];
    await decide(gate, visitor, mine.user_code);
    expect((await poll(gate, other.device_code)).json.error).toBe('authorization_pending');
    expect((await poll(gate, mine.device_code)).status).toBe(200);
  });

  it('whose answer was lost gives the same once more, until it was used', async () => {
    const { asked, tokens } = await logIn();
    const again = await poll(other, asked.device_code);
    expect([again.json.access_token, again.json.refresh_token]).toEqual([tokens.access_token, tokens.refresh_token]);
    expect(await holds(tokens.access_token)).toBe(true);
  });

  it('is used once: when it comes back later the login ends, and its key', async () => {
    const { asked, tokens } = await logIn();
    await set("UPDATE logins SET last_used_at = last_used_at - interval '61 seconds'");
    expect((await poll(gate, asked.device_code)).json.error).toBe('invalid_grant');
    expect((await refresh(gate, tokens.refresh_token)).json.error).toBe('invalid_grant');
    await endsEverywhere(tokens.access_token);
  });

  it('becomes one login, for many who ask at the same moment too', async () => {
    const visitor = await signIn(gate, provider, account());
    const asked = await begin(gate);
    await decide(gate, visitor, asked.user_code);
    const answers = await Promise.all([gate, other, gate, other].map((at) => poll(at, asked.device_code)));
    const given = answers.flatMap(({ status, json }) => (status === 200 ? [json.refresh_token] : []));
    expect(given.length).toBeGreaterThan(0);
    expect(new Set(given).size).toBe(1);
  });

  it('is one of five hundred of a site that wait, whatever /64 of it they come from', async () => {
    const from = { 'x-forwarded-for': '2001:db8:7:1::1' };
    const form = { ...client, client_name: 'site' };
    await postForm(gate, '/oauth/device_authorization', form, from);
    await set(
      `INSERT INTO device_codes (id, digest, user_code_digest, client_name, address, address_prefix, address_site, interval_s,
         expires_at)
       SELECT 'lgn_s' || n, sha256(n::text::bytea), sha256(n::text::bytea), 'site', address, n::text, address_site, 5, expires_at
       FROM device_codes, generate_series(1, 499) AS n WHERE client_name = 'site'`,
    );
    const of = (address: string) =>
      postForm(other, '/oauth/device_authorization', form, { 'x-forwarded-for': address });
    expect((await of('2001:db8:7:ffff::1')).status).toBe(429);
    expect((await of('2001:db8:8:1::1')).status).toBe(200);
    await set("DELETE FROM device_codes WHERE client_name = 'site'");
  });

  it('is one of fifty of an address that wait: more are turned away, none is dropped', async () => {
    const from = { 'x-forwarded-for': '203.0.113.77' };
    const form = { ...client, client_name: 'flood' };
    const first = await postForm(gate, '/oauth/device_authorization', form, from);
    await set(
      `INSERT INTO device_codes (id, digest, user_code_digest, client_name, address, address_prefix, address_site, interval_s,
         expires_at)
       SELECT 'lgn_' || n, sha256(n::text::bytea), sha256(n::text::bytea), 'x', address, address_prefix, address_site, 5, expires_at
       FROM device_codes, generate_series(1, 49) AS n WHERE client_name = 'flood'`,
    );
    const refused = await postForm(gate, '/oauth/device_authorization', form, from);
    expect(refused).toMatchObject({ status: 429, json: { error: 'temporarily_unavailable' } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await poll(gate, first.json.device_code)).json.error).toBe('authorization_pending');
    const statuses: number[] = [];
    for (let tries = 0; tries < 25; tries++)
      statuses.push((await postForm(other, '/oauth/device_authorization', form, from)).status);
    expect(new Set(statuses)).toEqual(new Set([429]));
    await set("DELETE FROM device_codes WHERE client_name IN ('x', 'flood')");
  });
});

describe('a refresh credential', () => {
  it('changes with each use, and the key before it holds for five minutes more, with no others', async () => {
    const { tokens } = await logIn();
    const keys = [tokens.access_token];
    let credential = tokens.refresh_token;
    for (let times = 0; times < 4; times++) {
      const { json } = await refresh(gate, credential);
      keys.push(json.access_token);
      credential = json.refresh_token;
    }
    expect(new Set(keys).size).toBe(5);
    await endsEverywhere(...keys.slice(0, 3));
    expect(await holds(keys[3] ?? '')).toBe(true);
    expect(await holds(keys[4] ?? '', other)).toBe(true);
    const { principal } = await self(keys[4] ?? '');
    const [row] = await queryAsOwner<{ active: number; seconds: number }>(
      gate.database,
      `SELECT count(*)::int AS active, min(extract(epoch FROM expires_at - now()))::int AS seconds FROM api_keys
       WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > now()`,
      [principal.personId],
    );
    expect(row?.active).toBe(2);
    expect(row?.seconds).toBeLessThanOrEqual(300);
  });

  it('that two use at once gives both the same, at any replica', async () => {
    const { tokens } = await logIn();
    const answers = await Promise.all([gate, other, gate, other, gate].map((at) => refresh(at, tokens.refresh_token)));
    const texts = answers.map(({ json }) => `${json.access_token} ${json.refresh_token} ${json.scope}`);
    expect(new Set(texts).size).toBe(1);
    expect(await holds(answers[0]?.json.access_token)).toBe(true);
    expect((await refresh(gate, answers[0]?.json.refresh_token)).status).toBe(200);
  });

  it('that was used and comes back later ends the login, and both keys, for thief and owner alike', async () => {
    const { tokens } = await logIn();
    const { json: next } = await refresh(gate, tokens.refresh_token);
    expect(await holds(next.access_token)).toBe(true);
    const { keyId } = (await self(next.access_token)).principal;
    await vi.waitFor(async () => expect(await isNotedAsUsed(keyId)).toBe(true), { timeout: 20_000, interval: 50 });
    await set("UPDATE logins SET last_used_at = last_used_at - interval '11 seconds'");
    expect(await holds(tokens.access_token)).toBe(true);
    expect((await refresh(other, tokens.refresh_token)).json.error).toBe('invalid_grant');
    expect((await refresh(gate, next.refresh_token)).json.error).toBe('invalid_grant');
    await endsEverywhere(tokens.access_token, next.access_token);
    expect((await audited('login.ended')).at(-1)?.payload).toMatchObject({ how: 'reused' });
  });

  it('whose answer was lost is good for a minute, as long as nobody used what it gave', async () => {
    const { tokens } = await logIn();
    const { json: lost } = await refresh(gate, tokens.refresh_token);
    await set("UPDATE logins SET last_used_at = last_used_at - interval '50 seconds'");
    expect((await refresh(other, tokens.refresh_token)).json.refresh_token).toBe(lost.refresh_token);
    await set("UPDATE logins SET last_used_at = last_used_at - interval '11 seconds'");
    expect((await refresh(other, tokens.refresh_token)).json.error).toBe('invalid_grant');
    await endsEverywhere(lost.access_token);
  });

  it('takes nothing of the rate of its login from whoever made it up', async () => {
    const { tokens } = await logIn();
    const madeUp = tokens.refresh_token.slice(0, -8) + 'AAAAAAAA';
    for (let tries = 0; tries < 15; tries++) expect((await refresh(gate, madeUp)).status).toBe(400);
    expect((await refresh(gate, tokens.refresh_token)).status).toBe(200);
  });

  it('is no way out of a kill switch on a key of the login, before or after', async () => {
    const { tokens } = await logIn();
    const { keyId } = (await self(tokens.access_token)).principal;
    const killSwitch = { scope: 'KILL_SCOPE_KEY', value: keyId, reason: 'A test.' };
    const before = (await refresh(gate, tokens.refresh_token)).json;
    await gate.api('PolicyService/EngageKillSwitch', killSwitch);
    const after = (await refresh(gate, before.refresh_token)).json;
    for (const key of [before.access_token, after.access_token])
      for (const at of [gate, other])
        await vi.waitFor(async () => expect(await invoke(at, key)).toContain('kill switch'), { timeout: 20_000 });
  });

  it('of any earlier generation is known for what it is, at once', async () => {
    const { tokens } = await logIn();
    const second = (await refresh(gate, tokens.refresh_token)).json;
    await refresh(gate, second.refresh_token);
    expect((await refresh(gate, tokens.refresh_token)).json.error).toBe('invalid_grant');
    await endsEverywhere(tokens.access_token, second.access_token);
  });

  it('that was made up or changed is refused, and ends nothing', async () => {
    const { tokens } = await logIn();
    const [, id = ''] = tokens.refresh_token.split('_');
    const rest = tokens.refresh_token.slice(`pcr_${id}_1_`.length);
    for (const text of [
      `pcr_${id}_2_${rest}`,
      `pcr_${id}_1_${rest.slice(0, -1)}${rest.endsWith('A') ? 'B' : 'A'}`,
      `pcr_${id}_999999999_${rest}`,
      `pcr_${id}_0_${rest}`,
      `pcr_${'0'.repeat(26)}_1_${rest}`,
      tokens.access_token,
      '',
    ])
      expect((await refresh(gate, text)).status).toBe(400);
    expect((await refresh(gate, tokens.refresh_token)).status).toBe(200);
  });

  it('gives fewer scopes where fewer are asked for, and never more', async () => {
    const { tokens } = await logIn(account(['admins']), { scope: 'telemetry:read runs:write' });
    for (const scope of ['admin', 'telemetry:read keys:read', 'runs:write telemetry:write'])
      expect((await refresh(gate, tokens.refresh_token, { scope })).json.error).toBe('invalid_scope');
    const { json } = await refresh(gate, tokens.refresh_token, { scope: 'runs:read' });
    expect((await self(json.access_token)).principal.scopes).toEqual(['runs:read']);
    // The login itself has them still.
    expect((await refresh(gate, json.refresh_token)).json.scope).toBe('runs:write telemetry:read');
  });

  it('follows the roles of the person, as does the key that is there', async () => {
    const { tokens, visitor, who } = await logIn(account(['admins']), { scope: 'keys:write telemetry:read' });
    expect(visitor).toBeDefined();
    await signIn(gate, provider, { ...who, groups: ['engineers'] });
    await vi.waitFor(async () =>
      expect((await self(tokens.access_token)).principal.scopes).toEqual(['telemetry:read']),
    );
    expect((await refresh(gate, tokens.refresh_token)).json.scope).toBe('telemetry:read');
  });

  it('ends thirty days after its last use, and ninety after the login', async () => {
    const idle = await logIn();
    const at = (tokens: Tokens) => `lgn_${tokens.refresh_token.split('_')[1]}`;
    await set("UPDATE logins SET last_used_at = now() - interval '31 days' WHERE id = $1", [at(idle.tokens)]);
    expect((await refresh(gate, idle.tokens.refresh_token)).json.error).toBe('invalid_grant');
    const old = await logIn();
    await set("UPDATE logins SET expires_at = now() - interval '1 second' WHERE id = $1", [at(old.tokens)]);
    expect((await refresh(gate, old.tokens.refresh_token)).json.error).toBe('invalid_grant');
    const ending = await logIn();
    await set("UPDATE logins SET expires_at = now() + interval '20 seconds' WHERE id = $1", [at(ending.tokens)]);
    expect((await refresh(gate, ending.tokens.refresh_token)).json.expires_in).toBeLessThanOrEqual(20);
  });
});

describe('the endpoints', () => {
  it('refuse in the words of OAuth, keep nothing, and survive what is too large or not a form', async () => {
    const grant = { grant_type: 'refresh_token' };
    for (const [path, form, status, error] of [
      ['token', {}, 400, 'invalid_request'],
      ['token', { ...client, grant_type: 'password' }, 400, 'unsupported_grant_type'],
      ['token', { ...client, grant_type: '__proto__' }, 400, 'unsupported_grant_type'],
      ['token', { ...client, ...grant }, 400, 'invalid_request'],
      ['token', { ...grant, refresh_token: 'x' }, 400, 'invalid_request'],
      ['token', { ...grant, refresh_token: 'x', client_id: 'another' }, 400, 'invalid_client'],
      ['token', 'grant_type=refresh_token&grant_type=refresh_token', 400, 'invalid_request'],
      ['token', `grant_type=${'x'.repeat(30_000)}`, 413, 'invalid_request'],
      ['token', '%', 400, 'invalid_request'],
      ['device_authorization', {}, 400, 'invalid_request'],
      ['device_authorization', { ...client, scope: 'everything' }, 400, 'invalid_scope'],
      ['device_authorization', { ...client, scope: 'admin '.repeat(3_000) }, 200, undefined],
      ['device_authorization', { ...client, client_name: 'x'.repeat(81) }, 400, 'invalid_request'],
      ['device_authorization', { ...client, client_name: 'two\nlines' }, 400, 'invalid_request'],
      ['device_authorization', { ...client, client_name: 'turned \u202e round' }, 400, 'invalid_request'],
      ['revoke', {}, 400, 'invalid_request'],
    ] as const) {
      const answer = await postForm(gate, `/oauth/${path}`, form);
      expect([form, answer.status, answer.json.error]).toEqual([form, status, error]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
      expect(answer.json).not.toHaveProperty('internal');
    }
    for (const type of ['application/json', 'text/plain', 'multipart/form-data; boundary=x'])
      expect((await postForm(gate, '/oauth/token', '{}', { 'content-type': type })).json.error).toBe('invalid_request');
    expect((await fetch(`${gate.url}/oauth/token?grant_type=refresh_token`)).status).toBe(404);
  });

  it('are on HTTP_ADDR alone, and are counted', async () => {
    const answer = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } });
    const text = await answer.text();
    for (const labels of [
      'grant="device_code",result="issued"',
      'grant="device_code",result="pending"',
      'grant="device_code",result="refused"',
      'grant="refresh_token",result="issued"',
      'grant="refresh_token",result="refused"',
    ])
      expect(text).toMatch(new RegExp(`oauth_grants_total\\{${labels}\\} [1-9]`));
    expect(text).toMatch(/audit_entries_total\{action="login.approved"\} [1-9]/);
  });
});
