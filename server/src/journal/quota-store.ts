import type { Queryable, Tx } from '../pg/tx.ts';

/** What of a day's writes is counted. */
export interface JournalAmount {
  readonly writes: number;
  readonly bytes: number;
}

/** Counts a write of so many bytes for the caller in the project, today (UTC). @returns false when that would be more than `max` */
export async function countWrite(
  tx: Tx,
  projectId: string,
  callerId: string,
  bytes: number,
  max: JournalAmount,
): Promise<boolean> {
  // A clock that went back begins no day anew.
  const { rowCount } = await tx.query(
    `INSERT INTO journal_quotas AS q (project_id, caller_id, day, writes, bytes)
     VALUES ($1, $2, (now() AT TIME ZONE 'UTC')::date, 1, $3)
     ON CONFLICT (project_id, caller_id) DO UPDATE SET
       day = greatest(q.day, excluded.day),
       writes = 1 + CASE WHEN q.day < excluded.day THEN 0 ELSE q.writes END,
       bytes = excluded.bytes + CASE WHEN q.day < excluded.day THEN 0 ELSE q.bytes END
     WHERE q.day < excluded.day OR (q.writes < $4 AND q.bytes + excluded.bytes <= $5)`,
    [projectId, callerId, bytes, max.writes, max.bytes],
  );
  return rowCount === 1;
}

/** Seconds until the next day (UTC) begins. */
export async function dayLeftS(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ left: number }>(
    `SELECT ceil(extract(epoch FROM date_trunc('day', t) + interval '1 day' - t))::int AS left
     FROM (SELECT now() AT TIME ZONE 'UTC' AS t) AS of`,
  );
  return rows[0]?.left ?? 0;
}
