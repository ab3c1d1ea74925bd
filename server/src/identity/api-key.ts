import { createHmac, hkdfSync, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';

// pcl_<key id>_<secret><checksum>. 43 digits of base62 hold 256 bits; CRC-32 fits in 6.
const prefix = 'pcl_';
const idDigits = 12;
const secretDigits = 43;
const checksumDigits = 6;
const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const keyPattern = new RegExp(
  `^${prefix}([0-9A-Za-z]{${idDigits}})_([0-9A-Za-z]{${secretDigits}})[0-9A-Za-z]{${checksumDigits}}$`,
);

/** An API key taken apart. */
export interface ApiKey {
  /** Public: stands in lists, logs and the audit log. */
  readonly id: string;
  readonly secret: string;
}

/** A new key from 256 random bits and a random id. */
export function generateApiKey(): ApiKey {
  return { id: randomBase62(idDigits), secret: randomBase62(secretDigits) };
}

/** The key that follows from 256 secret bits, the same each time (HKDF-SHA-256, RFC 5869). */
export function apiKeyFrom(secret: Buffer): ApiKey {
  // 55 digits are wanted, and of 128 bytes as good as all make one.
  const digits = base62Digits(new Uint8Array(hkdfSync('sha256', secret, '', 'portcullis api key', 128)));
  return { id: digits.slice(0, idDigits), secret: digits.slice(idDigits, idDigits + secretDigits) };
}

/** The text of a key, which is shown once, with a checksum by which secret scanners tell it from other text offline. */
export function formatApiKey(key: ApiKey): string {
  const text = `${prefix}${key.id}_${key.secret}`;
  return text + checksum(text);
}

/** Takes a key apart; null when the form or the checksum is wrong, which also tells a mistyped key without a look-up. */
export function parseApiKey(text: string): ApiKey | null {
  const [, id, secret] = keyPattern.exec(text) ?? [];
  if (id === undefined || secret === undefined) return null;
  return checksum(text.slice(0, -checksumDigits)) === text.slice(-checksumDigits) ? { id, secret } : null;
}

/** What is stored of a secret: HMAC-SHA-256 under the server's pepper, so that a stolen table alone verifies nothing. */
export function hashSecret(pepper: KeyObject, secret: string): Buffer {
  return createHmac('sha256', pepper).update(secret).digest();
}

/** Compares two digests of equal length in constant time. */
export function digestsEqual(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function checksum(text: string): string {
  let digits = '';
  for (let rest = crc32(text), i = 0; i < checksumDigits; i++) {
    digits = base62.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

function randomBase62(length: number): string {
  let text = '';
  while (text.length < length) text += base62Digits(randomBytes(length));
  return text.slice(0, length);
}

/** A base62 digit of each byte, each equally likely: of 256 values the 8 above the last multiple of 62 make none. */
function base62Digits(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) if (byte < 248) text += base62.charAt(byte % 62);
  return text;
}
