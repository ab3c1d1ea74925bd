import { freshSignInMs } from '../../base/limits.ts';
import type { Queryable } from '../../pg/tx.ts';
import type { Principal } from '../model.ts';
import { sessionProofAgeMs } from './store.ts';

/** How long ago whoever is in a session proved who they are: minutes, longer, or nobody knows. */
export type Freshness = 'fresh' | 'stale' | 'unknown';

/**
 * Whether the caller is at a browser and proved who they are a few minutes ago. A session that lasts, or that a provider gave
 * to somebody whom it knew still, shows only that the browser is the same.
 */
export async function isFreshlySignedIn(db: Queryable, by: Principal): Promise<boolean> {
  return (await freshnessOf(db, by)) === 'fresh';
}

/** The same in more words: by the database's clock, and `unknown` outside of sessions. */
export async function freshnessOf(db: Queryable, { sessionId }: Principal): Promise<Freshness> {
  const ageMs = sessionId === undefined ? null : await sessionProofAgeMs(db, sessionId);
  if (ageMs === null) return 'unknown';
  return ageMs < freshSignInMs ? 'fresh' : 'stale';
}
