import { type KeyObject, createHmac, createPrivateKey, createPublicKey, randomBytes, sign } from 'node:crypto';
import { type SealingKey, openSecret, sealSecret } from '../../base/sealed-secret.ts';

const hmacBytes = 32;
const seedBytes = 32;
// RFC 8410, section 7: a PKCS #8 key of ed25519 is this head and the seed.
const seedHead = Buffer.from('302e020100300506032b657004220420', 'hex');

/** One generation of an endpoint's secrets, open: both sign every message. */
export interface SigningSecret {
  /** What is signed with as `v1`: HMAC-SHA-256. */
  readonly hmac: Buffer;
  /** What is signed with as `v1a`: ed25519. */
  readonly privateKey: KeyObject;
  /** 32 bytes. */
  readonly publicKey: Buffer;
}

/** Secrets as they are stored: `sealed` holds both, under the id of their row. */
export interface SealedSecret {
  readonly id: string;
  readonly sealed: Buffer;
}

/** New random secrets, and their sealed form for the row with this id. */
export function makeSecret(key: SealingKey, id: string): { secret: SigningSecret; sealed: Buffer } {
  const bytes = randomBytes(hmacBytes + seedBytes);
  return { secret: secretOf(bytes), sealed: sealSecret(key, bytes, contextOf(id)) };
}

/** The secrets of a row; null where they cannot be opened: SECRETS_KEY was changed, or the row was. */
export function openSigningSecret(key: SealingKey, { id, sealed }: SealedSecret): SigningSecret | null {
  const bytes = openSecret(key, sealed, contextOf(id));
  return bytes?.length === hmacBytes + seedBytes ? secretOf(bytes) : null;
}

/** The HMAC secret as Standard Webhooks writes it: whoever registered the endpoint sees it once. */
export function hmacSecretText({ hmac }: SigningSecret): string {
  return `whsec_${hmac.toString('base64')}`;
}

/** The public key as Standard Webhooks writes it: no secret. */
export function publicKeyText(publicKey: Buffer): string {
  return `whpk_${publicKey.toString('base64')}`;
}

/** The headers of one attempt (Standard Webhooks 1.0, "Webhook headers"): two signatures for each generation of secrets. */
export function signedHeaders(
  { id, timestampS, body }: { readonly id: string; readonly timestampS: number; readonly body: string },
  secrets: readonly SigningSecret[],
): Readonly<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>> {
  const content = Buffer.from(`${id}.${timestampS}.${body}`);
  const signatures = secrets.flatMap(({ hmac, privateKey }) => [
    `v1,${createHmac('sha256', hmac).update(content).digest('base64')}`,
    `v1a,${sign(null, content, privateKey).toString('base64')}`,
  ]);
  return { 'webhook-id': id, 'webhook-timestamp': String(timestampS), 'webhook-signature': signatures.join(' ') };
}

function secretOf(bytes: Buffer): SigningSecret {
  const seed = bytes.subarray(hmacBytes);
  const privateKey = createPrivateKey({ key: Buffer.concat([seedHead, seed]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { hmac: bytes.subarray(0, hmacBytes), privateKey, publicKey: spki.subarray(-32) };
}

function contextOf(id: string): string {
  return `webhook secret ${id}`;
}
