import { refreshAgainMs } from '../../base/limits.ts';

/**
 * What a refresh credential means: the one that is good now; the one before, from somebody who refreshed at the same moment
 * or did not get the answer; one that was used and comes back; or one of a time that the database knows nothing of.
 * @param sinceMs since the generation that is good now began
 */
export function judgeRefresh(
  presented: number,
  { generation, sinceMs }: { readonly generation: number; readonly sinceMs: number },
): 'current' | 'again' | 'reused' | 'unknown' {
  if (presented === generation) return 'current';
  if (presented > generation) return 'unknown';
  return presented === generation - 1 && sinceMs <= refreshAgainMs ? 'again' : 'reused';
}
