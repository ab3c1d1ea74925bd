import { randomFillSync } from 'node:crypto';

// Crockford's alphabet in lower case: sorts by byte value, has no look-alikes.
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

const timeDigits = 10;
const randomPerId = 16;
// Random bytes are drawn for many identifiers at a time: a call to the generator costs more than all the rest.
const drawn = new Uint8Array(256 * randomPerId);
let used = drawn.length;

/** The kinds of identifier that this system issues; the prefix says which, wherever it is read. */
export type IdPrefix =
  | 'prj'
  | 'psn'
  | 'team'
  | 'ses'
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
  | 'prv'
  | 'pol'
  | 'sgk'
  | 'lgn'
  | 'evt'
  | 'bmk'
  | 'task'
  | 'note'
  | 'chg'
  | 'prm';

/**
 * A new identifier: prefix, 48 bits of milliseconds, 80 random bits, in base32. Identifiers of one kind sort by time
 * of creation, so that an index on them is a keyset for lists.
 */
export function newId(prefix: IdPrefix, nowMs: number = Date.now()): string {
  const time = timeText(nowMs);
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  let random = '';
  for (const end = used + randomPerId; used < end; used++) random += alphabet[(drawn[used] ?? 0) & 31];
  return `${prefix}_${time}${random}`;
}

/**
 * The identifier of what its teller named: prefix, 48 bits of milliseconds, the first 80 bits of a digest of the name. Of the
 * same time and name it is the same, and it sorts among those of `newId`.
 */
export function namedId(prefix: IdPrefix, ms: number, digest: Uint8Array): string {
  let name = '';
  let bits = 0;
  let held = 0;
  for (const byte of digest.subarray(0, (randomPerId * 5) / 8)) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) name += alphabet[(held >> (bits - 5)) & 31];
    held &= 31;
  }
  return `${prefix}_${timeText(ms)}${name}`;
}

/** The least identifier that can be made at that time or later; times outside of 48 bits are taken for the nearest one. */
export function leastId(prefix: IdPrefix, ms: number): string {
  return `${prefix}_${timeText(Math.min(Math.max(Math.floor(ms), 0), 2 ** 48 - 1))}`;
}

/** Epoch milliseconds at which an identifier was made; null for what `newId` did not make. */
export function idTime(id: string): number | null {
  const time = /^[a-z]{3,4}_([0-7][0-9a-hjkmnp-tv-z]{9})[0-9a-hjkmnp-tv-z]{16}$/.exec(id)?.[1];
  if (time === undefined) return null;
  let ms = 0;
  for (const digit of time) ms = ms * 32 + alphabet.indexOf(digit);
  return ms;
}

function timeText(ms: number): string {
  let time = '';
  for (let rest = ms, i = 0; i < timeDigits; i++) {
    time = alphabet[rest % 32] + time;
    rest = Math.floor(rest / 32);
  }
  return time;
}
