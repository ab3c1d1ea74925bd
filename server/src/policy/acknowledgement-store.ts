import type { Queryable } from '../pg/tx.ts';

/** What a replica did when it applied a switch. */
export interface Acknowledgement {
  readonly killSwitchId: string;
  /** How long ago it was applied when this is sent. */
  readonly agoMs: number;
  readonly calls: number;
  readonly streams: number;
  readonly ended: number;
}

/**
 * Writes down what a replica did, the first time that it did: a switch that is made to last longer is applied anew. The time
 * is that of the database's clock when this arrives, less the time since; so it is never too early.
 */
export async function insertAcknowledgement(db: Queryable, instanceId: string, made: Acknowledgement): Promise<void> {
  await db.query(
    `INSERT INTO kill_acknowledgements
       (kill_switch_id, instance_id, applied_at, matched_calls, matched_streams, ended_calls)
     VALUES ($1, $2, clock_timestamp() - $3 * interval '1 millisecond', $4, $5, $6)
     ON CONFLICT DO NOTHING`,
    [made.killSwitchId, instanceId, made.agoMs, made.calls, made.streams, made.ended],
  );
}

/** How a replica stands to a switch. */
export interface ReplicaStand {
  /** Of the process. */
  readonly id: string;
  readonly startedAt: number;
  readonly seenAt: number;
  /** Null: it lives, and has not acknowledged. */
  readonly applied: {
    readonly at: number;
    readonly calls: number;
    readonly streams: number;
    readonly ended: number;
  } | null;
}

interface Row {
  readonly id: string;
  readonly started_at: Date;
  readonly seen_at: Date;
  readonly applied_at: Date | null;
  readonly matched_calls: number | null;
  readonly matched_streams: number | null;
  readonly ended_calls: number | null;
}

/** Replicas that acknowledged the switch, and those that were seen in the last `liveMs`: newest first, from below `beforeId`. */
export async function replicaStands(
  db: Queryable,
  killSwitchId: string,
  liveMs: number,
  beforeId: string | null,
  limit: number,
): Promise<ReplicaStand[]> {
  const { rows } = await db.query<Row>(
    `WITH told AS (SELECT * FROM kill_acknowledgements WHERE kill_switch_id = $1)
     SELECT id, started_at, seen_at, applied_at, matched_calls, matched_streams, ended_calls
     FROM (SELECT instance_id AS id FROM told
           UNION SELECT id FROM instances WHERE stopped_at IS NULL AND seen_at > now() - $2 * interval '1 millisecond') AS meant
     JOIN instances USING (id) LEFT JOIN told ON instance_id = id
     WHERE $3::text IS NULL OR id < $3
     ORDER BY id DESC LIMIT $4`,
    [killSwitchId, liveMs, beforeId, limit],
  );
  return rows.map(standOf);
}

function standOf(row: Row): ReplicaStand {
  return {
    id: row.id,
    startedAt: row.started_at.getTime(),
    seenAt: row.seen_at.getTime(),
    applied:
      row.applied_at === null
        ? null
        : {
            at: row.applied_at.getTime(),
            calls: row.matched_calls ?? 0,
            streams: row.matched_streams ?? 0,
            ended: row.ended_calls ?? 0,
          },
  };
}

/**
 * Deletes acknowledgements that are older than `keptMs`, of switches that are released, at most `limit`.
 * @returns how many
 */
export async function purgeAcknowledgements(db: Queryable, keptMs: number, limit: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM kill_acknowledgements WHERE (kill_switch_id, instance_id) IN (
       SELECT kill_switch_id, instance_id FROM kill_acknowledgements JOIN kill_switches ON id = kill_switch_id
       WHERE applied_at < now() - $1 * interval '1 millisecond' AND released_at IS NOT NULL
       ORDER BY applied_at LIMIT $2)`,
    [keptMs, limit],
  );
  return rowCount ?? 0;
}
