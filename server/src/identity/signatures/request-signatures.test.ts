import { createHmac, createSecretKey, randomBytes, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { openIdentity, operatorOf, type TestIdentity } from '../../../../test/support/identity.ts';
import {
  insertVectorKeys,
  presentedKey,
  signWith,
  type Vector,
  vectorFile,
} from '../../../../test/support/signature-vectors.ts';
import { newAccessRecord } from '../../base/access-record.ts';
import { PortcullisError } from '../../base/errors.ts';
import type { Principal } from '../model.ts';
import type { Scope } from '../scopes.ts';
import type { SignedRequest } from './model.ts';
import { digestOfBody } from './node-request.ts';
import { Nonces } from './nonces.ts';
import { publicKeyObject } from './public-key.ts';
import { RequestSignatures } from './request-signatures.ts';
import { combineFields, signatureBase } from './rules.ts';
import { SigningKeyIndex } from './signing-key-index.ts';

let db: TestDatabase;
let identity: TestIdentity;
let projectId: string;
let signers: SigningKeyIndex;
const sealing = { id: randomBytes(8), key: createSecretKey(randomBytes(32)) };
const unreadable: string[] = [];
const verdicts: string[] = [];
let nowMs = vectorFile.now * 1000;
let signedScopes: ReadonlySet<Scope> = new Set();

beforeAll(async () => {
  db = await createTestDatabase();
  identity = await openIdentity(db);
  projectId = (await identity.project('vectors')).projectId;
  await insertVectorKeys(db, projectId, { keyPepper: identity.pepper, signingSecrets: sealing });
  signers = new SigningKeyIndex(sealing, (id) => unreadable.push(id));
  await load();
});
afterAll(async () => {
  await identity?.close();
  await db?.drop();
});

/** Reads what is new, as the control feed does. */
async function load(): Promise<void> {
  (await signers.load(db.pool, 0n))();
}

function signatures(nonces = new Nonces({ pool: db.pool, now: () => nowMs })): RequestSignatures {
  return new RequestSignatures({
    keys: signers,
    nonces,
    authenticator: identity.authenticator,
    signedScopes: () => signedScopes,
    refresh: load,
    now: () => nowMs,
    onVerdict: (verdict) => verdicts.push(verdict),
  });
}

function requestOf({ request }: Vector, address = nextAddress()): SignedRequest {
  const body = Buffer.from(request.body);
  return {
    method: request.method,
    url: request.target,
    authority: request.authority,
    rawHeaders: request.headers.flat(),
    clientAddress: address,
    protocol: 'http',
    bodyDigest: () => digestOfBody(body),
  };
}

let addresses = 0;
function nextAddress(): string {
  addresses++;
  return `198.51.${addresses >> 8}.${addresses & 255}`;
}

function callerOf(vector: Vector, more: Partial<Principal> = {}): Principal {
  return { ...operatorOf(projectId), keyId: presentedKey(vector.request), requiresSignature: true, ...more };
}

const asked = (scope: Scope | null = null) => ({ scopes: scope === null ? [] : [scope], projectId });

/** The reason in the log; null when the request is let through. @throws what is not the one refusal that a caller sees */
async function whyNot(
  principal: Principal,
  request: SignedRequest,
  checked = signatures(),
  scope: Scope | null = null,
) {
  const access = newAccessRecord('req_test');
  try {
    await checked.require(principal, asked(scope), request, access);
    return null;
  } catch (error) {
    if (request.protocol === 'http' && !(error instanceof PortcullisError && error.message === sentence)) throw error;
    return access.authReason;
  }
}

const sentence =
  'This request must carry a signature that holds, made anew for each request: docs/signatures.md says how.';

const named = (wanted: (vector: Vector) => boolean) =>
  vectorFile.vectors.filter(wanted).map((vector) => [vector.name, vector] as const);

describe('the published vectors', () => {
  it.each(named(({ expected }) => expected === 'valid'))('let through: %s', async (_name, vector) => {
    const principal = callerOf(vector);
    expect(await whyNot(principal, requestOf(vector))).toBeNull();
    expect(verdicts.at(-1)).toBe('valid');
    expect(await whyNot(principal, requestOf(vector))).toBe('signature_replayed');
  });

  it.each(named(({ expected }) => expected !== 'valid'))('refuse: %s', async (_name, vector) => {
    const principal = callerOf(vector);
    const before = Array.from({ length: (vector.times ?? 1) - 1 }, () => whyNot(principal, requestOf(vector)));
    expect(await Promise.all(before)).toEqual(before.map(() => null));
    expect(await whyNot(principal, requestOf(vector))).toBe(vector.expected);
    expect(verdicts.at(-1)).toBe(vector.expected);
  });

  it('say what was signed: each base has the signature that is sent', () => {
    const signed = vectorFile.vectors.filter(
      ({ signed_with: key, signature_as_it_is: asItIs, request }) =>
        key !== null && asItIs !== true && request.headers.some(([name]) => name === 'signature'),
    );
    expect(signed.length).toBeGreaterThan(60);
    for (const { signed_with: key, signature_base: base, request, name } of signed) {
      const sent = request.headers.find(([header]) => header === 'signature')?.[1];
      expect(sent, name).toContain(signWith(key!, base!));
    }
  });

  it('have names and requests of their own', () => {
    const requests = vectorFile.vectors.map(({ request }) => JSON.stringify(request));
    expect(new Set(vectorFile.vectors.map(({ name }) => name)).size).toBe(vectorFile.vectors.length);
    expect(new Set(requests).size).toBe(requests.length);
  });
});

it('builds the bases of RFC 9421, appendix B.2.5 and B.2.6', () => {
  const { request, signatures: known } = vectorFile.rfc9421;
  const fields = combineFields(request.headers.flat());
  const [hmac, ed25519] = known.map((signed) => ({
    ...signed,
    base: Buffer.from(signatureBase(signed, { ...request, url: request.target }, fields) ?? ''),
  }));
  const secret = Buffer.from(hmac!.secret ?? '', 'base64');
  expect(createHmac('sha256', secret).update(hmac!.base).digest('base64')).toBe(hmac!.signature);
  const key = publicKeyObject(Buffer.from(ed25519!.public_key ?? '', 'base64url'));
  expect(verify(null, ed25519!.base, key, Buffer.from(ed25519!.signature, 'base64'))).toBe(true);
});

describe('where a signature is needed', () => {
  const unsigned = () => vectorFile.vectors.find(({ expected }) => expected === 'signature_missing')!;
  const refused = () => vectorFile.vectors.find(({ expected }) => expected === 'signature_bad')!;
  const free = { requiresSignature: false } as const;

  it('is not asked of others, but must hold where it is given', async () => {
    const checked = signatures();
    expect(checked.concerns(callerOf(unsigned(), free), asked(), false)).toBe(false);
    expect(await whyNot(callerOf(unsigned(), free), requestOf(unsigned()))).toBeNull();
    expect(checked.concerns(callerOf(refused(), free), asked(), true)).toBe(true);
    expect(await whyNot(callerOf(refused(), free), requestOf(refused()))).toBe('signature_bad');
  });

  it('lets the signatures of others alone', async () => {
    const vector = vectorFile.vectors.find(({ name }) => name === 'another tag alone')!;
    expect(await whyNot(callerOf(vector, free), requestOf(vector))).toBeNull();
    expect(await whyNot(callerOf(vector), requestOf(vector))).toBe('signature_missing');
  });

  it('is for the scopes that the policy names, of the caller or of the project that the request is about', async () => {
    signedScopes = new Set<Scope>(['policy:write']);
    const vector = unsigned();
    expect(await whyNot(callerOf(vector, free), requestOf(vector), signatures(), 'policy:write')).toBe(
      'signature_missing',
    );
    expect(await whyNot(callerOf(vector, free), requestOf(vector), signatures(), 'policy:read')).toBeNull();
    expect(await whyNot(callerOf(vector, free), requestOf(vector), signatures(), null)).toBeNull();
    signedScopes = new Set();
    const policies = new Map([['prj_other', new Set<Scope>(['policy:write'])]]);
    const checked = new RequestSignatures({
      keys: signers,
      nonces: new Nonces({ pool: db.pool, now: () => nowMs }),
      authenticator: identity.authenticator,
      signedScopes: (id) => policies.get(id) ?? new Set(),
      refresh: load,
      now: () => nowMs,
      onVerdict: () => undefined,
    });
    const principal = callerOf(vector, free);
    expect(checked.isNeeded(principal, { scopes: ['policy:write'], projectId })).toBe(false);
    expect(checked.isNeeded(principal, { scopes: ['policy:write'], projectId: 'prj_other' })).toBe(true);
    expect(checked.isNeeded({ ...principal, projectId: 'prj_other' }, { scopes: ['policy:write'], projectId })).toBe(
      true,
    );
  });

  it('exempts from the scopes of the policy who is bound to a certificate, and ADMIN_API_KEY; a key that must sign, never', () => {
    signedScopes = new Set<Scope>(['policy:write']);
    const checked = signatures();
    const needed = (more: Partial<Principal>) =>
      checked.isNeeded({ ...callerOf(unsigned(), free), ...more }, asked('policy:write'));
    expect(needed({})).toBe(true);
    expect(needed({ method: 'session' })).toBe(true);
    expect(needed({ method: 'jwt', keyId: null })).toBe(true);
    expect(needed({ method: 'certificate', keyId: null })).toBe(false);
    expect(needed({ binding: { by: 'spiffe_id', value: 'spiffe://example.org/agent/a' } })).toBe(false);
    expect(needed({ method: 'static_key', keyId: null })).toBe(false);
    expect(needed({ method: 'session', keyId: null })).toBe(false);
    expect(needed({ method: 'static_key', scopes: new Set<Scope>(['policy:write']), keyId: null })).toBe(true);
    expect(needed({ requiresSignature: true, binding: { by: 'spiffe_id', value: 'spiffe://example.org/a' } })).toBe(
      true,
    );
    signedScopes = new Set();
  });

  it('refuses native gRPC, and says what to use instead', async () => {
    const request = { ...requestOf(unsigned()), protocol: 'grpc' as const };
    expect(await whyNot(callerOf(unsigned()), request)).toBe('signature_unsupported');
    await expect(
      signatures().require(callerOf(unsigned()), asked(), request, newAccessRecord('req_test')),
    ).rejects.toThrow(/native gRPC cannot be: use Connect/);
    expect(await whyNot(callerOf(unsigned(), free), request)).toBeNull();
  });
});

describe('a nonce', () => {
  const fresh = () => freshVector();

  it('is taken by one of many who come at once, on whichever replica', async () => {
    const vector = fresh();
    const replicas = [signatures(), signatures()];
    const tries = Array.from({ length: 20 }, (_, i) => whyNot(callerOf(vector), requestOf(vector), replicas[i % 2]));
    const reasons = await Promise.all(tries);
    expect(reasons.filter((reason) => reason === null)).toHaveLength(1);
    expect(new Set(reasons)).toEqual(new Set([null, 'signature_replayed']));
  });

  it('is not used up by a request that is refused', async () => {
    const vector = fresh();
    const tampered = { ...requestOf(vector), bodyDigest: () => digestOfBody(Buffer.from('{"other":1}')) };
    expect(await whyNot(callerOf(vector), tampered)).toBe('signature_digest');
    expect(await whyNot(callerOf(vector), { ...requestOf(vector), url: '/elsewhere' })).toBe('signature_bad');
    expect(await whyNot(callerOf(vector), requestOf(vector))).toBeNull();
  });

  it('stays taken until its signature is too old, whatever is purged meanwhile', async () => {
    const nonces = new Nonces({ pool: db.pool, now: () => nowMs });
    const checked = signatures(nonces);
    const vector = fresh();
    const startMs = nowMs;
    expect(await whyNot(callerOf(vector), requestOf(vector), checked)).toBeNull();
    for (let passed = 0; passed <= 600_000; passed += 15_000) {
      nowMs = startMs + passed;
      await nonces.purge();
      const reason = await whyNot(callerOf(vector), requestOf(vector), checked);
      expect(['signature_replayed', 'signature_expired', 'signature_stale']).toContain(reason);
    }
    const { rows } = await db.pool.query('SELECT 1 FROM signature_nonces WHERE nonce = $1', [nonceOf(vector)]);
    expect(rows).toEqual([]);
    nowMs = startMs;
  });

  it('is refused when the table is full, and nothing is forgotten for it', async () => {
    const nonces = new Nonces({ pool: db.pool, now: () => nowMs, max: 3 });
    await db.pool.query('DELETE FROM signature_nonces');
    await nonces.purge();
    for (let i = 0; i < 3; i++) expect(await nonces.take('sgk_full', `nonce ${i}`, nowMs + 60_000)).toBe(true);
    await expect(nonces.take('sgk_full', 'one too many', nowMs + 60_000)).rejects.toMatchObject({
      code: 'unavailable',
    });
    await nonces.purge();
    await expect(nonces.take('sgk_full', 'one too many', nowMs + 60_000)).rejects.toMatchObject({
      code: 'unavailable',
    });
    const { rows } = await db.pool.query("SELECT 1 FROM signature_nonces WHERE signing_key_id = 'sgk_full'");
    expect(rows).toHaveLength(3);
    await db.pool.query("DELETE FROM signature_nonces WHERE signing_key_id = 'sgk_full'");
    await nonces.purge();
    expect(await nonces.take('sgk_full', 'there is room', nowMs + 60_000)).toBe(true);
  });

  it('that comes again and again takes no room', async () => {
    await db.pool.query('DELETE FROM signature_nonces');
    const nonces = new Nonces({ pool: db.pool, now: () => nowMs, max: 3 });
    await nonces.take('sgk_again', 'one', nowMs + 60_000);
    for (let i = 0; i < 5; i++) expect(await nonces.take('sgk_again', 'one', nowMs + 60_000)).toBe(false);
    expect(await nonces.take('sgk_again', 'two', nowMs + 60_000)).toBe(true);
  });

  it('of one key too many is refused, and those of other keys are not, also after a purge', async () => {
    await db.pool.query('DELETE FROM signature_nonces');
    const nonces = new Nonces({ pool: db.pool, now: () => nowMs, max: 9, maxPerKey: 2 });
    const take = (key: string, nonce: string) => nonces.take(key, nonce, nowMs + 60_000);
    for (const nonce of ['one', 'two']) expect(await take('sgk_busy', nonce)).toBe(true);
    await expect(take('sgk_busy', 'three')).rejects.toMatchObject({
      code: 'rate_limited',
      members: { retryAfterS: 60 },
    });
    expect(await take('sgk_quiet', 'one')).toBe(true);
    await nonces.purge();
    await expect(take('sgk_busy', 'three')).rejects.toMatchObject({ code: 'rate_limited' });
    expect(await take('sgk_quiet', 'two')).toBe(true);
  });
});

describe('a signing key', () => {
  it('that another replica registered a moment ago is found', async () => {
    signers = new SigningKeyIndex(sealing, (id) => unreadable.push(id));
    const vector = freshVector();
    expect(await whyNot(callerOf(vector), requestOf(vector))).toBeNull();
  });

  it('whose secret cannot be opened signs nothing, and the others do', async () => {
    const other = new SigningKeyIndex({ ...sealing, key: createSecretKey(randomBytes(32)) }, (id) =>
      unreadable.push(id),
    );
    (await other.load(db.pool, 0n))();
    expect(unreadable).toEqual([vectorFile.signing_keys['hmac-b']!.id]);
    expect(other.find(vectorFile.signing_keys['hmac-b']!.id)).toBeNull();
    expect(other.find(vectorFile.signing_keys['ed25519-a']!.id)).not.toBeNull();
  });
});

it('counts failures like those of any credential: they wait, are audited, and slow no signature that holds', async () => {
  const address = nextAddress();
  const bad = vectorFile.vectors.find(({ expected }) => expected === 'signature_bad')!;
  const codes: string[] = [];
  for (let i = 0; i < 7; i++) {
    const access = newAccessRecord('req_test');
    await signatures()
      .require(callerOf(bad), asked(), requestOf(bad, address), access)
      .catch((error: PortcullisError) => codes.push(error.code));
    expect(access.authReason).toBe('signature_bad');
  }
  expect(codes.slice(0, 5)).toEqual(Array.from({ length: 5 }, () => 'unauthenticated'));
  expect(codes.slice(5)).toEqual(['rate_limited', 'rate_limited']);
  const good = freshVector();
  expect(await whyNot(callerOf(good), requestOf(good, address))).toBeNull();
  await identity.refusals.flush();
  const entries = await identity.audit('credential.refused');
  expect(entries).toContainEqual(
    expect.objectContaining({
      target: presentedKey(bad.request),
      payload: expect.objectContaining({ client_address: address }),
    }),
  );
});

/** A valid vector with a nonce that nobody used. */
function freshVector(): Vector {
  const [vector] = vectorFile.vectors;
  const { request, signature_base: base, signed_with: key } = vector!;
  const nonce = randomBytes(16).toString('base64url');
  const anew = (text: string) => text.replace(/nonce="[^"]+"/, `nonce="${nonce}"`);
  const signature = `sig=:${signWith(key!, anew(base!))}:`;
  const headers = request.headers.map(
    ([name, value]) => [name, name === 'signature' ? signature : anew(value)] as const,
  );
  return { ...vector!, signature_base: anew(base!), request: { ...request, headers } };
}

function nonceOf({ request }: Vector): string {
  return /nonce="([^"]+)"/.exec(JSON.stringify(request).replaceAll('\\"', '"'))![1]!;
}
