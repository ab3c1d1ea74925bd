import { type KeyObject, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** A key that seals secrets at rest, with an id that stands in each envelope and tells nothing of the key. */
export interface SealingKey {
  readonly id: Buffer;
  readonly key: KeyObject;
}

export const sealingKeyIdBytes = 8;
const algorithm = 'aes-256-gcm';
// NIST SP 800-38D: 96 random bits may be drawn 2^32 times under one key.
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = sealingKeyIdBytes + nonceBytes;

/**
 * Encrypts a secret for storage: id of the key, nonce, text, tag. `context` says whose secret it is; it is not stored
 * with it and must be the same when it is opened, so that none can be moved to another place.
 */
export function sealSecret({ id, key }: SealingKey, secret: Buffer, context: string): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(Buffer.from(context));
  return Buffer.concat([id, nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]);
}

/** The secret that was sealed under this key for this context; null for anything else, be it damaged, moved or of another key. */
export function openSecret({ id, key }: SealingKey, sealed: Buffer, context: string): Buffer | null {
  if (sealed.length < headBytes + tagBytes || !sealed.subarray(0, sealingKeyIdBytes).equals(id)) return null;
  const nonce = sealed.subarray(sealingKeyIdBytes, headBytes);
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  try {
    return Buffer.concat([decipher.update(sealed.subarray(headBytes, -tagBytes)), decipher.final()]);
  } catch {
    return null;
  }
}
