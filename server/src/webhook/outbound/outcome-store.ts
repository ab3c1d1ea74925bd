import { deliveryGivenBackMs, endpointFailingMsMax, endpointFailureGapMs } from '../../base/webhook-limits.ts';
import type { Tx } from '../../pg/tx.ts';
import type { DisabledReason } from './endpoint-model.ts';
import type { Outcome, Verdict } from './model.ts';

/** An outcome, and what it makes of its delivery. */
export type Judged = Outcome & { readonly verdict: Verdict | null };

/**
 * Writes attempts down, and what they make of their deliveries where the claim still holds. No delivery may be in it twice;
 * endpoints are locked.
 * @returns the ids of the deliveries whose claim held
 */
export async function writeOutcomes(tx: Tx, outcomes: readonly Judged[]): Promise<ReadonlySet<string>> {
  const column = <T>(of: (outcome: Judged) => T) => outcomes.map(of);
  const { rows } = await tx.query<{ id: string; ours: boolean }>({
    name: 'write outcomes',
    text: `WITH o AS (
       SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::float8[], $5::text[], $6::boolean[], $7::float8[], $8::int[],
         $9::text[], $10::smallint[], $11::text[], $12::text[])
         AS o (id, claim, state, after_ms, reason, tried, started_ms, duration_ms, outcome, status, error, answer)),
     held AS (
       SELECT d.id, d.state = 'pending' AND d.claim IS NOT DISTINCT FROM o.claim AS ours
       FROM o JOIN webhook_deliveries d ON d.id = o.id ORDER BY d.id FOR UPDATE OF d),
     done AS (
       UPDATE webhook_deliveries d
       SET attempts = d.attempts + o.tried::int,
           tries = d.tries + (held.ours AND o.tried)::int,
           state = CASE WHEN held.ours THEN o.state ELSE d.state END,
           next_at = CASE WHEN held.ours THEN clock_timestamp() + o.after_ms * interval '1 ms' ELSE d.next_at END,
           claim = CASE WHEN held.ours THEN NULL ELSE d.claim END,
           dead_reason = CASE WHEN held.ours THEN o.reason ELSE d.dead_reason END,
           ended_at = CASE WHEN held.ours AND o.state <> 'pending' THEN clock_timestamp() ELSE d.ended_at END
       FROM o JOIN held USING (id) WHERE d.id = o.id
       RETURNING d.id, d.attempts, held.ours),
     written AS (
       INSERT INTO webhook_attempts (delivery_id, number, started_at, duration_ms, outcome, status, error, answer)
       SELECT id, done.attempts, to_timestamp(o.started_ms / 1000), o.duration_ms, o.outcome, o.status, o.error, o.answer
       FROM done JOIN o USING (id) WHERE o.tried)
     SELECT id, ours FROM done`,
    values: [
      column(({ claimed }) => claimed.id),
      column(({ claimed }) => claimed.claim),
      column(({ verdict }) => verdict?.state ?? 'pending'),
      column(({ verdict }) =>
        verdict === null ? deliveryGivenBackMs : verdict.state === 'pending' ? verdict.afterMs : 0,
      ),
      column(({ verdict }) => (verdict?.state === 'dead' ? verdict.reason : null)),
      column(({ attempt }) => attempt !== null),
      column(({ attempt }) => attempt?.startedAt ?? 0),
      column(({ attempt }) => attempt?.durationMs ?? 0),
      column(({ attempt }) => attempt?.outcome ?? null),
      column(({ attempt }) => attempt?.status ?? null),
      column(({ attempt }) => attempt?.error ?? null),
      column(({ attempt }) => attempt?.answer ?? ''),
    ],
  });
  return new Set(rows.flatMap(({ id, ours }) => (ours ? [id] : [])));
}

/** What some attempts say of their endpoint. */
export interface EndpointHealth {
  readonly id: string;
  readonly succeeded: boolean;
  readonly failed: boolean;
  readonly gone: boolean;
  readonly slow: boolean;
  /** Null where it does not ask to be left alone. */
  readonly retryAfterMs: number | null;
}

/** An endpoint that was disabled now. */
export interface DisabledEndpoint {
  readonly id: string;
  readonly projectId: string;
  readonly url: string;
  readonly reason: DisabledReason;
}

/**
 * Writes down how endpoints do, and disables those that are gone or failed for too long. They are locked.
 * @returns those that were disabled
 */
export async function writeHealth(tx: Tx, health: readonly EndpointHealth[]): Promise<DisabledEndpoint[]> {
  const { rows } = await tx.query<DisabledEndpoint>({
    name: 'write health',
    text: `UPDATE webhook_endpoints w
     SET last_success_at = CASE WHEN h.succeeded THEN now() ELSE w.last_success_at END,
         last_failure_at = CASE WHEN h.failed THEN now() ELSE w.last_failure_at END,
         failing_since = CASE WHEN h.succeeded THEN NULL WHEN NOT h.failed THEN w.failing_since
           WHEN h.fails_on THEN w.failing_since ELSE now() END,
         slow = h.slow,
         held_until = greatest(w.held_until, now() + h.retry_after_ms * interval '1 ms'),
         state = CASE WHEN h.ends_for IS NULL THEN w.state ELSE 'disabled' END,
         disabled_at = CASE WHEN h.ends_for IS NULL THEN w.disabled_at ELSE now() END,
         disabled_reason = CASE WHEN h.ends_for IS NULL THEN w.disabled_reason ELSE h.ends_for END,
         revision = w.revision + (h.ends_for IS NOT NULL)::int,
         updated_at = CASE WHEN h.ends_for IS NULL THEN w.updated_at ELSE now() END
     FROM (
       SELECT told.*, f.fails_on,
         CASE WHEN e.state <> 'active' THEN NULL WHEN told.gone THEN 'gone'
           WHEN told.failed AND NOT told.succeeded AND f.fails_on
             AND e.failing_since <= now() - $7 * interval '1 ms' THEN 'failing' END AS ends_for
       FROM unnest($1::text[], $2::boolean[], $3::boolean[], $4::boolean[], $5::boolean[], $6::float8[])
         AS told (id, succeeded, failed, gone, slow, retry_after_ms)
       JOIN webhook_endpoints e USING (id)
       CROSS JOIN LATERAL (
         SELECT coalesce(e.failing_since IS NOT NULL AND e.last_failure_at > now() - $8 * interval '1 ms', false) AS fails_on
       ) AS f) AS h
     WHERE w.id = h.id
     RETURNING w.id, w.project_id AS "projectId", w.url, h.ends_for AS reason`,
    values: [
      health.map(({ id }) => id),
      health.map(({ succeeded }) => succeeded),
      health.map(({ failed }) => failed),
      health.map(({ gone }) => gone),
      health.map(({ slow }) => slow),
      health.map(({ retryAfterMs }) => retryAfterMs),
      endpointFailingMsMax,
      endpointFailureGapMs,
    ],
  });
  return rows.filter(({ reason }) => reason !== null);
}
