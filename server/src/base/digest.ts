import { createHash } from 'node:crypto';

/**
 * SHA-256 of several parts, each with its length before it, so that no two lists of parts give the same: what is moved
 * from one part to the next counts, and null is not the empty text.
 */
export function digestOf(parts: readonly (string | Buffer | null)[]): Buffer {
  const hash = createHash('sha256');
  const length = Buffer.alloc(8);
  for (const part of parts) {
    length.writeBigInt64BE(part === null ? -1n : BigInt(Buffer.byteLength(part)));
    hash.update(length);
    if (part !== null) hash.update(part);
  }
  return hash.digest();
}
