import { refreshAgainMs } from '../../base/limits.ts';
import { commonScopes, type Scope, scopes } from '../scopes.ts';

const allButAdmin: ReadonlySet<Scope> = new Set(scopes.filter((scope) => scope !== 'admin'));

/** What a login gets of the scopes that somebody holds: those that were asked for, or all but `admin`. */
export function grantedScopes(asked: readonly Scope[] | null, held: ReadonlySet<Scope>): Scope[] {
  return [...commonScopes(asked === null ? allButAdmin : new Set(asked), held)].toSorted();
}

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
