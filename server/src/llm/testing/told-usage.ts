import type { Dialect } from '../dialect.ts';
import { listPrice } from '../terms.ts';
import type { Usage } from '../usage.ts';

/** A usage without long writes as an answer of the dialect tells it: every response names its tier, too. */
export function asTold<U extends Usage | null>(dialect: Dialect, usage: U): Usage | U {
  if (usage === null || dialect === 'anthropic') return usage;
  return {
    ...usage,
    ...(usage.cacheWrite5m > 0 && { untoldLifetime: true }),
    ...(dialect === 'responses' && { terms: [{ field: 'service_tier', value: listPrice }] }),
  };
}
