import { createHmac } from 'node:crypto';
import { exportJWK, exportSPKI, type JWTPayload } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { ManualClock, openIdentity, operatorOf, type TestIdentity } from '../../../test/support/identity.ts';
import { fetchJson, sign, type SigningKey, signingKey, TestIssuer } from '../../../test/support/issuer.ts';
import { startProvider, type TestProvider } from '../../../test/support/oidc-provider.ts';
import { newAccessRecord } from '../base/access-record.ts';
import type { Clock } from '../base/clock.ts';
import type { IdentityIndex } from './identity-index.ts';
import type { IssuerOptions } from './issuer.ts';
import { JwtVerifier } from './jwt.ts';
import type { Presented } from './certificates/presented.ts';
import type { RefusalReason } from './model.ts';

const audience = 'https://portcullis.example/';
let db: TestDatabase;
let identity: TestIdentity;
let provider: TestProvider;
let strict: TestIssuer;
let keys: readonly [SigningKey, SigningKey, SigningKey];
let verifier: JwtVerifier;
let projectId: string;
let signatures = 0;

beforeAll(async () => {
  db = await createTestDatabase();
  projectId = 'prj_tokens';
  await db.pool.query(`INSERT INTO projects (id, name, control_version) VALUES ($1, 'tokens', 1)`, [projectId]);
  keys = [await signingKey('es', 'ES256'), await signingKey('rs', 'RS256'), await signingKey('ed', 'EdDSA')];
  provider = await startProvider(keys.slice(0, 2), 'ES256');
  strict = await new TestIssuer(keys).listen();
  identity = await openIdentity(db, ({ index, clock }) => {
    const lenient = { issuer: provider.issuer, audience: [audience], jwksUri: `${provider.issuer}/jwks`, projectId };
    verifier = verifierFor([lenient, strictOptions()], clock, () => signatures++, index);
    return [verifier];
  });
});
beforeEach(() => identity.clock.catchUp());
afterAll(async () => {
  await identity.close();
  await provider.close();
  await strict.close();
  await db.drop();
});

function strictOptions(): IssuerOptions {
  return {
    issuer: strict.url,
    audience: [audience, 'other-name'],
    jwksUri: strict.jwksUri,
    projectId,
    requireAtJwt: true,
    clientId: 'other-name',
    maxLifetimeS: 3600,
    scopeClaim: 'roles',
  };
}

function verifierFor(
  issuers: readonly IssuerOptions[],
  clock: Clock = identity.clock,
  onSignature: () => void = () => undefined,
  index: IdentityIndex = identity.index,
): JwtVerifier {
  return new JwtVerifier({ issuers, index, clock, fetchJson, onFetch: () => undefined, onSignature });
}

const nowS = () => Math.floor(identity.clock.now() / 1000);

/** Claims of a good token of the strict issuer. */
function goodClaims(more: JWTPayload = {}): JWTPayload {
  return {
    iss: strict.url,
    aud: audience,
    sub: 'client-1',
    iat: nowS(),
    exp: nowS() + 600,
    scope: 'models:invoke',
    ...more,
  };
}

/** Why a token does not hold; null when it does. */
async function reasonOf(token: string, by = verifier): Promise<RefusalReason | null> {
  const verdict = await by.verify({ kind: 'token', text: token });
  if (!verdict) return 'unrecognised';
  return 'reason' in verdict ? verdict.reason : null;
}

const segment = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

describe('a token that is bound to a certificate', () => {
  const certificateOf = (thumbprint: string): Presented => ({
    thumbprint,
    validFrom: identity.clock.now() - 1000,
    validTo: identity.clock.now() + 1000,
    spiffeId: null,
    refusal: 'certificate_without_name',
  });
  const [mine, other] = ['A'.repeat(43), 'E'.repeat(43)];

  it('holds with that certificate alone (RFC 8705, section 3)', async () => {
    const token = await sign(goodClaims({ cnf: { 'x5t#S256': mine } }), keys[0]);
    const identify = (certificate: Presented, from: string) => {
      const access = newAccessRecord('req_1');
      return identity.identify({ authorization: `Bearer ${token}` }, { certificate, from, access }).then(
        ({ binding }) => binding,
        () => access.authReason,
      );
    };
    expect(await identify(certificateOf(mine), '203.0.113.21')).toEqual({ by: 'x5t#S256', value: mine });
    expect(await identify(null, '203.0.113.22')).toBe('certificate_missing');
    expect(await identify(certificateOf(other), '203.0.113.23')).toBe('certificate_mismatch');
    expect(await identify('certificate_untrusted', '203.0.113.24')).toBe('certificate_untrusted');
    const ended = { ...(certificateOf(mine) as object), validTo: identity.clock.now() - 1 } as Presented;
    expect(await identify(ended, '203.0.113.25')).toBe('certificate_expired');
  });

  it('holds for nobody when its thumbprint is none', async () => {
    for (const text of ['', 'AA', `${mine}AAAA`]) {
      const token = await sign(goodClaims({ cnf: { 'x5t#S256': text } }), keys[0]);
      const given = { certificate: certificateOf(mine), from: `203.0.113.${30 + text.length}` };
      await expect(identity.identify({ authorization: `Bearer ${token}` }, given)).rejects.toThrow('credential');
    }
  });
});

describe('a token of a real OpenID provider', () => {
  it('is a service of the project of its issuer, with the scopes that it was given', async () => {
    const access = newAccessRecord('req_1');
    const token = await provider.token('models:invoke mcp:tools.exec', audience);
    const principal = await identity.identify({ authorization: `Bearer ${token}` }, { access });
    expect(principal).toMatchObject({
      kind: 'service',
      id: `${provider.issuer}|agent-client`,
      projectId,
      method: 'jwt',
      scopes: new Set(['models:invoke', 'tools:call']),
      agentId: null,
      keyId: null,
      token: { issuer: provider.issuer, subject: 'agent-client', audience: [audience] },
    });
    expect(access).toMatchObject({ subject: 'agent-client', authMethod: 'jwt', audience: [audience], projectId });
    expect(access.jti).toBeTruthy();
  });

  it('is not accepted when it was made for somebody else, with a payload that was changed, or with its signature cut', async () => {
    expect(await reasonOf(await provider.token('models:invoke', 'https://elsewhere.example/'))).toBe('wrong_audience');
    const token = await provider.token('models:invoke', audience);
    const [header = '', payload = '', signature = ''] = token.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as JWTPayload;
    expect(await reasonOf(`${header}.${segment({ ...claims, scope: 'admin' })}.${signature}`)).toBe('bad_signature');
    expect(await reasonOf(`${header}.${payload}.${signature.slice(0, -4)}`)).toBe('bad_signature');
    expect(await reasonOf(`${header}.${payload}.`)).toBe('bad_signature');
    expect(await reasonOf(token)).toBeNull();
  });

  it('is the agent that is registered for its subject, which can hold neither admin nor approvals', async () => {
    const { result, version } = await identity.agents.create(operatorOf(projectId), 'req_1', {
      projectId,
      name: 'known to the provider',
      description: '',
      personId: null,
      issuer: provider.issuer,
      subject: 'agent-client',
    });
    await identity.feed.reach(version, 5000);
    const token = await provider.token('models:invoke admin', audience);
    const principal = await identity.bearer(token);
    expect(principal).toMatchObject({
      kind: 'agent',
      id: result.id,
      agentId: result.id,
      scopes: new Set(['models:invoke']),
    });

    const { version: later } = await identity.agents.disable(operatorOf(projectId), 'req_1', {
      projectId,
      id: result.id,
    });
    await identity.feed.reach(later, 5000);
    // Its signature is not verified again, but whether its agent may act is.
    const before = signatures;
    expect(await reasonOf(token)).toBe('agent_disabled');
    expect(signatures).toBe(before);
    expect(identity.index.whyEnded(principal)).toBe('agent_disabled');
  });
});

it('an agent that another project registered for the subject is not its agent', async () => {
  await db.pool.query(`INSERT INTO projects (id, name, control_version) VALUES ('prj_thief', 'thief', 1)`);
  const { version } = await identity.agents.create(operatorOf('prj_thief'), 'req_1', {
    projectId: 'prj_thief',
    name: 'thief',
    description: '',
    personId: null,
    issuer: strict.url,
    subject: 'victim',
  });
  await identity.feed.reach(version, 5000);
  await expect(identity.bearer(await sign(goodClaims({ sub: 'victim' }), keys[0]))).resolves.toMatchObject({
    kind: 'service',
    projectId,
  });
});

describe('a good token', () => {
  it('may be signed with each algorithm of the issuer', async () => {
    for (const key of keys) expect(await reasonOf(await sign(goodClaims(), key))).toBeNull();
  });

  it.each<[string, JWTPayload]>([
    ['an audience among several', { aud: ['x', audience] }],
    ['the second name of ours beside another', { aud: ['other-name', 'x'] }],
    ['no issue time', { iat: undefined as never }],
    ['clocks that differ by half a minute', { iat: nowSeconds() + 29, nbf: nowSeconds() + 29 }],
    ['claims of other systems', { foo: 'bar', azp: 'client', email_verified: true }],
  ])('may have %s', async (_title, more) => {
    expect(await reasonOf(await sign(goodClaims(more), keys[0]))).toBeNull();
  });

  it.each<[JWTPayload, string[]]>([
    [{ scope: 'models:invoke runs:write' }, ['models:invoke', 'runs:write']],
    [{ scope: ['models:invoke'] }, ['models:invoke']],
    [{ scope: undefined, scp: 'runs:write' }, ['runs:write']],
    [{ scope: 'openid', scp: ['runs:write', 7, null] }, ['runs:write']],
    [{ scope: 'openid profile', permissions: ['mcp:tools.read'] }, ['tools:read']],
    [{ scope: undefined, roles: ['models:invoke', 'Reports.Read'] }, ['models:invoke']],
    [{ scope: { admin: true } }, []],
    [{ scope: undefined }, []],
  ])('has its scopes where issuers write them: %j', async (more, expected) => {
    const { scopes } = await identity.bearer(await sign(goodClaims(more), keys[0]));
    expect([...scopes]).toEqual(expected);
  });

  it('is verified once a minute, and ends at its expiry all the same', async () => {
    const clock = new ManualClock();
    let verified = 0;
    const own = verifierFor([strictOptions()], clock, () => verified++);
    const token = await sign(goodClaims({ exp: Math.floor(clock.now() / 1000) + 90 }), keys[0]);
    for (let i = 0; i < 10; i++) expect(await reasonOf(token, own)).toBeNull();
    expect(verified).toBe(1);
    clock.advance(60_000);
    expect(await reasonOf(token, own)).toBeNull();
    expect(verified).toBe(2);
    clock.advance(31_000);
    expect(await reasonOf(token, own)).toBe('token_expired');
    expect(verified).toBe(2);
  });

  it('ends also when the wall clock is set past its expiry', async () => {
    const clock = new ManualClock();
    const own = verifierFor([strictOptions()], clock);
    const token = await sign(goodClaims({ exp: Math.floor(clock.now() / 1000) + 600 }), keys[0]);
    expect(await reasonOf(token, own)).toBeNull();
    clock.jump(601_000);
    expect(await reasonOf(token, own)).toBe('token_expired');
  });
});

// For the tables of cases, which are made before the clock of the tests is.
function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

describe('a hostile token', () => {
  it('without a signature is refused, however none is written', async () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
      const token = `${segment({ alg, typ: 'at+jwt', kid: 'es' })}.${segment(goodClaims())}.`;
      expect(await reasonOf(token)).toBe(alg === '' ? 'algorithm_not_allowed' : 'unsigned');
    }
    expect(await reasonOf(`${segment({ typ: 'at+jwt' })}.${segment(goodClaims())}.`)).toBe('unsigned');
  });

  it('with an HMAC under the public key is refused as symmetric, with the reason in the log', async () => {
    const pem = await exportSPKI(keys[1].pair.publicKey);
    const jwk = JSON.stringify(await exportJWK(keys[1].pair.publicKey));
    for (const [alg, hash] of [
      ['HS256', 'sha256'],
      ['HS384', 'sha384'],
      ['HS512', 'sha512'],
    ] as const) {
      for (const secret of [pem, pem.trim(), jwk]) {
        const signed = `${segment({ alg, typ: 'at+jwt', kid: 'rs' })}.${segment(goodClaims())}`;
        const token = `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`;
        expect(await reasonOf(token)).toBe('symmetric_algorithm');
      }
    }
  });

  it('with another algorithm than its key has is refused', async () => {
    const [, payload, signature] = (await sign(goodClaims(), keys[1])).split('.');
    for (const alg of ['PS256', 'ES256', 'EdDSA']) {
      const token = `${segment({ alg, typ: 'at+jwt', kid: 'rs' })}.${payload}.${signature}`;
      expect(await reasonOf(token)).toBe('unknown_signing_key');
    }
    for (const alg of ['RS512', 'ES384', 'RSA1_5', 'dir', 'rs256']) {
      const token = `${segment({ alg, typ: 'at+jwt', kid: 'rs' })}.${payload}.${signature}`;
      expect(await reasonOf(token)).toBe('algorithm_not_allowed');
    }
  });

  it('that brings or points to its own key is verified with ours, whatever it says', async () => {
    const attacker = await signingKey('es', 'ES256');
    const jwk = { ...(await exportJWK(attacker.pair.publicKey)), kid: 'es' };
    const evil = await new TestIssuer([attacker]).listen();
    for (const header of [{ jwk }, { jku: evil.jwksUri }, { x5u: evil.jwksUri }, { jwk, jku: evil.jwksUri }]) {
      expect(await reasonOf(await sign(goodClaims(), attacker, header))).toBe('bad_signature');
    }
    expect(evil.fetches).toBe(0);
    await evil.close();
  });

  it('with a key id that is a path, a query or a mouthful names no key', async () => {
    for (const kid of ['../../../../dev/null', "es' OR '1'='1", '/etc/passwd', 'x'.repeat(5000), '', '__proto__']) {
      expect(await reasonOf(await sign(goodClaims(), keys[0], { kid }))).toBe('unknown_signing_key');
    }
    for (const kid of [{ es: 1 }, ['es'], 7, null]) {
      const [, payload, signature] = (await sign(goodClaims(), keys[0])).split('.');
      const token = `${segment({ alg: 'ES256', typ: 'at+jwt', kid })}.${payload}.${signature}`;
      expect(await reasonOf(token)).not.toBeNull();
    }
  });

  it.each<[RefusalReason, JWTPayload]>([
    ['unknown_issuer', { iss: 'https://evil.example/' }],
    ['unknown_issuer', { iss: undefined as never }],
    ['wrong_audience', { aud: 'https://elsewhere.example/' }],
    ['wrong_audience', { aud: [] }],
    ['wrong_audience', { aud: undefined as never }],
    ['wrong_audience', { aud: `${audience} ` }],
    ['wrong_audience', { aud: { 0: audience } as never }],
    ['no_expiry', { exp: undefined as never }],
    ['no_expiry', { exp: '9999999999' as never }],
    ['no_expiry', { exp: null as never }],
    ['token_expired', { exp: nowSeconds() - 1 }],
    ['token_expired', { exp: -1 }],
    ['lifetime_too_long', { exp: nowSeconds() + 7200 }],
    ['lifetime_too_long', { iat: nowSeconds() - 7200, exp: nowSeconds() + 600 }],
    ['lifetime_too_long', { iat: undefined as never, exp: nowSeconds() + 4000 }],
    ['lifetime_too_long', { exp: 1e308 }],
    ['not_yet_valid', { nbf: nowSeconds() + 600 }],
    ['not_yet_valid', { iat: nowSeconds() + 600 }],
    ['not_yet_valid', { nbf: 'soon' as never }],
    ['bad_subject', { sub: undefined as never }],
    ['bad_subject', { sub: '' }],
    ['bad_subject', { sub: 7 as never }],
    ['bad_subject', { sub: 'a\nb' }],
    ['bad_subject', { sub: 'a\0b' }],
    ['bad_subject', { sub: 'a\ud800' }],
    ['bad_subject', { sub: 'x'.repeat(501) }],
    ['id_token', { nonce: 'n' }],
    ['id_token', { at_hash: 'h' }],
    ['id_token', { aud: 'other-name' }],
    ['id_token', { aud: ['other-name'] }],
    ['sender_constrained', { cnf: { jkt: 'thumbprint' } }],
    ['sender_constrained', { cnf: { 'x5t#S256': 'thumbprint', jkt: 'thumbprint' } }],
    ['sender_constrained', { cnf: { 'x5t#S256': 7 } }],
    ['sender_constrained', { cnf: {} }],
    ['sender_constrained', { cnf: null }],
    ['sender_constrained', { cnf: ['x5t#S256'] }],
  ])('is refused: %s %j', async (reason, more) => {
    const before = signatures;
    expect(await reasonOf(await sign(goodClaims(more), keys[0]))).toBe(reason);
    expect(signatures).toBe(before);
  });

  it('is refused for its type, where the issuer is strict', async () => {
    for (const typ of ['JWT', 'logout+jwt', 'dpop+jwt', 'secevent+jwt', '', 'application/jwt']) {
      expect(await reasonOf(await sign(goodClaims(), keys[0], { typ }))).toBe('wrong_type');
    }
    for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt']) {
      expect(await reasonOf(await sign(goodClaims(), keys[0], { typ }))).toBeNull();
    }
    const [, payload, signature] = (await sign(goodClaims(), keys[0])).split('.');
    expect(await reasonOf(`${segment({ alg: 'ES256', kid: 'es' })}.${payload}.${signature}`)).toBe('wrong_type');
  });

  it('may be of type JWT or none from an issuer that is not strict, and of no other type', async () => {
    const lenient = goodClaims({ iss: provider.issuer });
    expect(await reasonOf(await sign(lenient, keys[0], { typ: 'JWT' }))).toBeNull();
    expect(await reasonOf(await sign(lenient, keys[0], { typ: undefined as never }))).toBeNull();
    expect(await reasonOf(await sign(lenient, keys[0], { typ: 'logout+jwt' }))).toBe('wrong_type');
  });

  it('that is no token is refused without a fault', async () => {
    const good = await sign(goodClaims(), keys[0]);
    const [header, payload] = good.split('.');
    const cases = [
      'a.b.c',
      'e30.e30.',
      `${header}.bm90IGpzb24.x`,
      `${header}.W10.x`,
      `bnVsbA.${payload}.x`,
      `${header}..x`,
    ];
    for (const text of cases) expect(['malformed_token', 'unsigned', 'unrecognised']).toContain(await reasonOf(text));
    for (const text of [`${good}.extra`, `${good}.e.e`, good.replace('.', '..')]) {
      expect(await reasonOf(text)).toBe('unrecognised');
    }
    const critical = segment({ alg: 'ES256', kid: 'es', typ: 'at+jwt', crit: ['b64'], b64: true });
    expect(await reasonOf(`${critical}.${payload}.x`)).toBe('malformed_token');
  });

  it('that was refused for its signature is not tried again for a minute', async () => {
    const stranger = await signingKey('es', 'ES256');
    const token = await sign(goodClaims(), stranger);
    const before = signatures;
    for (let i = 0; i < 10; i++) expect(await reasonOf(token)).toBe('bad_signature');
    expect(signatures).toBe(before + 1);
  });

  it('of one issuer says nothing for another', async () => {
    const other = await signingKey('es', 'ES256');
    const rogue = await new TestIssuer([other]).listen();
    const both = verifierFor(
      [strict, rogue].map(({ url, jwksUri }) => ({ issuer: url, audience: [audience], jwksUri, projectId })),
    );
    expect(await reasonOf(await sign(goodClaims(), other), both)).toBe('bad_signature');
    await rogue.close();
  });

  it('is told no more than anybody: the message is the one of every refusal', async () => {
    const token = await sign(goodClaims({ aud: 'canary-audience' }), keys[0]);
    const missing = await identity.identify({}, { from: '203.0.113.1' }).catch((error: unknown) => error);
    const refused = await identity.bearer(token, '203.0.113.2').catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'unauthenticated', message: (missing as Error).message });
    await identity.refusals.flush();
    const entries = JSON.stringify(await identity.audit('credential.refused'));
    expect(entries).toContain('wrong_audience');
    for (const secret of [token, 'canary-audience']) expect(entries).not.toContain(secret);
  });
});

describe('a configuration', () => {
  const issuer = {
    issuer: 'https://i.example/',
    audience: [audience],
    jwksUri: 'https://i.example/keys',
    projectId: 'prj_1',
  };
  const make =
    (...issuers: IssuerOptions[]) =>
    () =>
      verifierFor(issuers);

  it('cannot allow symmetric algorithms or none, or name an issuer twice', () => {
    for (const algorithm of ['HS256', 'none', 'RS1']) {
      expect(make({ ...issuer, algorithms: ['RS256', algorithm] })).toThrow(`allows ${algorithm}`);
    }
    expect(make(issuer, issuer)).toThrow('configured twice');
    expect(make()().status).toBe('not_configured');
  });
});
