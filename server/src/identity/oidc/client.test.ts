import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSecretKey, randomBytes } from 'node:crypto';
import { exportJWK, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sign, signingKey, type SigningKey } from '../../../../test/support/issuer.ts';
import { systemClock } from '../../base/clock.ts';
import { OidcClient } from './client.ts';
import type { OidcOptions } from './model.ts';
import { newTicket, openTicket, type Ticket } from './ticket.ts';

/** What a provider may say that certified ones never do. */
let answer: { idToken: (claims: Record<string, unknown>) => Promise<string> | string; userinfo: object };
let server: Server;
let issuer: string;
let key: SigningKey;
let ticket: Ticket;

beforeAll(async () => {
  key = await signingKey('k', 'RS256');
  server = createServer((request, response) => {
    const body: Record<string, () => unknown> = {
      '/.well-known/openid-configuration': () => ({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        userinfo_endpoint: `${issuer}/userinfo`,
        jwks_uri: `${issuer}/jwks`,
        response_types_supported: ['code'],
        id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'],
      }),
      '/jwks': async () => ({
        keys: [{ ...(await exportJWK(key.pair.publicKey)), kid: 'k', alg: 'RS256', use: 'sig' }],
      }),
      '/token': async () => ({ access_token: 'a', token_type: 'Bearer', id_token: await answer.idToken(usual()) }),
      '/userinfo': () => ({ sub: 'sub-1', ...answer.userinfo }),
    };
    response.setHeader('content-type', 'application/json');
    void Promise.resolve(body[request.url ?? '']?.()).then((made) => response.end(JSON.stringify(made)));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const secret = createSecretKey(randomBytes(32));
  const opened = openTicket(secret, newTicket(secret, '/', Date.now()), Date.now());
  if (!opened) throw new Error('no ticket');
  ticket = opened;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

function usual(): Record<string, unknown> {
  const nowS = Math.floor(Date.now() / 1000);
  return { iss: issuer, sub: 'sub-1', aud: 'portcullis', iat: nowS, exp: nowS + 60, nonce: ticket.nonce };
}

function claims(idToken: typeof answer.idToken, userinfo: object = {}) {
  answer = { idToken, userinfo };
  const options: OidcOptions = {
    // As an operator may write it: what is stored is what the provider calls itself.
    issuer: `${issuer}/`,
    clientId: 'portcullis',
    clientSecret: 'a-secret-of-the-client-0123456789',
    clientAuth: 'basic',
    scopes: ['openid'],
    projectId: 'prj_1',
    rules: { groupsClaim: 'groups', roles: {}, teams: {}, emailDomains: null, trustEmail: false },
  };
  const came = new URL(`http://127.0.0.1/sign-in/callback?code=c&state=${ticket.state}`);
  return new OidcClient(options, systemClock).claims(came, ticket);
}

const signed = (more: object) => (usualClaims: object) => sign({ ...usualClaims, ...more }, key, { typ: 'JWT' });
const refused = { code: 'policy_denied', message: expect.stringContaining('does not hold') };

it('says who came, by the issuer as it calls itself', async () => {
  await expect(claims(signed({ azp: 'portcullis' }), { groups: ['a'] })).resolves.toMatchObject({
    iss: issuer,
    sub: 'sub-1',
    groups: ['a'],
  });
});

it('takes an address and whether it is verified from one source', async () => {
  const both = await claims(signed({ email: 'victim@example.com' }), { email_verified: true, email: 'me@example.com' });
  expect(both).toMatchObject({ email: 'me@example.com', email_verified: true });
  const apart = await claims(signed({ email: 'victim@example.com' }), { email_verified: true });
  expect(apart['email_verified']).toBeUndefined();
});

it('refuses an ID token that was made for another client', async () => {
  await expect(claims(signed({ azp: 'another' }))).rejects.toMatchObject(refused);
  await expect(claims(signed({ aud: 'another' }))).rejects.toMatchObject(refused);
});

it.each<[string, typeof answer.idToken]>([
  ['signs nothing', (all) => new UnsecuredJWT(all).encode()],
  [
    'signs with what the client knows too',
    (all) =>
      new SignJWT(all).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from('a-secret-of-the-client-0123456789')),
  ],
])('refuses an ID token of a provider that %s, even one that says it would', async (_what, idToken) => {
  await expect(claims(idToken)).rejects.toMatchObject(refused);
});
