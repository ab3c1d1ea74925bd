import { randomInt } from 'node:crypto';

// RFC 8628, section 6.1: no vowels, so that no word comes of it, and nothing that looks like something else. 20^8 are 34 bits,
// which hold for ten minutes against the few guesses that a session has.
const alphabet = 'BCDFGHJKLMNPQRSTVWXZ';
const letters = 8;
const form = new RegExp(`^[${alphabet}]{${letters}}$`);

/** What people type to confirm a login: `WDJB-MJHT`. */
export function newUserCode(): string {
  const code = Array.from({ length: letters }, () => alphabet.charAt(randomInt(alphabet.length))).join('');
  return `${code.slice(0, 4)}-${code.slice(4)}`;
}

/** The code that was typed, in whatever case and with whatever between its letters; null for what is none. */
export function readUserCode(text: string): string | null {
  const code = text
    .slice(0, 40)
    .toUpperCase()
    .replace(/[\s_.-]/g, '');
  return form.test(code) ? `${code.slice(0, 4)}-${code.slice(4)}` : null;
}
