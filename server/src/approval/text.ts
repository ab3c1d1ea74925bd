/** Texts of others, for people who decide by them. */

// Control characters (escapes of terminals among them), format characters (bidirectional overrides, zero-width ones),
// separators of lines, and unpaired surrogates: what would show something else than is there.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

const cutMark = ' […]';

/** Text as it is shown: nothing in it hides or turns round what stands beside it, and no more than `charsMax` of it. */
export function shown(text: string, charsMax: number): string {
  const clean = text
    .slice(0, charsMax + 1)
    .replace(unsafe, (found) => (found === '\n' || found === '\t' ? found : '\uFFFD'));
  return clean.length <= charsMax ? clean : `${clean.slice(0, charsMax - cutMark.length).toWellFormed()}${cutMark}`;
}
