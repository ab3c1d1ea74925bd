import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { exportJWK, type JWTPayload, SignJWT } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseConfigFile } from '../server/src/config/file.ts';
import { IdentityIndex } from '../server/src/identity/identity-index.ts';
import { JwtVerifier } from '../server/src/identity/jwt.ts';
import { systemClock } from '../server/src/base/clock.ts';
import { sign, signingKey, type SigningKey } from './support/issuer.ts';

/** The pages of docs/auth say what they claim: their settings are valid, and the tokens that they show are taken. */

const folder = resolve(import.meta.dirname, '../docs/auth');
const pages = readdirSync(folder)
  .filter((name) => name !== 'README.md')
  .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }));

let keys: readonly SigningKey[];
beforeAll(async () => {
  keys = [await signingKey('rs', 'RS256'), await signingKey('es', 'ES256')];
});

function blocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block ?? '');
}

function configOf(yaml: string) {
  const findings = { problems: [] as string[], notes: [] as string[] };
  const file = parseConfigFile(yaml, { SIGN_IN_CLIENT_SECRET: 'a-secret-of-the-client' }, findings);
  expect(findings.problems).toEqual([]);
  if (!file) throw new Error('the file does not hold');
  return file;
}

describe.each(pages)('docs/auth/$name', ({ text }) => {
  const [issuersYaml = '', ...others] = blocks(text, 'yaml');
  const claims = JSON.parse(blocks(text, 'json')[0] ?? '') as JWTPayload;
  const [entry] = configOf(issuersYaml).issuers;

  async function verify(change: JWTPayload = {}, alg = 'RS256') {
    if (!entry) throw new Error('no issuer');
    const jwks = {
      keys: await Promise.all(
        keys.map(async ({ kid, alg: of, pair }) => ({ kid, alg: of, ...(await exportJWK(pair.publicKey)) })),
      ),
    };
    const verifier = new JwtVerifier({
      issuers: [
        {
          issuer: entry.issuer,
          audience: entry.audience,
          jwksUri: entry.jwks_uri,
          projectId: 'prj_default',
          algorithms: entry.algorithms,
          maxLifetimeS: entry.max_lifetime_s,
          scopeClaim: entry.scope_claim,
        },
      ],
      index: new IdentityIndex(systemClock),
      clock: systemClock,
      fetchJson: (url) => {
        expect(url).toBe(entry.jwks_uri);
        return Promise.resolve(jwks);
      },
      onFetch: () => undefined,
      onSignature: () => undefined,
    });
    const nowS = Math.floor(Date.now() / 1000);
    if (alg === 'HS256') {
      const shared = new SignJWT({ iat: nowS, exp: nowS + 3600, ...claims }).setProtectedHeader({ alg, typ: 'JWT' });
      return verifier.verify({ kind: 'token', text: await shared.sign(Buffer.alloc(32, 'shared')) });
    }
    const key = keys.find((candidate) => candidate.alg === alg);
    if (!key) throw new Error(`no key for ${alg}`);
    const token = await sign({ iat: nowS, exp: nowS + 3600, ...claims, ...change }, key, { typ: 'JWT' });
    return verifier.verify({ kind: 'token', text: token });
  }

  test('shows settings that are valid, and a token that they take, with its scopes', async () => {
    const verdict = await verify();
    expect(verdict).toMatchObject({
      principal: { kind: 'service', token: { issuer: entry?.issuer, subject: claims.sub } },
    });
    expect(verdict && 'principal' in verdict && [...verdict.principal.scopes].toSorted()).toEqual([
      'models:invoke',
      'runs:write',
    ]);
  });

  test('shows settings that refuse what is no such token', async () => {
    expect(await verify({ iss: `${claims.iss}x` })).toMatchObject({ reason: 'unknown_issuer' });
    expect(await verify({ aud: 'another' })).toMatchObject({ reason: 'wrong_audience' });
    expect(await verify({ nonce: 'n' })).toMatchObject({ reason: 'id_token' });
    expect(await verify({}, 'HS256')).toMatchObject({ reason: 'symmetric_algorithm' });
    expect(await verify({ exp: (claims.iat ?? Math.floor(Date.now() / 1000)) + 7 * 86_400 })).toMatchObject({
      reason: 'lifetime_too_long',
    });
  });

  test('registers the agent under the issuer and the subject that its token has', () => {
    expect(text).toContain(`portcullis agents create robot --issuer ${claims.iss} --subject ${claims.sub}`);
  });

  test('shows settings for the sign-in of people that are valid, at the issuer of its tokens', () => {
    const sections = others.map((yaml) => configOf(yaml).sign_in);
    expect(sections.map((section) => section?.issuer)).toEqual(others.map(() => entry?.issuer));
  });
});

test('there is a page for each of the five', () => {
  expect(pages.map(({ name }) => name).toSorted()).toEqual([
    'auth0.md',
    'entra.md',
    'keycloak.md',
    'okta.md',
    'supabase.md',
  ]);
});

test('the page of Entra, which never says that an address is verified, trusts its addresses and warns of guests', () => {
  const text = pages.find(({ name }) => name === 'entra.md')?.text ?? '';
  const [, section = ''] = blocks(text, 'yaml');
  expect(configOf(section).sign_in?.trust_email).toBe(true);
  expect(text).toMatch(/guests/);
});
