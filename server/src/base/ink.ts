/**
 * Whether a text shows anything at all: blanks, controls, what may be ignored when it is drawn (Unicode's
 * Default_Ignorable_Code_Point, which has the fillers of Hangul) and the empty pattern of Braille do not.
 */
export function hasInk(text: string): boolean {
  return /[^\s\p{C}\p{Z}\p{DI}\u2800]/u.test(text);
}
