import type { EventType } from '../../outbox/catalogue.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import type { DisabledReason, Endpoint, EndpointContent, EndpointState } from './endpoint-model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly url: string;
  readonly description: string;
  readonly event_types: readonly EventType[];
  readonly rate_per_s: number | null;
  readonly ordered: boolean;
  readonly state: EndpointState;
  readonly disabled_reason: DisabledReason | null;
  readonly public_keys: readonly Buffer[] | null;
  readonly old_secret_until: Date | null;
  readonly failing_since: Date | null;
  readonly challenge_id: string | null;
  readonly challenge_attempts: number | null;
  readonly challenge_next_at: Date | null;
  readonly challenge_error: string | null;
  readonly revision: bigint;
  readonly created_by: string;
  readonly created_at: Date;
  readonly updated_at: Date;
}

// All of one endpoint, by the keys of each table; a page of endpoints is small.
const select = `SELECT e.id, e.project_id, e.url, e.description, e.event_types, e.rate_per_s, e.ordered, e.state, e.disabled_reason,
    e.failing_since, e.revision, e.created_by, e.created_at, e.updated_at,
    s.public_keys, s.old_secret_until,
    c.id AS challenge_id, c.attempts AS challenge_attempts, c.next_at AS challenge_next_at, c.error AS challenge_error
  FROM webhook_endpoints AS e
  LEFT JOIN webhook_challenges AS c ON c.endpoint_id = e.id
  LEFT JOIN LATERAL (
    SELECT array_agg(public_key ORDER BY expires_at DESC NULLS FIRST) AS public_keys, max(expires_at) AS old_secret_until
    FROM webhook_secrets WHERE endpoint_id = e.id AND coalesce(expires_at, 'infinity') > now()) AS s ON true`;

function fromRow(row: Row): Endpoint {
  return {
    id: row.id,
    projectId: row.project_id,
    url: row.url,
    description: row.description,
    eventTypes: row.event_types,
    ratePerS: row.rate_per_s,
    ordered: row.ordered,
    state: row.state,
    disabledReason: row.disabled_reason,
    publicKeys: row.public_keys ?? [],
    oldSecretUntil: row.old_secret_until?.getTime() ?? null,
    failingSince: row.failing_since?.getTime() ?? null,
    challenge:
      row.challenge_id === null
        ? null
        : {
            id: row.challenge_id,
            attempts: row.challenge_attempts ?? 0,
            nextAt: row.challenge_next_at?.getTime() ?? null,
            error: row.challenge_error ?? '',
          },
    revision: row.revision,
    createdBy: row.created_by,
    createdAt: row.created_at.getTime(),
    updatedAt: row.updated_at.getTime(),
  };
}

export async function findEndpoint(db: Queryable, projectId: string, id: string): Promise<Endpoint | null> {
  const { rows } = await db.query<Row>(`${select} WHERE e.id = $1 AND e.project_id = $2 AND e.state <> 'deleted'`, [
    id,
    projectId,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The endpoint, which nobody else changes until the transaction ends. */
export async function lockEndpoint(tx: Tx, projectId: string, id: string): Promise<Endpoint | null> {
  await tx.query('SELECT FROM webhook_endpoints WHERE id = $1 AND project_id = $2 FOR UPDATE', [id, projectId]);
  return findEndpoint(tx, projectId, id);
}

/** Endpoints of the project, newest first, from below `beforeId` (null: from the newest). */
export async function selectEndpoints(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<Endpoint[]> {
  const { rows } = await db.query<Row>(
    `${select} WHERE e.project_id = $1 AND e.state <> 'deleted' AND ($2::text IS NULL OR e.id < $2)
     ORDER BY e.id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/** Has whoever else registers an endpoint in the project wait until the transaction ends. @returns whether there is such a project */
export async function lockProject(tx: Tx, projectId: string): Promise<boolean> {
  const { rowCount } = await tx.query('SELECT FROM projects WHERE id = $1 FOR NO KEY UPDATE', [projectId]);
  return rowCount === 1;
}

/** How many endpoints the project has, up to `max`. */
export async function countEndpoints(tx: Tx, projectId: string, max: number): Promise<number> {
  const { rows } = await tx.query<{ count: bigint }>(
    `SELECT count(*) AS count FROM (
       SELECT FROM webhook_endpoints WHERE project_id = $1 AND state <> 'deleted' LIMIT $2) AS found`,
    [projectId, max],
  );
  return Number(rows[0]?.count ?? 0);
}

export async function insertEndpoint(
  tx: Tx,
  endpoint: Pick<Endpoint, 'id' | 'projectId' | 'createdBy'> & EndpointContent,
): Promise<void> {
  await tx.query(
    `INSERT INTO webhook_endpoints (id, project_id, url, description, event_types, rate_per_s, ordered, state, created_by)
     VALUES ($1, $2, $3, $4, $5, $6, $7, 'unverified', $8)`,
    [
      endpoint.id,
      endpoint.projectId,
      endpoint.url,
      endpoint.description,
      [...endpoint.eventTypes],
      endpoint.ratePerS,
      endpoint.ordered,
      endpoint.createdBy,
    ],
  );
}

/** Writes what people changed. One that is enabled again begins as one that never failed. */
export async function updateEndpoint(
  tx: Tx,
  id: string,
  { url, description, eventTypes, ratePerS, ordered }: EndpointContent,
  { state, disabledReason }: Pick<Endpoint, 'state' | 'disabledReason'>,
): Promise<void> {
  await tx.query(
    `UPDATE webhook_endpoints
     SET url = $2, description = $3, event_types = $4, rate_per_s = $5, ordered = $6, state = $7, disabled_reason = $8,
         disabled_at = CASE WHEN $7 = 'disabled' THEN coalesce(disabled_at, now()) END,
         failing_since = CASE WHEN state = 'disabled' AND $7 <> 'disabled' THEN NULL ELSE failing_since END,
         held_until = CASE WHEN state = 'disabled' AND $7 <> 'disabled' THEN NULL ELSE held_until END,
         revision = revision + 1, updated_at = now()
     WHERE id = $1`,
    [id, url, description, [...eventTypes], ratePerS, ordered, state, disabledReason],
  );
}

/** Counts a change that is in other tables. */
export async function touchEndpoint(tx: Tx, id: string): Promise<void> {
  await tx.query('UPDATE webhook_endpoints SET revision = revision + 1, updated_at = now() WHERE id = $1', [id]);
}

/** Ends an endpoint for good. Of its URL the origin stays, since the rest may be a secret; its secrets and its challenge go. */
export async function setEndpointDeleted(tx: Tx, id: string, origin: string): Promise<void> {
  await tx.query(
    `UPDATE webhook_endpoints SET state = 'deleted', disabled_at = NULL, disabled_reason = NULL, url = $2, updated_at = now()
     WHERE id = $1`,
    [id, origin],
  );
  await tx.query('DELETE FROM webhook_secrets WHERE endpoint_id = $1', [id]);
  await tx.query('DELETE FROM webhook_challenges WHERE endpoint_id = $1', [id]);
}

/** The endpoint answered its challenge. @returns false where it was changed meanwhile */
export async function setEndpointVerified(tx: Tx, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `UPDATE webhook_endpoints SET state = 'active', revision = revision + 1, updated_at = now()
     WHERE id = $1 AND state = 'unverified'`,
    [id],
  );
  return rowCount === 1;
}

export async function insertSecret(
  tx: Tx,
  secret: { readonly id: string; readonly endpointId: string; readonly sealed: Buffer; readonly publicKey: Buffer },
): Promise<void> {
  await tx.query('INSERT INTO webhook_secrets (id, endpoint_id, sealed, public_key) VALUES ($1, $2, $3, $4)', [
    secret.id,
    secret.endpointId,
    secret.sealed,
    secret.publicKey,
  ]);
}

/** Has the newest secret sign for so long still; with 0 all secrets of the endpoint are gone at once. */
export async function expireSecrets(tx: Tx, endpointId: string, overlapMs: number): Promise<void> {
  if (overlapMs === 0) {
    await tx.query('DELETE FROM webhook_secrets WHERE endpoint_id = $1', [endpointId]);
    return;
  }
  await tx.query('DELETE FROM webhook_secrets WHERE endpoint_id = $1 AND expires_at <= now()', [endpointId]);
  await tx.query(
    `UPDATE webhook_secrets SET expires_at = now() + $2 * interval '1 ms'
     WHERE endpoint_id = $1 AND expires_at IS NULL`,
    [endpointId, overlapMs],
  );
}

/** Those that sign now, the newest first. */
export async function signingSecrets(db: Queryable, endpointId: string): Promise<{ id: string; sealed: Buffer }[]> {
  const { rows } = await db.query<{ id: string; sealed: Buffer }>(
    `SELECT id, sealed FROM webhook_secrets WHERE endpoint_id = $1 AND coalesce(expires_at, 'infinity') > now()
     ORDER BY expires_at DESC NULLS FIRST`,
    [endpointId],
  );
  return rows;
}
