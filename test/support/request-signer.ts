import { createHash, createHmac, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { httpbis } from 'http-message-signatures';

/** What signs in tests: a library that shares nothing with ours. */
export interface TestSigner {
  readonly id: string;
  readonly alg: 'ed25519' | 'hmac-sha256';
  readonly sign: (base: Buffer) => Promise<Buffer>;
}

export function ed25519Signer(id: string, privateKey: KeyObject): TestSigner {
  return { id, alg: 'ed25519', sign: async (base) => sign(null, base, privateKey) };
}

export function hmacSigner(id: string, secret: string): TestSigner {
  const key = Buffer.from(secret, 'base64url');
  return { id, alg: 'hmac-sha256', sign: async (base) => createHmac('sha256', key).update(base).digest() };
}

/** A key pair, with the public half in PEM. */
export function newKeyPair(): { readonly publicKey: string; readonly privateKey: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { publicKey: publicKey.export({ type: 'spki', format: 'pem' }), privateKey };
}

interface Unsigned {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const covered = [
  'content-digest',
  'content-type',
  'idempotency-key',
  'authorization',
  'x-api-key',
  'x-portcullis-key',
  'x-portcullis-run',
  'portcullis-cache',
  'anthropic-version',
  'anthropic-beta',
];

/** The headers of a request with those of its signature; names in lower case. */
export async function signedHeaders(key: TestSigner, request: Unsigned): Promise<Record<string, string>> {
  const { method, url, body } = request;
  const digest = body === undefined ? null : createHash('sha256').update(body).digest('base64');
  const headers = { ...request.headers, ...(digest === null ? {} : { 'content-digest': `sha-256=:${digest}:` }) };
  const signed = await httpbis.signMessage(
    {
      key,
      fields: ['@method', '@authority', '@path', '@query', ...covered.filter((name) => name in headers)],
      params: ['created', 'expires', 'nonce', 'keyid', 'alg', 'tag'],
      paramValues: { nonce: randomBytes(16).toString('base64url'), tag: 'portcullis' },
    },
    { method, url, headers },
  );
  return Object.fromEntries(
    Object.entries(signed.headers).map(([name, value]) => [name.toLowerCase(), [value].flat().join(', ')]),
  );
}
