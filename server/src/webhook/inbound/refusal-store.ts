import type { Queryable } from '../../pg/tx.ts';
import type { RefusedWebhooks } from './model.ts';

/** Refusals that were counted since they were last written down. Times are epoch milliseconds. */
export interface CountedRefusal extends Omit<RefusedWebhooks, 'refused'> {
  readonly refused: number;
}

/** Adds to the counts. */
export async function addRefusals(db: Queryable, counts: readonly CountedRefusal[]): Promise<void> {
  await db.query(
    `INSERT INTO webhook_refusals AS r (source, hour, signature_status, reason, refused, first_at, last_at, last_address)
     SELECT c.source, to_timestamp(c.hour / 1000.0), c."signatureStatus", c.reason, c.refused, to_timestamp(c."firstAt" / 1000.0),
       to_timestamp(c."lastAt" / 1000.0), c."lastAddress"
     FROM json_to_recordset($1) AS c (source text, hour bigint, "signatureStatus" text, reason text, refused bigint,
       "firstAt" bigint, "lastAt" bigint, "lastAddress" text)
     ORDER BY 2, 1, 3, 4
     ON CONFLICT (hour, source, signature_status, reason) DO UPDATE
     SET refused = r.refused + excluded.refused, last_at = greatest(r.last_at, excluded.last_at),
       last_address = CASE WHEN excluded.last_at >= r.last_at THEN excluded.last_address ELSE r.last_address END`,
    [JSON.stringify(counts)],
  );
}

interface Row {
  readonly source: string;
  readonly hour: Date;
  readonly signature_status: RefusedWebhooks['signatureStatus'];
  readonly reason: string;
  readonly refused: bigint;
  readonly first_at: Date;
  readonly last_at: Date;
  readonly last_address: string;
}

/** The newest hours first. */
export async function selectRefusals(db: Queryable, limit: number): Promise<RefusedWebhooks[]> {
  const { rows } = await db.query<Row>(
    `SELECT source, hour, signature_status, reason, refused, first_at, last_at, last_address FROM webhook_refusals
     ORDER BY hour DESC, source DESC, signature_status DESC, reason DESC LIMIT $1`,
    [limit],
  );
  return rows.map((row) => ({
    source: row.source,
    hour: row.hour.getTime(),
    signatureStatus: row.signature_status,
    reason: row.reason,
    refused: row.refused,
    firstAt: row.first_at.getTime(),
    lastAt: row.last_at.getTime(),
    lastAddress: row.last_address,
  }));
}

/** Deletes what is older, `batchMax` at most. @returns how many */
export async function deleteOldRefusals(db: Queryable, keptDays: number, batchMax: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM webhook_refusals WHERE (hour, source, signature_status, reason) IN (
       SELECT hour, source, signature_status, reason FROM webhook_refusals
       WHERE hour < now() - $1::int * interval '1 day' ORDER BY hour, source, signature_status, reason LIMIT $2)`,
    [keptDays, batchMax],
  );
  return rowCount ?? 0;
}

/** Forgets by what events were known that came so long ago, `batchMax` at most. @returns how many */
export async function deleteOldKeys(db: Queryable, keptDays: number, batchMax: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM webhook_event_keys WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM webhook_event_keys WHERE recorded_at < now() - $1::int * interval '1 day'
       ORDER BY recorded_at LIMIT $2))`,
    [keptDays, batchMax],
  );
  return rowCount ?? 0;
}
