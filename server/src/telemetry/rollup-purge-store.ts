import type { Queryable } from '../pg/tx.ts';
import { type Resolution, tableSuffix } from './rollup-sql.ts';

/** What is kept for some days. */
export type PassingResolution = Exclude<Resolution, 'day'>;

/**
 * Says of a resolution that what is older than so many days is not there. At most a day more at a time: a clock that was
 * ahead for a while must not cost more.
 * @returns from when on it is
 */
export async function keepSince(db: Queryable, resolution: PassingResolution, days: number): Promise<Date> {
  const { rows } = await db.query<{ since: Date }>(
    `UPDATE rollup_kept SET since = CASE since WHEN '-infinity' THEN target
       ELSE greatest(since, least(target, since + interval '1 day')) END
     FROM (SELECT date_trunc('day', now() - $2 * interval '1 day', 'UTC') AS target) AS t
     WHERE resolution = $1 RETURNING since`,
    [resolution, days],
  );
  const [kept] = rows;
  if (!kept) throw new Error('rollup_kept lacks a row: the schema is damaged');
  return kept.since;
}

/** The tables of a resolution. */
export const rollupTables = (resolution: PassingResolution): readonly string[] =>
  ['attempt_rollups', 'attempt_latency', 'event_rollups'].map((tables) => `${tables}_${tableSuffix[resolution]}`);

/** Where deleting goes on: projects before it, and older sums of its own, are done. */
export interface PurgePlace {
  readonly projectId: string;
  readonly bucket: Date | null;
}

/**
 * Deletes sums that are older, `rowsMax` at most, from a place on: what was deleted before it, and lies there for as long as
 * somebody may see it, is not walked through again.
 * @returns where to go on; null where nothing is left
 */
export async function deleteBefore(
  db: Queryable,
  table: string,
  since: Date,
  { projectId, bucket }: PurgePlace,
  rowsMax: number,
): Promise<PurgePlace | null> {
  const { rows } = await db.query<PurgePlace & { deleted: number }>(
    // Project by project, as the keys begin; waiting for nobody: late rows may be added to in another order.
    `WITH old AS MATERIALIZED (
       SELECT p.id, t.bucket, t.ctid AS place FROM projects p CROSS JOIN LATERAL (
         SELECT t.ctid, t.bucket FROM ${table} t
         WHERE t.project_id = p.id AND t.bucket < $1
           AND t.bucket >= CASE p.id WHEN $2 THEN coalesce($3::timestamptz, '-infinity') ELSE '-infinity' END
         ORDER BY t.bucket LIMIT $4 FOR UPDATE SKIP LOCKED
       ) AS t
       WHERE p.id >= $2 ORDER BY p.id LIMIT $4
     ), gone AS (DELETE FROM ${table} WHERE ctid = ANY (ARRAY(SELECT place FROM old)))
     SELECT id AS "projectId", bucket, count(*) OVER ()::int AS deleted FROM old ORDER BY id DESC, bucket DESC LIMIT 1`,
    [since, projectId, bucket, rowsMax],
  );
  const [last] = rows;
  return last === undefined || last.deleted < rowsMax ? null : { projectId: last.projectId, bucket: last.bucket };
}
