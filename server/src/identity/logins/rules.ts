import { refreshAgainMs, refreshAtOnceMs } from '../../base/limits.ts';

/**
 * What a refresh credential means: the one that is good now; the one before, from somebody who refreshed at the same moment
 * or did not get the answer; one that was used and comes back; or one of a time that the database knows nothing of.
 * @param presented its generation; 0 is the device code, which is followed by the first
 * @param sinceMs since the generation that is good now began
 * @param isUsed whether the key of that generation was: the answer that brought it was not lost
 */
export function judgeRefresh(
  presented: number,
  { generation, sinceMs, isUsed }: { readonly generation: number; readonly sinceMs: number; readonly isUsed: boolean },
): 'current' | 'again' | 'reused' | 'unknown' {
  if (presented === generation) return 'current';
  if (presented > generation) return 'unknown';
  const graceMs = isUsed ? refreshAtOnceMs : refreshAgainMs;
  return presented === generation - 1 && sinceMs <= graceMs ? 'again' : 'reused';
}
