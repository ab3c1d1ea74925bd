import { createHash, createSecretKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import fc from 'fast-check';
import { httpbis } from 'http-message-signatures';
import { serializeDictionary } from 'structured-headers';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createTestDatabase, queryAsOwner, type TestDatabase } from '../../../../test/support/database.ts';
import { openIdentity, operatorOf, type TestIdentity } from '../../../../test/support/identity.ts';
import { newAccessRecord } from '../../base/access-record.ts';
import type { SignedRequest } from './model.ts';
import { digestOfBody } from './node-request.ts';
import { Nonces } from './nonces.ts';
import { RequestSignatures } from './request-signatures.ts';
import { SigningKeyService } from './service.ts';
import { readSignature } from './signature-fields.ts';
import { SigningKeyIndex } from './signing-key-index.ts';

let db: TestDatabase;
let identity: TestIdentity;
let signatures: RequestSignatures;
let keyId: string;
let keyid: string;
const { publicKey, privateKey } = generateKeyPairSync('ed25519');

beforeAll(async () => {
  db = await createTestDatabase();
  identity = await openIdentity(db);
  const { by, projectId } = await identity.project('properties');
  ({ keyId } = await identity.agentKey(by, 'signer'));
  const sealing = { id: randomBytes(8), key: createSecretKey(randomBytes(32)) };
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const made = await new SigningKeyService(db.pool, sealing).register(by, 'req_test', {
    projectId,
    keyId,
    algorithm: 'ed25519',
    publicKey: pem,
  });
  keyid = made.result.signingKey.id;
  const keys = new SigningKeyIndex(sealing, () => undefined);
  (await keys.load(db.pool, 0n))();
  signatures = new RequestSignatures({
    keys,
    nonces: new Nonces({ pool: db.pool, now: () => Date.now() }),
    authenticator: identity.authenticator,
    signedScopes: () => new Set(),
    refresh: () => Promise.resolve(),
    now: () => Date.now(),
    onVerdict: () => undefined,
  });
});
afterAll(async () => {
  await identity?.close();
  await db?.drop();
});

/** How many were taken. */
async function nonces(): Promise<number> {
  return (await queryAsOwner(db, 'SELECT 1 FROM signature_nonces')).length;
}

interface Sent {
  readonly method: string;
  readonly target: string;
  readonly authority: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

async function isLetThrough({ method, target, authority, headers, body }: Sent): Promise<boolean> {
  const request: SignedRequest = {
    method,
    url: target,
    authority,
    rawHeaders: headers.flat(),
    clientAddress: `2001:db8:${randomBytes(2).toString('hex')}:${randomBytes(2).toString('hex')}::1`,
    protocol: 'http',
    bodyDigest: () => digestOfBody(body),
  };
  const principal = { ...operatorOf('prj_any'), keyId, requiresSignature: true };
  const asked = { scopes: [], projectId: 'prj_any' };
  return signatures.require(principal, asked, request, newAccessRecord('req_test')).then(
    () => true,
    () => false,
  );
}

interface Drawn {
  readonly method: string;
  readonly url: string;
  readonly own: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

const must = ['content-digest', 'content-type', 'idempotency-key', 'authorization', 'x-api-key', 'x-portcullis-key'];

/** Signs with a library that shares nothing with ours. */
async function signed({ method, url, own, body }: Drawn): Promise<Sent> {
  const { host, pathname, search } = new URL(url);
  const digest = `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
  const headers: Record<string, string[]> = { 'content-digest': [digest], authorization: ['Bearer pcl_any'] };
  for (const [name, value] of own) (headers[name] ??= []).push(value);
  const names = Object.keys(headers);
  const { headers: all } = await httpbis.signMessage(
    {
      key: { id: keyid, alg: 'ed25519', sign: async (base) => sign(null, base, privateKey) },
      fields: [
        '@method',
        '@authority',
        '@path',
        '@query',
        ...names.filter((name) => must.includes(name) || name === 'x-note'),
      ],
      params: ['created', 'expires', 'nonce', 'keyid', 'alg', 'tag'],
      paramValues: { nonce: randomBytes(16).toString('base64url'), tag: 'portcullis' },
    },
    { method, url, headers },
  );
  const list = Object.entries(all).flatMap(([name, value]) => [value].flat().map((one) => [name, one] as const));
  return { method, target: pathname + search, authority: host, headers: list, body };
}

const segment = fc.stringMatching(/^[A-Za-z0-9._~!$&'()*+,;=:@-]{0,12}$/);
const value = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/);
const drawn: fc.Arbitrary<Drawn> = fc.record({
  method: fc.constantFrom('POST', 'PUT', 'GET', 'DELETE'),
  url: fc
    .record({
      scheme: fc.constantFrom('http', 'https'),
      host: fc.constantFrom('gate.example.com', 'GATE.example.COM', '127.0.0.1', '[::1]', 'xn--bcher-kva.example'),
      port: fc.constantFrom('', ':80', ':443', ':8080'),
      path: fc.array(segment, { minLength: 1, maxLength: 4 }),
      query: fc.option(fc.stringMatching(/^[A-Za-z0-9=&%._~+-]{0,20}$/), { nil: null }),
    })
    // The other scheme's own port is the one form that a gate, which does not know the scheme, reads otherwise.
    .filter(({ scheme, port }) => port !== (scheme === 'http' ? ':443' : ':80'))
    .map(
      ({ scheme, host, port, path, query }) =>
        `${scheme}://${host}${port}/${path.join('/')}${query === null ? '' : `?${query}`}`,
    ),
  own: fc
    .record({
      type: fc.option(value, { nil: null }),
      key: fc.option(value, { nil: null }),
      apiKey: fc.option(value, { nil: null }),
      notes: fc.array(value, { maxLength: 3 }),
      others: fc.array(value, { maxLength: 2 }),
    })
    .map(({ type, key, apiKey, notes, others }) => [
      ...(type === null ? [] : [['content-type', type] as const]),
      ...(key === null ? [] : [['idempotency-key', key] as const]),
      ...(apiKey === null ? [] : [['x-api-key', apiKey] as const]),
      ...notes.map((note) => ['x-note', note] as const),
      ...others.map((other) => ['x-uncovered', other] as const),
    ]),
  body: fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
});

it('lets through whatever another library signed, however header names and blanks around values are written', async () => {
  const blanks = fc.stringMatching(/^[ \t]{0,3}$/);
  await fc.assert(
    fc.asyncProperty(drawn, blanks, blanks, fc.boolean(), async (request, before, after, upper) => {
      const sent = await signed(request);
      const headers = sent.headers.map(
        ([name, value]) => [upper ? name.toUpperCase() : name, before + value + after] as const,
      );
      return isLetThrough({ ...sent, headers });
    }),
    { numRuns: 200 },
  );
  expect(await nonces()).toBeGreaterThan(100);
});

it('lets through a host in any case and with the port of its scheme', async () => {
  const spelt = fc.constantFrom('gate.example.com', 'Gate.Example.COM', 'gate.example.com:443', 'GATE.EXAMPLE.COM:443');
  const before = await nonces();
  await fc.assert(
    fc.asyncProperty(spelt, async (authority) => {
      const sent = await signed({
        method: 'GET',
        url: 'https://gate.example.com/v1/models',
        own: [],
        body: Buffer.alloc(0),
      });
      return isLetThrough({ ...sent, authority });
    }),
    { numRuns: 10 },
  );
  expect(await nonces()).toBeGreaterThan(before);
});

/** The text with one byte changed to another. */
function changed(text: string, at: number, by: number): string {
  const bytes = Buffer.from(text, 'latin1');
  const place = at % bytes.length;
  bytes[place] = (bytes[place]! + 1 + (by % 255)) % 256;
  return bytes.toString('latin1');
}

const normal = (authority: string) => authority.toLowerCase().replace(/:(80|443)$/, '');

it('refuses any change of one byte in what is covered: method, target, authority, header, parameter, signature, body', async () => {
  const part = fc.constantFrom('method', 'target', 'authority', 'header', 'body');
  const before = await nonces();
  let tried = 0;
  await fc.assert(
    fc.asyncProperty(drawn, part, fc.nat(), fc.nat(), fc.nat(), async (request, part, which, at, by) => {
      const sent = await signed(request);
      const covered = sent.headers.filter(([name]) => name !== 'x-uncovered');
      const [name, value] = covered[which % covered.length]!;
      const other: Sent = {
        method: part === 'method' ? changed(sent.method, at, by) : sent.method,
        target: part === 'target' ? changed(sent.target, at, by) : sent.target,
        authority: part === 'authority' ? changed(sent.authority, at, by) : sent.authority,
        body: part === 'body' ? Buffer.from(changed(sent.body.toString('latin1'), at, by), 'latin1') : sent.body,
        headers: sent.headers.map((header) =>
          part === 'header' && header[0] === name && header[1] === value ? [name, changed(value, at, by)] : header,
        ),
      };
      // Two spellings of one host are one authority.
      fc.pre(part !== 'authority' || normal(other.authority) !== normal(sent.authority));
      tried++;
      return !(await isLetThrough(other));
    }),
    { numRuns: 400 },
  );
  expect(tried).toBeGreaterThan(300);
  expect(await nonces()).toBe(before);
});

it('reads back what was written, and nothing else, whatever stands beside it', () => {
  const name = fc.stringMatching(/^@?[a-z][a-z0-9-]{0,12}$/);
  const printable = fc.stringMatching(/^[ -~]{0,20}$/);
  fc.assert(
    fc.property(
      fc.uniqueArray(name, { maxLength: 8 }),
      fc.integer({ min: 0, max: 999_999_999_999_999 }),
      fc.integer({ min: 0, max: 999_999_999_999_999 }),
      fc.tuple(printable, printable, printable),
      fc.uint8Array({ maxLength: 80 }),
      fc.stringMatching(/^[a-z][a-z0-9_.*-]{0,8}$/).filter((label) => label !== 'other'),
      (components, created, expires, [nonce, keyid, alg], signature, label) => {
        const parameters = new Map<string, number | string>([
          ['created', created],
          ['expires', expires],
          ['nonce', nonce],
          ['keyid', keyid],
          ['alg', alg],
          ['tag', 'portcullis'],
        ]);
        const items = components.map((component) => [component, new Map()] as [string, Map<string, string>]);
        const input = serializeDictionary(
          new Map([
            ['other', [[], new Map([['tag', 'somebody']])]],
            [label, [items, parameters]],
          ]),
        );
        const fields = new Map([
          ['signature-input', input],
          ['signature', serializeDictionary(new Map([[label, [signature, new Map()]]]))],
        ]);
        const read = readSignature(fields);
        expect(read).toEqual({
          components,
          params: input.slice(input.indexOf(`, ${label}=`) + label.length + 3),
          created,
          expires,
          nonce,
          keyid,
          alg,
          signature: Buffer.from(signature),
        });
      },
    ),
    { numRuns: 300 },
  );
});

it('never throws on hostile headers', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.string({ maxLength: 100 }), (input, signature) => {
      const fields = new Map([
        ['signature-input', input],
        ['signature', signature],
      ]);
      expect(typeof readSignature(fields)).toBe('string');
    }),
    { numRuns: 500 },
  );
});
