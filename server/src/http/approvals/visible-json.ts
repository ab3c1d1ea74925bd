import { indentedCharsMax } from '../../base/approval-limits.ts';

// What is not there to be seen, or turns round what stands beside it: controls, formats, separators of lines, unpaired
// surrogates, blanks that are no space, and what may be ignored when it is drawn.
const unseen = /(?! )[\p{C}\p{Z}\p{DI}\u2800]/gu;

/**
 * JSON as people read it: indented, unless that makes very much of it, with escapes for what would not be seen or would hide
 * something else. It parses to the same value, since JSON allows any escape, so that it can be edited and sent back.
 */
export function visibleJson(value: unknown): string {
  const indented = JSON.stringify(value, null, 2);
  const text = indented.length <= indentedCharsMax ? indented : JSON.stringify(value);
  return text.replace(unseen, (found) => (found === '\n' ? found : Array.from(found.split(''), escaped).join('')));
}

function escaped(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
