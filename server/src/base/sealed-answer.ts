import { type KeyObject, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** A whole answer as a client gets it, kept to be given again. */
export interface WholeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: Buffer;
}

const algorithm = 'aes-256-gcm';
// NIST SP 800-38D: 96 random bits may be drawn 2^32 times under one key.
const nonceBytes = 12;
const tagBytes = 16;

/**
 * Encrypts an answer for storage. `context` is not stored with it and must be the same when it is opened: it ties the
 * answer to its place, so that none can be moved to another.
 */
export function sealAnswer(key: KeyObject, { body, ...head }: WholeAnswer, context: Buffer): Buffer {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(context);
  const headBytes = Buffer.from(JSON.stringify(head));
  const headLength = Buffer.alloc(4);
  headLength.writeUInt32BE(headBytes.length);
  const parts = [headLength, headBytes, body].map((part) => cipher.update(part));
  return Buffer.concat([nonce, ...parts, cipher.final(), cipher.getAuthTag()]);
}

/** The answer that was sealed under this key for this context; null for anything else, be it damaged, moved or made up. */
export function openAnswer(key: KeyObject, sealed: Buffer, context: Buffer): WholeAnswer | null {
  if (sealed.length < nonceBytes + tagBytes) return null;
  const decipher = createDecipheriv(algorithm, key, sealed.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(context);
  decipher.setAuthTag(sealed.subarray(-tagBytes));
  const opened = decipher.update(sealed.subarray(nonceBytes, -tagBytes));
  try {
    decipher.final();
  } catch {
    return null;
  }
  const bodyAt = 4 + opened.readUInt32BE(0);
  const head = JSON.parse(opened.toString('utf8', 4, bodyAt)) as Pick<WholeAnswer, 'status' | 'headers'>;
  return { ...head, body: opened.subarray(bodyAt) };
}
