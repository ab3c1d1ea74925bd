import { commonScopes, type Scope, scopes } from '../scopes.ts';

const allButAdmin: ReadonlySet<Scope> = new Set(scopes.filter((scope) => scope !== 'admin'));

/** What a login gets of the scopes that somebody holds: those that were asked for, or all but `admin`. */
export function grantedScopes(asked: readonly Scope[] | null, held: ReadonlySet<Scope>): Scope[] {
  return [...commonScopes(asked === null ? allButAdmin : new Set(asked), held)].toSorted();
}
