import { randomUUID } from 'node:crypto';
import { endpointQuickMax, endpointSlowMax, endpointsPerClaimMax } from '../../base/webhook-limits.ts';
import { messageBody } from '../../outbox/message.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import type { Claimed } from './model.ts';

/** What there is to do. */
export interface Due {
  readonly events: boolean;
  readonly quick: boolean;
  readonly slow: boolean;
}

/** One look at three indexes. */
export async function whatIsDue(db: Queryable): Promise<Due> {
  const dueOf = (slow: boolean) =>
    `EXISTS (SELECT FROM webhook_endpoints WHERE state = 'active' AND slow = ${slow} AND next_due_at <= now())`;
  const { rows } = await db.query<Due>({
    name: 'what is due',
    text: `SELECT EXISTS (SELECT FROM outbox_events WHERE fanned_out_at IS NULL) AS events,
            ${dueOf(false)} AS quick, ${dueOf(true)} AS slow`,
  });
  return rows[0] ?? { events: false, quick: false, slow: false };
}

/** An endpoint with a delivery that is due, locked. */
export interface DueEndpoint {
  readonly id: string;
  readonly url: string;
  readonly ratePerS: number | null;
}

/** Locks endpoints that are due, those that waited longest first; ones that another worker has at hand are left to it. */
export async function lockDue(tx: Tx, slow: boolean, limit: number): Promise<DueEndpoint[]> {
  const { rows } = await tx.query<DueEndpoint>({
    name: 'lock due',
    text: `SELECT id, url, rate_per_s AS "ratePerS" FROM webhook_endpoints
     WHERE state = 'active' AND slow = $1 AND next_due_at <= now()
     ORDER BY next_due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED`,
    values: [slow, Math.min(limit, endpointsPerClaimMax)],
  });
  return rows;
}

interface ClaimedRow {
  readonly id: string;
  readonly endpoint_id: string;
  readonly project_id: string;
  readonly event_id: string;
  readonly tries: number;
  readonly ordering_key: string | null;
  readonly type: string;
  readonly schema_version: number;
  readonly event_project_id: string | null;
  readonly occurred_at: Date;
  readonly data: string;
}

/**
 * Claims deliveries that are due at these locked endpoints: of each as many as it has free places and its rate allows, and no
 * more than its share of `limit`. Each is another's again when `claimMs` have passed without an outcome.
 */
export async function claimDeliveries(
  tx: Tx,
  endpoints: readonly DueEndpoint[],
  { slow, limit, claimMs }: { readonly slow: boolean; readonly limit: number; readonly claimMs: number },
): Promise<Claimed[]> {
  const claim = randomUUID();
  const share = Math.max(Math.floor(limit / endpoints.length), 1);
  // In a statement after the one that locked them, so that what others claimed before is seen.
  const { rows } = await tx.query<ClaimedRow>({
    name: 'claim deliveries',
    text: `UPDATE webhook_deliveries d SET claim = $1, next_at = clock_timestamp() + $2 * interval '1 ms'
     FROM unnest($3::text[], $4::int[]) AS e (id, allowed)
     CROSS JOIN LATERAL (
       SELECT count(*) AS under_way FROM webhook_deliveries
       WHERE endpoint_id = e.id AND claim IS NOT NULL AND next_at > now()) AS c
     CROSS JOIN LATERAL (
       SELECT id FROM webhook_deliveries
       WHERE endpoint_id = e.id AND state = 'pending' AND next_at <= now()
       ORDER BY next_at LIMIT greatest(least(e.allowed, $5 - c.under_way), 0)) AS chosen
     JOIN webhook_deliveries w ON w.id = chosen.id
     JOIN outbox_events o ON o.id = w.event_id
     WHERE d.id = chosen.id
     RETURNING d.id, d.endpoint_id, d.project_id, d.event_id, d.tries, d.ordering_key,
       o.type, o.schema_version, o.project_id AS event_project_id, o.occurred_at, o.data`,
    values: [
      claim,
      claimMs,
      endpoints.map(({ id }) => id),
      endpoints.map(({ ratePerS }) => Math.min(share, ratePerS ?? share)),
      slow ? endpointSlowMax : endpointQuickMax,
    ],
  });
  const urls = new Map(endpoints.map(({ id, url }) => [id, url]));
  return rows.map((row) => claimedOf(row, urls.get(row.endpoint_id) ?? '', claim));
}

/** Leaves endpoints with a rate alone for as long as what was claimed takes at that rate. */
export async function holdRated(tx: Tx, held: ReadonlyMap<string, number>): Promise<void> {
  await tx.query(
    `UPDATE webhook_endpoints w SET held_until = greatest(w.held_until, now() + h.ms * interval '1 ms')
     FROM unnest($1::text[], $2::float8[]) AS h (id, ms) WHERE w.id = h.id`,
    [[...held.keys()], [...held.values()]],
  );
}

/** Has an endpoint that does not answer soon share the places of its like from now on. */
export async function markSlow(db: Queryable, endpointId: string): Promise<void> {
  await db.query('UPDATE webhook_endpoints SET slow = true WHERE id = $1 AND NOT slow', [endpointId]);
}

/** What signs for these endpoints now, the newest first. */
export async function secretsOf(
  db: Queryable,
  endpointIds: readonly string[],
): Promise<{ readonly id: string; readonly endpointId: string; readonly sealed: Buffer }[]> {
  const { rows } = await db.query<{ id: string; endpointId: string; sealed: Buffer }>({
    name: 'secrets of',
    text: `SELECT id, endpoint_id AS "endpointId", sealed FROM webhook_secrets
     WHERE endpoint_id = ANY ($1) AND coalesce(expires_at, 'infinity') > now()
     ORDER BY expires_at DESC NULLS FIRST`,
    values: [endpointIds],
  });
  return rows;
}

function claimedOf(row: ClaimedRow, url: string, claim: string): Claimed {
  return {
    id: row.id,
    endpointId: row.endpoint_id,
    projectId: row.project_id,
    url,
    eventId: row.event_id,
    body: messageBody({
      type: row.type,
      version: row.schema_version,
      projectId: row.event_project_id,
      occurredAt: row.occurred_at.getTime(),
      data: row.data,
    }),
    tries: row.tries,
    inOrder: row.ordering_key !== null,
    claim,
  };
}
