import type { Queryable } from '../../pg/tx.ts';
import type { VersionSums } from './model.ts';

/** Which runs a board is of: those that ended today or on the days before, by the database's clock and in UTC. */
export interface BoardScope {
  readonly projectId: string;
  readonly workflow: string;
  readonly windowDays: number;
  /** Runs that asked for this model alone ('' for none, '*' for several); null is any. */
  readonly model: string | null;
}

/** A row of sums, as boards select them. */
export interface SumsRow {
  readonly prompt_version: string;
  readonly label: string | null;
  readonly model: string;
  readonly succeeded: bigint;
  readonly failed: bigint;
  readonly cancelled: bigint;
  readonly cost_nanousd: bigint;
  readonly succeeded_nanousd: bigint;
  // numeric
  readonly cost_squares: string;
  readonly ratings: bigint;
  readonly rating_ppm: bigint;
  // numeric
  readonly rating_squares: string;
  readonly evaluations: bigint;
  readonly evaluation_ppm: bigint;
  // numeric
  readonly evaluation_squares: string;
  readonly bins: readonly number[];
  readonly counts: readonly bigint[];
}

const inScope = `project_id = $1 AND workflow = $2 AND day > (now() AT TIME ZONE 'UTC')::date - $3::int
  AND ($4::text IS NULL OR model = $4)`;

/**
 * The sums of each version, those with the most runs first. One statement, so that all of it is of one moment; it reads
 * days, not runs.
 * @param byModel apart by the model that was asked for
 */
export async function sumVersions(
  db: Queryable,
  { projectId, workflow, windowDays, model }: BoardScope,
  byModel: boolean,
  limit: number,
): Promise<VersionSums[]> {
  const { rows } = await db.query<SumsRow>(
    `WITH sums AS (
       SELECT prompt_version, CASE WHEN $5::boolean THEN model ELSE '' END AS model,
              sum(succeeded)::bigint AS succeeded, sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled,
              sum(cost_nanousd)::bigint AS cost_nanousd, sum(succeeded_nanousd)::bigint AS succeeded_nanousd,
              sum(cost_squares) AS cost_squares,
              sum(ratings)::bigint AS ratings, sum(rating_ppm)::bigint AS rating_ppm,
              sum(rating_squares) AS rating_squares,
              sum(evaluations)::bigint AS evaluations, sum(evaluation_ppm)::bigint AS evaluation_ppm,
              sum(evaluation_squares) AS evaluation_squares
       FROM version_days WHERE ${inScope} GROUP BY 1, 2 HAVING sum(succeeded + failed + cancelled) > 0
       ORDER BY sum(succeeded + failed) DESC, 1, 2 LIMIT $6
     ), histograms AS (
       SELECT prompt_version, model, array_agg(bin) AS bins, array_agg(runs) AS counts FROM (
         SELECT prompt_version, CASE WHEN $5 THEN model ELSE '' END AS model, bin, sum(runs)::bigint AS runs
         FROM version_durations WHERE ${inScope} GROUP BY 1, 2, 3
       ) AS by_bin GROUP BY 1, 2
     )
     SELECT sums.*, v.label, coalesce(h.bins, '{}') AS bins, coalesce(h.counts, '{}') AS counts
     FROM sums
     LEFT JOIN histograms AS h USING (prompt_version, model)
     LEFT JOIN prompt_versions AS v
       ON v.project_id = $1 AND v.workflow = $2 AND v.digest = sums.prompt_version
     ORDER BY sums.succeeded + sums.failed DESC, sums.prompt_version, sums.model`,
    [projectId, workflow, windowDays, model, byModel, limit],
  );
  return rows.map(sumsFromRow);
}

export function sumsFromRow(row: SumsRow): VersionSums {
  return {
    promptVersion: row.prompt_version,
    label: row.label,
    model: row.model,
    succeeded: row.succeeded,
    failed: row.failed,
    cancelled: row.cancelled,
    costNanousd: row.cost_nanousd,
    succeededNanousd: row.succeeded_nanousd,
    costSquares: BigInt(row.cost_squares),
    ratings: row.ratings,
    ratingPpm: row.rating_ppm,
    ratingSquares: BigInt(row.rating_squares),
    evaluations: row.evaluations,
    evaluationPpm: row.evaluation_ppm,
    evaluationSquares: BigInt(row.evaluation_squares),
    durations: new Map(row.bins.map((bin, at) => [bin, row.counts[at] ?? 0n])),
  };
}

/** Workflows of which runs were counted, by name: one look at the index for each, however many runs there are. */
export async function selectWorkflows(
  db: Queryable,
  projectId: string,
  after: string | null,
  limit: number,
): Promise<string[]> {
  const { rows } = await db.query<{ workflow: string }>(
    `WITH RECURSIVE found (workflow, place) AS (
       (SELECT workflow, 1 FROM version_days
        WHERE project_id = $1 AND ($2::text IS NULL OR workflow > $2) ORDER BY workflow LIMIT 1)
       UNION ALL
       SELECT next.workflow, found.place + 1 FROM found, LATERAL (
         SELECT workflow FROM version_days
         WHERE project_id = $1 AND workflow > found.workflow ORDER BY workflow LIMIT 1
       ) AS next WHERE found.place < $3
     )
     SELECT workflow FROM found ORDER BY workflow`,
    [projectId, after, limit],
  );
  return rows.map(({ workflow }) => workflow);
}
