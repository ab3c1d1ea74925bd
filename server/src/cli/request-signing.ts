import { type KeyObject, createHmac, createPrivateKey, createSecretKey, hash, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { UniversalClientFn } from '@connectrpc/connect/protocol';
import { signatureLifetimeS } from '../base/limits.ts';
import { combineFields, fieldsToCover, signatureBase } from '../identity/signatures/rules.ts';
import type { SignatureAlgorithm } from '../identity/signatures/model.ts';
import { CliError, type CliContext } from './context.ts';

/** What the requests of this command line are signed with. */
export interface RequestSigner {
  readonly keyid: string;
  readonly alg: SignatureAlgorithm;
  readonly key: KeyObject;
}

/**
 * The signer that the environment names: PORTCULLIS_SIGNING_KEY_FILE (an ed25519 private key in PEM, or an HMAC secret)
 * with PORTCULLIS_SIGNING_KEY_ID. Null when neither is set.
 * @throws CliError when one is missing, or the file holds no such key
 */
export function findSigner({ environment, cwd }: Pick<CliContext, 'environment' | 'cwd'>): RequestSigner | null {
  const path = environment['PORTCULLIS_SIGNING_KEY_FILE'];
  const keyid = environment['PORTCULLIS_SIGNING_KEY_ID'];
  if (!path && !keyid) return null;
  if (!path || !keyid) {
    throw new CliError('PORTCULLIS_SIGNING_KEY_FILE and PORTCULLIS_SIGNING_KEY_ID go together: set both.');
  }
  if (!/^sgk_[0-9a-z]{1,64}$/.test(keyid)) {
    throw new CliError('PORTCULLIS_SIGNING_KEY_ID is not the id of a signing key: it begins with sgk_.');
  }
  let text: string;
  try {
    text = readFileSync(resolve(cwd, path), 'utf8').trim();
  } catch {
    throw new CliError('PORTCULLIS_SIGNING_KEY_FILE: the file cannot be read.');
  }
  if (/^[A-Za-z0-9_-]{43}$/.test(text)) {
    return { keyid, alg: 'hmac-sha256', key: createSecretKey(Buffer.from(text, 'base64url')) };
  }
  return { keyid, alg: 'ed25519', key: privateKeyIn(text) };
}

function privateKeyIn(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // Said below.
  }
  throw new CliError(
    'PORTCULLIS_SIGNING_KEY_FILE must hold an ed25519 private key in PEM without a passphrase, or the HMAC secret as it was shown.',
  );
}

/** The client with each of its requests signed: its bytes as they go out, so that a retry is signed anew. */
export function signedClient(send: UniversalClientFn, signer: RequestSigner): UniversalClientFn {
  return async (request) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request.body ?? []) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const header = new Headers(request.header);
    header.set('content-digest', `sha-256=:${hash('sha256', body, 'base64')}:`);
    for (const [name, value] of signatureHeaders(signer, { ...request, header }, Date.now())) header.set(name, value);
    return send({ ...request, header, body: whole(body) });
  };
}

/** `Signature-Input` and `Signature` (RFC 9421, section 4) of a request that has its Content-Digest. */
function signatureHeaders(
  { keyid, alg, key }: RequestSigner,
  request: { readonly method: string; readonly url: string; readonly header: Headers },
  nowMs: number,
): readonly (readonly [name: string, value: string])[] {
  const { host, pathname, search } = new URL(request.url);
  const fields = combineFields([...request.header].flat());
  const components = ['@method', '@authority', '@path', '@query', ...fieldsToCover.filter((name) => fields.has(name))];
  const created = Math.floor(nowMs / 1000);
  const nonce = randomBytes(16).toString('base64url');
  const params =
    `(${components.map((name) => `"${name}"`).join(' ')});created=${created};expires=${created + signatureLifetimeS}` +
    `;nonce="${nonce}";keyid="${keyid}";alg="${alg}";tag="portcullis"`;
  const target = { method: request.method, url: pathname + search, authority: host };
  const base = signatureBase({ components, params }, target, fields);
  if (base === null) throw new Error('the request has no signature base');
  const bytes = Buffer.from(base, 'latin1');
  const signature = alg === 'ed25519' ? sign(null, bytes, key) : createHmac('sha256', key).update(bytes).digest();
  return [
    ['signature-input', `sig=${params}`],
    ['signature', `sig=:${signature.toString('base64')}:`],
  ];
}

async function* whole(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}
