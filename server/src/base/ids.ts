import { randomFillSync } from 'node:crypto';

// Crockford's alphabet in lower case: sorts by byte value, has no look-alikes.
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

const randomPerId = 16;
// Random bytes are drawn for many identifiers at a time: a call to the generator costs more than all the rest.
const drawn = new Uint8Array(256 * randomPerId);
let used = drawn.length;

/** The kinds of identifier that this system issues; the prefix says which, wherever it is read. */
export type IdPrefix =
  | 'prj'
  | 'psn'
  | 'agt'
  | 'run'
  | 'req'
  | 'att'
  | 'bud'
  | 'ntc'
  | 'kil'
  | 'aud'
  | 'ins'
  | 'idk'
  | 'imp'
  | 'prv';

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
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  let random = '';
  for (const end = used + randomPerId; used < end; used++) random += alphabet[(drawn[used] ?? 0) & 31];
  return `${prefix}_${time}${random}`;
}
