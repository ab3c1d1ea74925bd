import { randomBytes } from 'node:crypto';

// Crockford's alphabet in lower case: sorts by byte value, has no look-alikes.
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/** The kinds of identifier that this system issues; the prefix says which, wherever it is read. */
export type IdPrefix = 'prj' | 'psn' | 'agt' | 'run' | 'req' | 'att' | 'bud' | 'kil' | 'aud' | 'ins';

/**
 * A new identifier: prefix, 48 bits of milliseconds, 80 random bits, in base32. Identifiers of one kind sort by time
 * of creation, so that an index on them is a keyset for lists.
 */
export function newId(prefix: IdPrefix, nowMs: number = Date.now()): string {
  let time = '';
  for (let rest = nowMs, i = 0; i < 10; i++) {
    time = alphabet[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  let random = '';
  for (const byte of randomBytes(16)) random += alphabet[byte & 31];
  return `${prefix}_${time}${random}`;
}
