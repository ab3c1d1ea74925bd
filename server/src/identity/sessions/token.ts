import { createHmac, hash, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';

const randomChars = 43;
const tagChars = 22;
const form = new RegExp(`^[\\w-]{${randomChars + tagChars}}$`);

/**
 * What a session's cookie holds: 256 random bits, and a tag by which this gate knows that it made them. A stranger's
 * guess is turned away without a look into the database.
 */
export function newSessionToken(key: KeyObject): string {
  const random = randomBytes(32).toString('base64url');
  return random + tagOf(key, random);
}

/** By what the session is found: its row does not have the token, so that whoever reads the row cannot use it. Null for a token that is not ours. */
export function sessionDigest(key: KeyObject, token: string): Buffer | null {
  if (!form.test(token)) return null;
  const tag = Buffer.from(tagOf(key, token.slice(0, randomChars)));
  if (!timingSafeEqual(tag, Buffer.from(token.slice(randomChars)))) return null;
  return hash('sha256', token, 'buffer');
}

/** What our own pages know and no other page can: it proves that a request in the session comes from them. */
export function csrfToken(token: string): string {
  return createHmac('sha256', token).update('portcullis csrf').digest('base64url');
}

export function isCsrfToken(token: string, presented: string): boolean {
  const expected = Buffer.from(csrfToken(token));
  const actual = Buffer.from(presented);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

function tagOf(key: KeyObject, random: string): string {
  return createHmac('sha256', key).update(`session ${random}`).digest().subarray(0, 16).toString('base64url');
}
