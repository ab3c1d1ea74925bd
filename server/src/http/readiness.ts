import type { JwtVerifier } from '../identity/jwt.ts';
import type { ControlFeed } from '../pg/control-feed.ts';
import { schemaState } from '../pg/migrate.ts';
import type { Queryable } from '../pg/tx.ts';
import type { Readiness } from './health.ts';

export interface ReadinessParts {
  /** Something in the configuration was left out. */
  readonly degraded: boolean;
  readonly db: Queryable;
  readonly feed: ControlFeed;
  readonly tokens: JwtVerifier;
  /** What else there is. */
  readonly more: readonly Readiness[];
}

/** What a gate depends on. */
export function readinessChecks({ degraded, db, feed, tokens, more }: ReadinessParts): Readiness[] {
  return [
    { name: 'configuration', needed: false, check: () => (degraded ? 'degraded' : 'ok') },
    { name: 'database', needed: true, check: () => db.query('SELECT 1').then(() => 'ok') },
    { name: 'migrations', needed: true, check: async () => ((await schemaState(db)).upToDate ? 'ok' : 'behind') },
    { name: 'control_state', needed: true, check: () => (feed.staleness() === null ? 'ok' : 'stale') },
    { name: 'jwks', needed: tokens.status !== 'not_configured', check: () => tokens.status },
    ...more,
  ];
}
