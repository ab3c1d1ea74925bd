// Control characters (ECMA-48 escapes among them), format characters (bidirectional overrides, zero-width ones), line
// and paragraph separators, and unpaired surrogates.
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\b': '\\b' };

/**
 * Text that a terminal shows and never obeys. Names, reasons and messages come from others: an escape sequence in one
 * could retitle a window, hide a row or fake one, and a bidirectional override reads as something else than it is.
 */
export function visible(text: string): string {
  return text.replace(unsafe, (character) => shortEscapes[character] ?? numericEscape(character));
}

function numericEscape(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/** JSON whose strings a terminal cannot be attacked with. It parses to the same value: JSON allows any escape. */
export function visibleJson(value: unknown, indent = 2): string {
  return JSON.stringify(value, null, indent).replace(unsafe, (character) =>
    character === '\n'
      ? character
      : Array.from({ length: character.length }, (_, i) => utf16Escape(character.charCodeAt(i))).join(''),
  );
}

function utf16Escape(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

const graphemes = new Intl.Segmenter();
const wide =
  /^[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;

/** Columns that `text` takes in a terminal: two for East Asian wide characters (UAX #11) and emoji. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const { segment } of graphemes.segment(text)) columns += wide.test(segment) ? 2 : 1;
  return columns;
}

/** Cuts `text` to `columnsMax` columns; an ellipsis says that something is missing. */
export function cut(text: string, columnsMax: number): string {
  if (columnsOf(text) <= columnsMax) return text;
  let kept = '';
  let columns = 1;
  for (const { segment } of graphemes.segment(text)) {
    columns += columnsOf(segment);
    if (columns > columnsMax) break;
    kept += segment;
  }
  return `${kept}…`;
}
