import type { Logger } from '../../base/log.ts';
import type { Metrics } from '../../base/metrics.ts';
import { purgeEveryMs } from '../../base/limits.ts';
import { Idempotency, type IdempotencyOptions } from '../../idempotency/service.ts';
import { ResponseCache } from '../../response-cache/service.ts';

/** The answers that this door keeps to give them again, and the jobs that delete them when their time is over. */
export function keepAnswers(
  options: IdempotencyOptions,
  { metrics, log }: { readonly metrics: Metrics; readonly log: Logger },
) {
  const idempotency = new Idempotency(options);
  const cache = new ResponseCache({
    ...options,
    onQuarantined: (projectId, reason) => {
      metrics.cacheQuarantined.inc({ reason });
      log.error({ project_id: projectId, reason }, 'a damaged entry of the response cache was put aside');
    },
  });
  // One each: what goes wrong with the one does not keep the other from its work.
  const purges = [
    { name: 'purge idempotency keys', everyMs: purgeEveryMs, run: () => idempotency.purge() },
    { name: 'purge the response cache', everyMs: purgeEveryMs, run: () => cache.purge() },
  ];
  return { idempotency, cache, purges };
}
