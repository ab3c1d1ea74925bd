import { createHmac } from 'node:crypto';
import { exportSPKI, type JWTPayload } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, bearer, control, type Door, doors, fromNewAddress, knock, messages } from './support/doors.ts';
import { startGate, type TestGate } from './support/gate.ts';
import { type SigningKey, sign, signingKey, TestIssuer } from './support/issuer.ts';
import { startProvider, type TestProvider } from './support/oidc-provider.ts';

const audience = 'https://portcullis.example';
const scope = 'models:invoke admin';

let key: SigningKey;
let provider: TestProvider;
let gate: TestGate;
let token: string;

beforeAll(async () => {
  key = await signingKey('k1', 'RS256');
  provider = await startProvider([key], 'RS256');
  gate = await startGate({
    env: {
      AUTH_ISSUER: provider.issuer,
      AUTH_AUDIENCE: audience,
      JWKS_URI: `${provider.issuer}/jwks`,
      TRUSTED_PROXIES: '127.0.0.1',
      RATE_LIMIT_ADMIN_PER_MINUTE: '1000',
    },
  });
  token = await provider.token(scope, audience);
});
afterAll(async () => {
  await gate?.stop();
  await provider?.close();
});

/** The same request id for all, so that nothing may differ. */
function come(door: Door, text: string, at: TestGate = gate): Promise<Answer> {
  return knock(at.url, door, { ...fromNewAddress(), 'x-request-id': 'req_same', ...bearer(text) });
}

const nowS = () => Math.floor(Date.now() / 1000);

/** Claims of a good token, changed. */
function claims(change: Record<string, unknown> = {}): JWTPayload {
  const good = { iss: provider.issuer, aud: audience, sub: 'somebody', scope, iat: nowS(), exp: nowS() + 300 };
  return Object.fromEntries(Object.entries({ ...good, ...change }).filter(([, value]) => value !== undefined));
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

describe.each(doors.map((door) => [door.name, door] as const))('%s', (_name, door) => {
  it('opens for a token that a real provider issued, and for the forms that other issuers give theirs', async () => {
    expect(await come(door, token)).toMatchObject({ status: 200 });
    for (const [change, header] of [
      [{}, { typ: 'at+jwt' }],
      [{}, { typ: 'JWT' }],
      [{}, { typ: undefined }],
      [{ aud: ['https://elsewhere.example', audience] }, {}],
      [{ scope: undefined, scp: ['models:invoke', 'mcp:admin'] }, {}],
      [{ scope: undefined, permissions: ['admin'] }, {}],
    ] as const) {
      expect(await come(door, await sign(claims(change), key, header as object))).toMatchObject({
        status: 200,
      });
    }
  });

  it('refuses every other token with the same 401, byte for byte as without any', async () => {
    const stranger = await signingKey(key.kid, 'RS256');
    const [head = '', body = '', signature = ''] = token.split('.');
    const hmacInput = `${part({ alg: 'HS256', typ: 'at+jwt', kid: key.kid })}.${part(claims())}`;
    const publicPem = await exportSPKI(key.pair.publicKey);
    const bad: Record<string, string> = {
      'alg none': `${part({ alg: 'none', typ: 'at+jwt' })}.${part(claims())}.`,
      'alg None, signed': `${part({ alg: 'None', typ: 'at+jwt' })}.${part(claims())}.${signature}`,
      'HS256 under the public key': `${hmacInput}.${createHmac('sha256', publicPem).update(hmacInput).digest('base64url')}`,
      'the signature of another key under our key id': await sign(claims(), stranger),
      'an unknown key id': await sign(claims(), { ...stranger, kid: 'k9' }),
      'a key that the token brings along': await sign(claims(), stranger, { jku: `${provider.issuer}/jwks` }),
      'a changed payload': `${head}.${part(claims({ sub: 'root' }))}.${signature}`,
      'a changed signature': `${head}.${body}.${signature.slice(2)}AA`,
      'another issuer': await sign(claims({ iss: 'https://elsewhere.example/' }), key),
      'another audience': await sign(claims({ aud: 'https://elsewhere.example' }), key),
      'no audience': await sign(claims({ aud: undefined }), key),
      'another type': await sign(claims(), key, { typ: 'logout+jwt' }),
      'an ID token': await sign(claims({ nonce: 'n' }), key, { typ: 'JWT' }),
      'an ID token with at_hash': await sign(claims({ at_hash: 'h' }), key, { typ: 'JWT' }),
      'no expiry': await sign(claims({ exp: undefined }), key),
      'an expired one': await sign(claims({ iat: nowS() - 600, exp: nowS() - 60 }), key),
      'one that lives for a year': await sign(claims({ exp: nowS() + 365 * 86_400 }), key),
      'one of the future': await sign(claims({ nbf: nowS() + 600 }), key),
      'no subject': await sign(claims({ sub: undefined }), key),
      'one that is bound to another key': await sign(claims({ cnf: { jkt: 'x' } }), key),
      'half of one': `${head}.${body}`,
    };
    const without = await knock(gate.url, door, { ...fromNewAddress(), 'x-request-id': 'req_same' });
    for (const [what, text] of Object.entries(bad)) {
      const answer = await come(door, text);
      expect(answer.status, what).toBe(401);
      expect(answer.text, what).toBe(without.text);
    }
  });
});

it('a token without the scope is answered 403', async () => {
  for (const door of doors) {
    const answer = await come(door, await sign(claims({ scope: 'openid email mcp:tools.read' }), key));
    expect(answer.status, door.name).toBe(403);
    expect(door.code(answer.json)).toBe('insufficient_scope');
  }
});

it('the subject that an agent is registered for acts as that agent, and never as an admin', async () => {
  const { agent } = await gate.api<{ agent: { id: string } }>('AgentService/CreateAgent', {
    name: 'by token',
    issuer: provider.issuer,
    subject: 'robot',
  });
  const robot = await sign(claims({ sub: 'robot' }), key);
  const self = { ...control, path: '/portcullis.v1.SystemService/GetSelf' };
  const { json } = await come(self, robot);
  expect(json.principal).toMatchObject({ kind: 'PRINCIPAL_KIND_AGENT', agentId: agent.id, scopes: ['models:invoke'] });
  expect((await come(control, robot)).status).toBe(403);
  expect((await come(messages, robot)).status).toBe(200);
  await gate.api('AgentService/DisableAgent', { agentId: agent.id });
  expect((await come(messages, robot)).status).toBe(401);
});

it('the reasons are in the log, and no token is', async () => {
  const log = await gate.settledLog();
  for (const reason of ['unsigned', 'symmetric_algorithm', 'bad_signature', 'wrong_audience', 'id_token', 'no_expiry'])
    expect(log).toContain(`"auth_reason":"${reason}"`);
  expect(log).toContain('"auth_method":"jwt"');
  expect(log).not.toContain(token.slice(-40));
  expect(log).not.toMatch(/eyJ[\w-]{20}/);
});

describe('an identity provider that is away', () => {
  it('makes a cold gate say 503 cannot_verify at each door in its dialect, and leaves API keys alone', async () => {
    const issuer = await new TestIssuer([key]).listen();
    issuer.mode = 'reset';
    const cold = await startGate({
      env: { AUTH_ISSUER: issuer.url, AUTH_AUDIENCE: audience, JWKS_URI: issuer.jwksUri, TRUSTED_PROXIES: '127.0.0.1' },
    });
    try {
      const text = await sign(claims({ iss: issuer.url }), key);
      for (const door of doors) {
        const answer = await come(door, text, cold);
        expect(answer.status, door.name).toBe(503);
        expect(door.code(answer.json)).toBe('cannot_verify');
        expect(door.sentence(answer.json)).toMatch(/neither accepted nor refused/);
        expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0);
      }
      const { secret } = await cold.agent('independent');
      expect((await come(messages, secret, cold)).status).toBe(200);
      // What no key could save is refused all the same.
      expect((await come(messages, await sign(claims({ iss: issuer.url, aud: 'x' }), key), cold)).status).toBe(401);
      const { status, json } = await knock(cold.url, { ...doors[3], path: '/readyz' });
      expect([status, json.jwks]).toEqual([503, 'failed']);
    } finally {
      await cold.stop();
      await issuer.close();
    }
  });

  it('is not missed by a warm one', async () => {
    expect((await come(messages, token)).status).toBe(200);
    await provider.close();
    expect((await come(messages, token)).status).toBe(200);
    expect((await come(messages, await sign(claims({ sub: 'somebody new' }), key))).status).toBe(200);
    const { json } = await knock(gate.url, { ...doors[3], path: '/readyz' });
    expect(['ok', 'degraded']).toContain(json.jwks);
  });
});
