import type { Pool } from 'pg';
import { appendAudit } from '../../audit/append.ts';
import type { Logger } from '../../base/log.ts';
import { endpointQuickMs } from '../../base/webhook-limits.ts';
import { inTransaction, type Tx } from '../../pg/tx.ts';
import { lockEndpoints, refreshDue, releaseNextOf } from './due-store.ts';
import { hostOf } from './endpoint-model.ts';
import type { Outcome } from './model.ts';
import {
  type DisabledEndpoint,
  type EndpointHealth,
  type Judged,
  writeHealth,
  writeOutcomes,
} from './outcome-store.ts';
import { verdictOf } from './rules.ts';

/** What the metric counts: `lost` is an attempt whose claim had ended meanwhile, so that another one decides. */
export type CountedOutcome = 'delivered' | 'retried' | 'dead' | 'lost';

/**
 * Writes outcomes in one transaction, and what follows from them: the next of their keys, how their endpoints do, and those
 * that are disabled.
 * @returns what each attempt counts as; what was given back is not counted
 */
export async function recordOutcomes(
  pool: Pool,
  outcomes: readonly Outcome[],
  random: () => number,
  log: Logger,
): Promise<readonly { readonly outcome: Outcome; readonly counts: CountedOutcome }[]> {
  const judged = outcomes.map((outcome) => judge(outcome, random));
  const endpoints = [...new Set(outcomes.map(({ claimed }) => claimed.endpointId))];
  const { ours, disabled } = await inTransaction(pool, async (tx) => {
    await lockEndpoints(tx, endpoints);
    const ours = await writeOutcomes(tx, judged);
    const inOrder = judged.filter(({ claimed }) => claimed.inOrder && ours.has(claimed.id));
    if (inOrder.length > 0)
      await releaseNextOf(
        tx,
        inOrder.map(({ claimed }) => claimed.id),
      );
    const health = healthOf(outcomes);
    const disabled = health.length === 0 ? [] : await writeHealth(tx, health);
    for (const endpoint of disabled) await auditDisabled(tx, endpoint);
    await refreshDue(tx, endpoints);
    return { ours, disabled };
  });
  for (const { id, projectId, url, reason } of disabled)
    log.warn({ endpoint_id: id, project_id: projectId, host: hostOf(url), reason }, 'a webhook endpoint was disabled');
  return judged.flatMap(({ verdict, ...outcome }) =>
    verdict === null ? [] : [{ outcome, counts: ours.has(outcome.claimed.id) ? countOf[verdict.state] : 'lost' }],
  );
}

const countOf = { delivered: 'delivered', pending: 'retried', dead: 'dead' } as const;

function judge(outcome: Outcome, random: () => number): Judged {
  const { attempt, claimed } = outcome;
  return { ...outcome, verdict: attempt === null ? null : verdictOf(attempt, claimed.tries, random()) };
}

/** What these attempts say of each endpoint, taken together. */
function healthOf(outcomes: readonly Outcome[]): EndpointHealth[] {
  const health = new Map<string, EndpointHealth>();
  for (const { claimed, attempt } of outcomes) {
    if (attempt === null) continue;
    const { outcome, durationMs, retryAfterMs } = attempt;
    const before = health.get(claimed.endpointId);
    const succeeded = outcome === 'delivered';
    health.set(claimed.endpointId, {
      id: claimed.endpointId,
      succeeded: succeeded || before?.succeeded === true,
      failed: !succeeded || before?.failed === true,
      gone: outcome === 'gone' || before?.gone === true,
      // One good answer among them shows that it is well.
      slow: !(succeeded && durationMs <= endpointQuickMs) && before?.slow !== false,
      retryAfterMs: longer(retryAfterMs, before?.retryAfterMs ?? null),
    });
  }
  return [...health.values()];
}

function longer(a: number | null, b: number | null): number | null {
  return a === null ? b : Math.max(a, b ?? 0);
}

function auditDisabled(tx: Tx, { id, projectId, url, reason }: DisabledEndpoint): Promise<void> {
  return appendAudit(tx, {
    actor: { kind: 'system', id: 'webhooks' },
    action: 'webhook_endpoint.disabled',
    target: id,
    projectId,
    requestId: null,
    payload: { host: hostOf(url), reason },
  });
}
