/**
 * Whether `pattern`, in which every `*` stands for any characters (also none), matches the whole of `name`; all else is
 * compared as it stands. Time is at most the product of both lengths: patterns come from callers, so no regular
 * expression is made of them.
 */
export function matchesWildcard(pattern: string, name: string): boolean {
  let at = 0;
  let star = -1;
  let resume = 0;
  let p = 0;
  while (at < name.length) {
    if (pattern[p] === '*') {
      star = p++;
      resume = at;
    } else if (pattern[p] === name[at]) {
      p++;
      at++;
    } else if (star >= 0) {
      // The last star takes one character more.
      p = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
