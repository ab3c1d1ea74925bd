import { PortcullisError } from '../../base/errors.ts';
import { cacheTtlMaxS } from '../../base/limits.ts';
import type { Exchange } from './exchange.ts';

/** How a call wants the response cache. */
export interface CacheTerms {
  /** How old an answer it takes, and for how long its own may be kept. */
  readonly ttlMs: number;
  /** Whether its own answer may be kept. */
  readonly store: boolean;
}

/**
 * What the header `portcullis-cache` asks for, else the route's own time: `ttl=SECONDS` takes and keeps answers, `no-store`
 * takes one if the route caches but keeps none, `bypass` does neither.
 * @returns null when the cache has no part in this call
 * @throws PortcullisError invalid_argument
 */
export function cacheTerms({ request }: Exchange, routeTtlS: number | null): CacheTerms | null {
  const [asked, ...others] = request.headersDistinct['portcullis-cache'] ?? [];
  const byRoute = routeTtlS === null ? null : { ttlMs: routeTtlS * 1000, store: true };
  if (asked === undefined) return byRoute;
  if (others.length === 0) {
    if (asked === 'bypass') return null;
    if (asked === 'no-store') return byRoute && { ...byRoute, store: false };
    const ttlS = Number(/^ttl=(\d{1,6})$/.exec(asked)?.[1]);
    if (ttlS >= 1 && ttlS <= cacheTtlMaxS) return { ttlMs: ttlS * 1000, store: true };
  }
  throw new PortcullisError(
    'invalid_argument',
    `portcullis-cache must be one of: ttl=SECONDS (1 to ${cacheTtlMaxS}), no-store, bypass.`,
    { param: 'portcullis-cache' },
  );
}
