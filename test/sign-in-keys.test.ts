import { Code, createClient, type Interceptor } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SystemService } from '../server/src/gen/portcullis/v1/system_pb.ts';
import { queryAsOwner } from './support/database.ts';
import { openFaultyLink } from './support/faulty-link.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { alertOf, fieldOf, type Visit, Visitor } from './support/visitor.ts';

let gate: TestGate;
beforeAll(async () => {
  gate = await startGate({ env: { TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT_ADMIN_PER_MINUTE: '1000' } });
});
afterAll(() => gate?.stop());

async function signIn(
  key = gate.adminKey,
  visitor = new Visitor(),
  returnTo = '',
): Promise<{ visitor: Visitor; visit: Visit }> {
  return { visitor, visit: await visitor.post(`${gate.url}/sign-in`, { key, return_to: returnTo }) };
}

/** A key of an operator. */
async function operatorKey(more: object = {}): Promise<{ id: string; secret: string }> {
  const made = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
    name: 'an operator',
    kind: 'PRINCIPAL_KIND_OPERATOR',
    scopes: ['keys:read', 'telemetry:read'],
    ...more,
  });
  return { id: made.key.id, secret: made.secret };
}

const tokenOf = (visitor: Visitor) => visitor.cookies.get(gate.url)?.get('portcullis-session') ?? '';

/** Calls a method as a script of our own page does. */
async function call(visitor: Visitor, method: string, body: object, headers: Record<string, string> = {}) {
  const csrf = fieldOf(await visitor.once('GET', `${gate.url}/account`, {}), 'csrf');
  const usual = { 'content-type': 'application/json', origin: gate.url, 'x-portcullis-csrf': csrf };
  const answer = await visitor.once(
    'POST',
    `${gate.url}/portcullis.v1.${method}`,
    { ...usual, ...headers },
    JSON.stringify(body),
  );
  return { status: answer.status, json: JSON.parse(answer.text) as Record<string, unknown> };
}

describe('signing in with a key', () => {
  it('gives a session to the admin key, which stays a shared credential in it', async () => {
    const { visitor, visit } = await signIn();
    expect(visit).toMatchObject({ status: 200, url: `${gate.url}/account` });
    expect(visit.text).toContain('ADMIN_API_KEY');
    const self = await call(visitor, 'SystemService/GetSelf', {});
    expect(self).toMatchObject({ status: 200, json: { principal: { id: 'static:ADMIN_API_KEY', scopes: ['admin'] } } });
  });

  it("gives a session to an operator's key that may do what the key may, and ends with it", async () => {
    const { id, secret } = await operatorKey();
    const { visitor } = await signIn(secret);
    expect(await call(visitor, 'AgentService/ListKeys', {})).toMatchObject({ status: 200 });
    expect(await call(visitor, 'AgentService/CreateAgent', { name: 'x' })).toMatchObject({ status: 403 });
    await gate.api('AgentService/RevokeKey', { keyId: id });
    expect(await call(visitor, 'AgentService/ListKeys', {})).toMatchObject({ status: 401 });
  });

  it('answers every key that is not for signing in with the same words', async () => {
    const agent = await gate.agent('sign-in agent');
    const signed = await operatorKey({ requireSignature: true });
    const elsewhere = await operatorKey({ cidrs: ['192.0.2.0/24'] });
    const revoked = await operatorKey();
    await gate.api('AgentService/RevokeKey', { keyId: revoked.id });
    const sentences = new Set<string | null>();
    for (const key of [agent.secret, signed.secret, elsewhere.secret, revoked.secret, 'nonsense', '', 'a b', 'ü']) {
      const visitor = new Visitor();
      const visit = await visitor.post(`${gate.url}/sign-in`, { key });
      expect(visit.status).toBe(401);
      sentences.add(alertOf(visit));
      expect(visitor.cookies.get(gate.url)?.size).toBe(0);
    }
    expect([...sentences]).toEqual(['This key does not hold, or is not for signing in.']);
  });

  it('counts failures as at every other door, and keeps no good key waiting', async () => {
    const from = { 'x-forwarded-for': '198.51.100.7' };
    const statuses: number[] = [];
    let retryAfter = 0;
    for (let tries = 0; tries < 8; tries++) {
      const visit = await new Visitor().post(`${gate.url}/sign-in`, { key: `wrong-${tries}` }, from);
      statuses.push(visit.status);
      retryAfter = Number(visit.headers['retry-after'] ?? 0);
    }
    expect(statuses.slice(0, 5)).toEqual([401, 401, 401, 401, 401]);
    expect(statuses.at(-1)).toBe(429);
    expect(retryAfter).toBeGreaterThan(0);
    const good = await new Visitor().post(`${gate.url}/sign-in`, { key: gate.adminKey }, from);
    expect(good.status).toBe(200);
  });

  it('is written down: who, from where, and when it ended', async () => {
    const visitor = new Visitor();
    await visitor.post(`${gate.url}/sign-in`, { key: gate.adminKey }, { 'user-agent': 'TestBrowser/1' });
    const page = await visitor.get(`${gate.url}/account`);
    await visitor.post(`${gate.url}/sign-out`, { csrf: fieldOf(page, 'csrf') });
    const rows = await queryAsOwner<{ action: string; payload: Record<string, unknown> }>(
      gate.database,
      `SELECT action, payload FROM audit_entries WHERE action LIKE 'session.%' ORDER BY id DESC LIMIT 2`,
    );
    expect(rows).toMatchObject([
      { action: 'session.ended', payload: { how: 'signed_out', of: 'static:ADMIN_API_KEY' } },
      {
        action: 'session.started',
        payload: { method: 'key', client_address: expect.stringContaining('198.18.'), user_agent: 'TestBrowser/1' },
      },
    ]);
  });
});

it('one credential may sign in and open pages no more often than it may call, at all of which its rate counts', async () => {
  const slow = await startGate({ database: gate.database, env: { RATE_LIMIT_API_PER_MINUTE: '10' } });
  try {
    const { key, secret } = await gate.api<{ key: { id: string }; secret: string }>('AgentService/CreateKey', {
      name: 'in a loop',
      kind: 'PRINCIPAL_KIND_OPERATOR',
      scopes: ['keys:read'],
    });
    const begun = async () => {
      const body = new URLSearchParams({ key: secret }).toString();
      const headers = { 'content-type': 'application/x-www-form-urlencoded', origin: slow.url };
      return new Visitor().once('POST', `${slow.url}/sign-in`, headers, body);
    };
    const visitor = new Visitor();
    expect((await visitor.post(`${slow.url}/sign-in`, { key: secret })).status).toBe(200);
    const visits = await Promise.all(Array.from({ length: 20 }, begun));
    const [accepted, limited] = [303, 429].map((status) => visits.filter((visit) => visit.status === status));
    // The first sign-in and its page took two; one more may have come in meanwhile.
    expect([8, 9]).toContain(accepted?.length);
    expect(limited?.[0]?.headers['retry-after']).toMatch(/^\d+$/);
    expect(alertOf(limited?.[0] as Visit)).toContain('This credential may make 10 such calls a minute');
    const page = await visitor.once('GET', `${slow.url}/account`, {});
    expect(page.status).toBe(429);
    expect(alertOf(page)).toContain('wait');
    const rows = await queryAsOwner(gate.database, 'SELECT FROM sessions WHERE key_id = $1', [key.id]);
    expect(rows).toHaveLength((accepted?.length ?? 0) + 1);
    // What is counted as accepted has begun.
    const answer = await fetch(`${slow.url}/metrics`, { headers: { authorization: `Bearer ${slow.adminKey}` } });
    const metrics = await answer.text();
    expect(metrics).toContain(`sign_ins_total{method="key",result="accepted"} ${rows.length}\n`);
    expect(metrics).toContain(`sign_ins_total{method="key",result="limited"} ${limited?.length}\n`);
  } finally {
    await slow.stop();
  }
});

describe('the cookie of a session', () => {
  it('is out of reach of scripts, is not sent along by other sites, and is not what the database has', async () => {
    const visit = await new Visitor().once(
      'POST',
      `${gate.url}/sign-in`,
      { 'content-type': 'application/x-www-form-urlencoded', origin: gate.url },
      new URLSearchParams({ key: gate.adminKey }).toString(),
    );
    const [cookie = ''] = [visit.headers['set-cookie'] ?? []].flat();
    expect(cookie).toMatch(/^portcullis-session=[\w-]{65}; Path=\/; HttpOnly; SameSite=Lax$/);
    const token = /=([\w-]+);/.exec(cookie)?.[1] ?? '';
    const rows = await queryAsOwner(gate.database, 'SELECT * FROM sessions ORDER BY id DESC LIMIT 1');
    expect(JSON.stringify(rows)).not.toContain(token);
    expect(Buffer.from(JSON.stringify(rows)).includes(Buffer.from(token))).toBe(false);
  });

  it('is new with each sign-in, and the one before ends', async () => {
    const { visitor } = await signIn();
    const before = tokenOf(visitor);
    await signIn(gate.adminKey, visitor);
    expect(tokenOf(visitor)).not.toBe(before);
    const old = new Visitor();
    old.cookies.set(gate.url, new Map([['portcullis-session', before]]));
    expect((await old.once('GET', `${gate.url}/account`, {})).status).toBe(303);
  });

  it('is of no use when it was made up, or cut, or comes under another name', async () => {
    const { visitor } = await signIn();
    const token = tokenOf(visitor);
    for (const [name, value] of [
      ['portcullis-session', 'x'.repeat(65)],
      ['portcullis-session', token.slice(1)],
      ['portcullis-session', `${token}A`],
      ['portcullis-session', `${token.slice(0, 64)}${token.endsWith('A') ? 'B' : 'A'}`],
      ['__Host-portcullis', token],
      ['portcullis-sign-in', token],
    ]) {
      const other = new Visitor();
      other.cookies.set(gate.url, new Map([[name!, value!]]));
      expect((await other.once('GET', `${gate.url}/account`, {})).status).toBe(303);
    }
  });

  it('opens neither the models door nor anything that names another credential', async () => {
    const { visitor } = await signIn();
    const json = { 'content-type': 'application/json', origin: gate.url };
    const models = await visitor.once('POST', `${gate.url}/v1/messages`, json, '{}');
    expect(models.status).toBe(401);
    const self = await call(visitor, 'SystemService/GetSelf', {}, { authorization: 'Bearer wrong' });
    expect(self.status).toBe(401);
    const agent = await gate.agent('beside a cookie');
    const beside = await call(visitor, 'SystemService/GetSelf', {}, { authorization: `Bearer ${agent.secret}` });
    expect(beside).toMatchObject({ status: 200, json: { principal: { agentId: agent.agentId } } });
  });
});

it('a session is no credential on the gRPC listener, with whatever it may bring', async () => {
  const { visitor } = await signIn();
  const csrf = fieldOf(await visitor.get(`${gate.url}/account`), 'csrf');
  const withCookie: Interceptor = (next) => (request) => {
    request.header.set('cookie', `portcullis-session=${tokenOf(visitor)}`);
    request.header.set('x-portcullis-csrf', csrf);
    return next(request);
  };
  const transport = createGrpcTransport({ baseUrl: gate.grpcUrl, interceptors: [withCookie] });
  await expect(createClient(SystemService, transport).getSelf({})).rejects.toMatchObject({
    code: Code.Unauthenticated,
  });
});

describe('a session', () => {
  it('ends half an hour after its last use, and twelve hours after it began', async () => {
    const { visitor } = await signIn();
    const set = (column: string, text: string) =>
      queryAsOwner(gate.database, `UPDATE sessions SET ${column} = now() + $1::interval WHERE ended_at IS NULL`, [
        text,
      ]);
    await set('last_used_at', '-29 minutes');
    expect((await visitor.once('GET', `${gate.url}/account`, {})).status).toBe(200);
    // That was a use, and was written.
    const [row] = await queryAsOwner<{ fresh: boolean }>(
      gate.database,
      `SELECT last_used_at > now() - interval '1 minute' AS fresh FROM sessions WHERE ended_at IS NULL ORDER BY id DESC LIMIT 1`,
    );
    expect(row?.fresh).toBe(true);
    await set('last_used_at', '-31 minutes');
    expect((await visitor.once('GET', `${gate.url}/account`, {})).status).toBe(303);
    await set('last_used_at', '0');
    expect((await visitor.once('GET', `${gate.url}/account`, {})).status).toBe(200);
    await set('expires_at', '-1 second');
    expect((await visitor.once('GET', `${gate.url}/account`, {})).status).toBe(303);
    expect(await call(visitor, 'SystemService/GetSelf', {})).toMatchObject({ status: 401 });
  });

  it('is listed, and ended by whoever it is or by an admin, and by nobody else', async () => {
    const one = await operatorKey({ name: 'one' });
    const other = await operatorKey({ name: 'other' });
    const { visitor: first } = await signIn(one.secret);
    const { visitor: second } = await signIn(other.secret);
    type Listed = { sessions: { id: string; keyId: string; current: boolean; clientAddress: string }[] };
    const own = (await call(first, 'ProjectService/ListSessions', {})).json as unknown as Listed;
    expect(own.sessions).toMatchObject([
      { keyId: one.id, current: true, clientAddress: expect.stringContaining('198.18.') },
    ]);
    const id = own.sessions[0]?.id ?? '';
    expect(await call(second, 'ProjectService/EndSession', { sessionId: id })).toMatchObject({ status: 404 });
    const all = await gate.api<Listed>('ProjectService/ListSessions');
    expect(all.sessions.map(({ keyId }) => keyId)).toEqual(expect.arrayContaining([one.id, other.id]));
    await gate.api('ProjectService/EndSession', { sessionId: id });
    expect((await first.once('GET', `${gate.url}/account`, {})).status).toBe(303);
    await expect(gate.api('ProjectService/EndSession', { sessionId: id })).rejects.toThrow('404');
    expect(await call(second, 'ProjectService/ListSessions', {})).toMatchObject({ status: 200 });
  });

  it('of a principal is one of twenty at most', async () => {
    const { secret, id } = await operatorKey();
    const { visitor: oldest } = await signIn(secret);
    for (let count = 0; count < 20; count++) await signIn(secret);
    expect((await oldest.once('GET', `${gate.url}/account`, {})).status).toBe(303);
    const [row] = await queryAsOwner<{ count: number }>(
      gate.database,
      'SELECT count(*)::int AS count FROM sessions WHERE key_id = $1 AND ended_at IS NULL',
      [id],
    );
    expect(row?.count).toBe(20);
  });

  it('does nothing without its CSRF token and our own Origin', async () => {
    const { visitor } = await signIn();
    const page = await visitor.get(`${gate.url}/account`);
    const csrf = fieldOf(page, 'csrf');
    const foreign = fieldOf(await (await signIn()).visitor.get(`${gate.url}/account`), 'csrf');
    expect(csrf).toMatch(/^[\w-]{43}$/);
    for (const [token, headers] of [
      ['', {}],
      [foreign, {}],
      [`${csrf}x`, {}],
      [csrf, { origin: '' }],
      [csrf, { origin: 'null' }],
      [csrf, { origin: 'http://localhost:1' }],
      [csrf, { origin: gate.url, 'sec-fetch-site': 'cross-site' }],
      [csrf, { origin: gate.url, 'sec-fetch-site': 'same-site' }],
    ] as const) {
      const visit = await visitor.post(`${gate.url}/sign-out`, { csrf: token }, headers);
      expect(visit.status).toBe(403);
      const body = JSON.stringify({ name: 'csrf' });
      const api = await visitor.once(
        'POST',
        `${gate.url}/portcullis.v1.ProjectService/CreateTeam`,
        { 'content-type': 'application/json', origin: gate.url, 'x-portcullis-csrf': token, ...headers },
        body,
      );
      expect(api.status).toBe(403);
    }
    expect(await gate.api('ProjectService/ListTeams')).toMatchObject({ teams: [] });
    expect(await call(visitor, 'ProjectService/CreateTeam', { name: 'meant' })).toMatchObject({ status: 200 });
    const out = await visitor.post(`${gate.url}/sign-out`, { csrf });
    expect(out.url).toBe(`${gate.url}/sign-in`);
    expect(await call(visitor, 'SystemService/GetSelf', {})).toMatchObject({ status: 401 });
  });

  it('of a key of the configuration ends when that key is another one', async () => {
    const { visitor } = await signIn();
    const token = tokenOf(visitor);
    const changed = await startGate({ database: gate.database });
    try {
      const other = new Visitor();
      other.cookies.set(changed.url, new Map([['portcullis-session', token]]));
      expect((await other.once('GET', `${changed.url}/account`, {})).status).toBe(303);
    } finally {
      await changed.stop();
    }
  });
});

describe('the pages', () => {
  it('may not be framed, kept, scripted or guessed', async () => {
    const { visitor } = await signIn();
    for (const path of ['/sign-in?return_to=/account', '/account']) {
      const who = path === '/account' ? visitor : new Visitor();
      const { status, headers, text } = await who.once('GET', `${gate.url}${path}`, {});
      expect(status).toBe(200);
      expect(headers['content-security-policy']).toBe(
        "default-src 'none';style-src 'self';img-src 'self';form-action 'self';frame-ancestors 'none';base-uri 'none'",
      );
      expect(headers['x-frame-options']).toBe('DENY');
      expect(headers['cache-control']).toBe('no-store');
      expect(headers['referrer-policy']).toBe('same-origin');
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(text).not.toMatch(/<script|style=|javascript:| on\w+=/i);
      expect(text).not.toContain(gate.adminKey);
    }
  });

  it('lead nowhere but back to a path of ours', async () => {
    for (const [asked, path] of [
      ['/account?x=1', '/account?x=1'],
      ['//evil.example/', '/account'],
      ['/\\evil.example/', '/account'],
      ['/\t/evil.example/', '/account'],
      ['https://evil.example/', '/account'],
      ['javascript:alert(1)', '/account'],
      ['/sign-out', '/account'],
      ['/sign-in/callback?code=1', '/account'],
      ['/.//evil.example', '/account'],
      ['/%0d%0aset-cookie:x', '/%0d%0aset-cookie:x'],
      [`/${'a'.repeat(2000)}`, '/account'],
    ]) {
      const { visitor } = await signIn();
      const page = await visitor.once('GET', `${gate.url}/sign-in?return_to=${encodeURIComponent(asked!)}`, {});
      expect(page).toMatchObject({ status: 303, headers: { location: path } });
      const posted = await new Visitor().once(
        'POST',
        `${gate.url}/sign-in`,
        { 'content-type': 'application/x-www-form-urlencoded', origin: gate.url },
        new URLSearchParams({ key: gate.adminKey, return_to: asked! }).toString(),
      );
      expect(posted).toMatchObject({ status: 303, headers: { location: path } });
    }
  });

  it('bring back to where somebody was who had to sign in first', async () => {
    const visitor = new Visitor();
    const asked = await visitor.get(`${gate.url}/account?tab=sessions`);
    expect(fieldOf(asked, 'return_to')).toBe('/account?tab=sessions');
    const visit = await visitor.post(`${gate.url}/sign-in`, {
      key: gate.adminKey,
      return_to: fieldOf(asked, 'return_to'),
    });
    expect(visit).toMatchObject({ status: 200, url: `${gate.url}/account?tab=sessions` });
  });

  it('refuse forms that are too large, of another kind, or for a provider that is not there', async () => {
    const visitor = new Visitor();
    expect((await visitor.post(`${gate.url}/sign-in`, { key: 'x'.repeat(30_000) })).status).toBe(413);
    const json = { 'content-type': 'application/json' };
    expect((await visitor.post(`${gate.url}/sign-in`, { key: gate.adminKey }, json)).status).toBe(401);
    expect((await visitor.post(`${gate.url}/sign-in/start`, {})).status).toBe(404);
    expect((await visitor.get(`${gate.url}/sign-in/callback?code=1&state=2`)).status).toBe(404);
    expect((await visitor.post(`${gate.url}/sign-in`, { key: gate.adminKey }, { origin: '' })).status).toBe(403);
  });

  it('are counted, by method and result', async () => {
    const answer = await fetch(`${gate.url}/metrics`, { headers: { authorization: `Bearer ${gate.adminKey}` } });
    const text = await answer.text();
    for (const result of ['accepted', 'refused', 'limited'])
      expect(text).toMatch(new RegExp(`sign_ins_total{method="key",result="${result}"} [1-9]`));
  });
});

it('without the database a session can be neither found nor begun, and the page says so', async () => {
  const link = await openFaultyLink(gate.database.appUrl);
  const far = await startGate({
    database: gate.database,
    env: { DATABASE_URL: link.url, ADMIN_API_KEY: gate.adminKey, DATABASE_CONNECT_MS: '500' },
  });
  try {
    const visitor = new Visitor();
    await visitor.post(`${far.url}/sign-in`, { key: gate.adminKey });
    link.cut();
    const page = await visitor.get(`${far.url}/account`);
    expect(page.status).toBe(503);
    expect(alertOf(page)).toBe('The session cannot be looked up now: try again shortly.');
    expect((await visitor.post(`${far.url}/sign-in`, { key: gate.adminKey })).status).toBe(503);
    link.mend();
    await expect.poll(() => visitor.get(`${far.url}/account`), { timeout: 20_000 }).toMatchObject({ status: 200 });
  } finally {
    await far.stop();
    await link.close();
  }
});

describe('by https', () => {
  it('the cookie has the prefix that no other host can plant, and plain http of another name is refused', async () => {
    const secure = await startGate({ env: { PUBLIC_URL: 'https://gate.example', ALLOWED_HOSTS: 'plain.example' } });
    try {
      const form = { 'content-type': 'application/x-www-form-urlencoded' };
      const body = new URLSearchParams({ key: secure.adminKey }).toString();
      const come = (host: string, origin: string) =>
        new Visitor().once('POST', `${secure.url}/sign-in`, { ...form, host, origin }, body);
      const visit = await come('gate.example', 'https://gate.example');
      expect(String(visit.headers['set-cookie'])).toMatch(
        /^__Host-portcullis=[\w-]{65}; Path=\/; HttpOnly; SameSite=Lax; Secure$/,
      );
      expect(visit.headers['strict-transport-security']).toBe('max-age=63072000');
      const plain = await come('plain.example', 'http://plain.example');
      expect(plain.status).toBe(403);
      expect(alertOf(plain)).toContain('Signing in needs https');
    } finally {
      await secure.stop();
    }
  });
});
