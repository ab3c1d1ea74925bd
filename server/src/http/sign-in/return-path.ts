import { returnPathCharsMax } from '../../base/limits.ts';

/** Where people go who did not say. */
export const accountPath = '/account';

/**
 * The path on this server to which somebody returns after signing in. What leads anywhere else, in whatever spelling, or
 * around in a circle, is the account page.
 */
export function safeReturnPath(asked: unknown): string {
  if (typeof asked !== 'string' || asked.length > returnPathCharsMax) return accountPath;
  // Browsers take a backslash for a slash, and drop tabs and line ends: what has any was not made by us.
  if (!/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(asked)) return accountPath;
  const base = 'http://here.invalid';
  const url = URL.parse(asked, base);
  if (!url || url.origin !== base || /^\/sign-(in|out)(\/|$)/.test(url.pathname) || url.pathname.startsWith('//'))
    return accountPath;
  return url.pathname + url.search;
}
