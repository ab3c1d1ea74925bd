import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../../test/support/identity.ts';
import {
  fetchJson,
  type JwksMode,
  sign,
  type SigningKey,
  signingKey,
  TestIssuer,
} from '../../../test/support/issuer.ts';
import { jwksCooldownMs, jwksFreshMs } from '../base/limits.ts';
import { IdentityIndex } from './identity-index.ts';
import { JwtVerifier } from './jwt.ts';

const broken: JwksMode[] = ['error', 'reset', 'garbage', 'huge', 'redirect'];
const maxStaleMs = 3_600_000;
let issuer: TestIssuer;
let clock: ManualClock;
let verifier: JwtVerifier;
let keys: [SigningKey, SigningKey];
let outcomes: string[];

beforeAll(async () => {
  keys = [await signingKey('first', 'ES256'), await signingKey('second', 'ES256')];
});
beforeEach(async () => {
  issuer = await new TestIssuer(keys.slice(0, 1)).listen();
  clock = new ManualClock();
  outcomes = [];
  verifier = new JwtVerifier({
    issuers: [
      {
        issuer: issuer.url,
        audience: ['us'],
        jwksUri: issuer.jwksUri,
        projectId: 'prj_1',
        maxLifetimeS: 7 * 86_400,
        maxStaleS: maxStaleMs / 1000,
      },
    ],
    index: new IdentityIndex(clock),
    clock,
    fetchJson,
    onFetch: (outcome) => outcomes.push(outcome),
    onSignature: () => undefined,
  });
});
afterEach(() => issuer.close());

let tokens = 0;

/** Presents a token that was never seen before. @returns accepted, the reason of the refusal, or the code of the error */
async function present(key: SigningKey = keys[0]): Promise<string> {
  const iat = Math.floor(clock.now() / 1000);
  const claims = { iss: issuer.url, aud: 'us', sub: 's', iat, exp: iat + 3 * 86_400, jti: `${tokens++}` };
  try {
    const verdict = await verifier.verify({ kind: 'token', text: await sign(claims, key) });
    return verdict && 'reason' in verdict ? verdict.reason : 'accepted';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('the keys of an issuer', () => {
  it('are fetched once for all who wait, and kept for 15 minutes', async () => {
    expect(verifier.status).toBe('failed');
    expect(new Set(await Promise.all(Array.from({ length: 20 }, () => present())))).toEqual(new Set(['accepted']));
    clock.advance(jwksFreshMs);
    await present();
    expect(issuer.fetches).toBe(1);
    clock.advance(1);
    await present();
    expect(issuer.fetches).toBe(2);
    expect(verifier.status).toBe('ok');
  });

  it('may be fetched before anybody asks', async () => {
    await verifier.warm();
    expect(verifier.status).toBe('ok');
    expect(await present()).toBe('accepted');
    expect(issuer.fetches).toBe(1);
  });

  it('are fetched again for a new key, and an old key ends with the next fetch', async () => {
    expect(await present()).toBe('accepted');
    issuer.keys = keys;
    clock.advance(jwksCooldownMs);
    expect(await present(keys[1])).toBe('accepted');
    expect(await present()).toBe('accepted');
    issuer.keys = keys.slice(1);
    clock.advance(jwksFreshMs + 1);
    expect(await present()).toBe('unknown_signing_key');
    expect(await present(keys[1])).toBe('accepted');
  });

  it('are not fetched more than once in a cooldown, whatever key ids callers invent', async () => {
    await present();
    for (let i = 0; i < 50; i++)
      expect(await present({ ...keys[1], kid: `invented ${i}` })).toBe('unknown_signing_key');
    expect(issuer.fetches).toBe(1);
    clock.advance(jwksCooldownMs);
    for (let i = 0; i < 50; i++)
      expect(await present({ ...keys[1], kid: `invented ${i}` })).toBe('unknown_signing_key');
    expect(issuer.fetches).toBe(2);
  });
});

describe.each(broken)('an issuer that fails (%s)', (mode) => {
  it('with nothing cached makes it impossible to tell: 503, and not a refusal', async () => {
    issuer.mode = mode;
    expect(await present()).toBe('cannot_verify');
    expect(await present()).toBe('cannot_verify');
    expect(issuer.fetches).toBe(1);
    expect(verifier.status).toBe('failed');
    issuer.mode = 'ok';
    clock.advance(jwksCooldownMs);
    expect(await present()).toBe('accepted');
    expect(outcomes).toEqual(['failed', 'ok']);
  });

  it('changes nothing while its last good keys count, and then makes it impossible to tell', async () => {
    expect(await present()).toBe('accepted');
    issuer.mode = mode;
    clock.advance(jwksFreshMs + 1);
    expect(await present()).toBe('accepted');
    expect(verifier.status).toBe('degraded');
    clock.advance(maxStaleMs - 1);
    expect(await present()).toBe('accepted');
    clock.advance(1);
    expect(await present()).toBe('cannot_verify');
    expect(verifier.status).toBe('failed');
  });

  it('leaves a token with a new key undecided, since it may be good', async () => {
    expect(await present()).toBe('accepted');
    issuer.mode = mode;
    clock.advance(jwksCooldownMs);
    expect(await present(keys[1])).toBe('cannot_verify');
    expect(await present()).toBe('accepted');
  });
});

it('an issuer that is silent keeps nobody waiting once it has failed, as long as its last good keys count', async () => {
  expect(await present()).toBe('accepted');
  issuer.mode = 'error';
  clock.advance(jwksFreshMs + 1);
  expect(await present()).toBe('accepted');
  issuer.mode = 'hang';
  clock.advance(jwksCooldownMs);
  // The fetch has begun and hangs; the answer does not wait for it.
  expect(await present()).toBe('accepted');
  expect(outcomes).toEqual(['ok', 'failed']);
  issuer.release();
});

it('what an issuer says of its fault goes to no caller', async () => {
  issuer.mode = 'error';
  const iat = Math.floor(clock.now() / 1000);
  const text = await sign({ iss: issuer.url, aud: 'us', sub: 's', iat, exp: iat + 60 }, keys[0]);
  const error = await verifier.verify({ kind: 'token', text })?.catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'cannot_verify', status: 503 });
  expect(error).toMatchObject({ members: { retryAfterS: jwksCooldownMs / 1000 } });
  expect(String(error)).not.toContain(issuer.url);
});
