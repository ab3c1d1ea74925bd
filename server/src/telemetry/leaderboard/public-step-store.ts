import { publicRunsMin } from '../../base/telemetry-limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import { type SumsRow, sumsFromRow } from './board-store.ts';
import type { VersionSums } from './model.ts';

/** A workflow of a project. Days are written as YYYY-MM-DD, in UTC. */
export interface PublicScope {
  readonly projectId: string;
  readonly workflow: string;
}

/** The last day that was released; null before the first. */
export async function lastReleasedDay(db: Queryable, { projectId, workflow }: PublicScope): Promise<string | null> {
  const { rows } = await db.query<{ day: string }>(
    'SELECT to_day::text AS day FROM public_counts WHERE project_id = $1 AND workflow = $2',
    [projectId, workflow],
  );
  return rows[0]?.day ?? null;
}

/**
 * Holds the workflow's count until the transaction ends: nobody else releases days of it meanwhile.
 * @param firstDay from when on runs count, where nothing was released yet
 * @returns the last day that was released
 */
export async function holdReleases(tx: Tx, { projectId, workflow }: PublicScope, firstDay: string): Promise<string> {
  const { rows } = await tx.query<{ day: string }>(
    `INSERT INTO public_counts AS c (project_id, workflow, from_day, to_day) VALUES ($1, $2, $3::date, $3::date - 1)
     ON CONFLICT (project_id, workflow) DO UPDATE SET to_day = c.to_day RETURNING to_day::text AS day`,
    [projectId, workflow, firstDay],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return row.day;
}

/** Whether runs that ended by the end of `day` were never counted. What changes of one that was comes with a later step. */
export async function areRunsUncounted(
  db: Queryable,
  { projectId, workflow }: PublicScope,
  day: string,
): Promise<boolean> {
  const { rows } = await db.query(
    `SELECT FROM run_totals AS t JOIN runs AS r ON r.id = t.run_id
     WHERE t.recount AND r.project_id = $1 AND r.workflow = $2 AND r.finished_at < ($3::date + 1)::timestamp AT TIME ZONE 'UTC'
       AND NOT EXISTS (SELECT FROM counted_runs AS c WHERE c.run_id = t.run_id)
     LIMIT 1`,
    [projectId, workflow, day],
  );
  return rows.length > 0;
}

const runColumns = ['succeeded', 'failed', 'cost_nanousd', 'succeeded_nanousd', 'cost_squares'];
const ratingColumns = ['ratings', 'rating_ppm', 'rating_squares'];
const evaluationColumns = ['evaluations', 'evaluation_ppm', 'evaluation_squares'];
const columns = [...runColumns, 'cancelled', ...ratingColumns, ...evaluationColumns];

/** Days of the workflow $1, $2 that are not folded, up to $3. */
const countedDays = (table: string) => `${table} AS d JOIN public_counts AS c USING (project_id, workflow)
  WHERE d.project_id = $1 AND d.workflow = $2 AND d.day BETWEEN c.from_day AND $3::date`;

const sumsOfMoves = columns.map((name) => `sum(sign * ${name}) AS ${name}`).join(', ');

const step = (held: string, names: readonly string[]) =>
  names.map((name) => `CASE WHEN ${held} >= ${publicRunsMin} THEN ${name} ELSE 0 END`).join(', ');

/** Releases of each version what was counted up to the day and not released before, of each kind five at least. */
export async function releaseSums(tx: Tx, { projectId, workflow }: PublicScope, day: string): Promise<void> {
  await tx.query(
    `WITH moves AS (
       SELECT 1 AS sign, prompt_version, ${columns.join(', ')} FROM ${countedDays('version_days')}
       UNION ALL
       SELECT -1, prompt_version, ${columns.join(', ')} FROM public_steps WHERE project_id = $1 AND workflow = $2
     ), held AS (SELECT prompt_version, ${sumsOfMoves} FROM moves WHERE prompt_version <> '' GROUP BY 1)
     INSERT INTO public_steps (project_id, workflow, prompt_version, day, ${columns.join(', ')})
     SELECT $1, $2, prompt_version, $3::date, ${step('succeeded + failed', runColumns)}, ${step('cancelled', ['cancelled'])},
            ${step('ratings', ratingColumns)}, ${step('evaluations', evaluationColumns)}
     FROM held WHERE greatest(succeeded + failed, cancelled, ratings, evaluations) >= ${publicRunsMin}`,
    [projectId, workflow, day],
  );
}

/** The same for how long runs took that succeeded. */
export async function releaseDurations(tx: Tx, { projectId, workflow }: PublicScope, day: string): Promise<void> {
  await tx.query(
    `WITH moves AS (
       SELECT 1 AS sign, prompt_version, bin, runs FROM ${countedDays('version_durations')}
       UNION ALL SELECT -1, prompt_version, bin, runs FROM public_durations WHERE project_id = $1 AND workflow = $2
     ), held AS (
       SELECT prompt_version, bin, sum(sign * runs) AS runs, sum(sum(sign * runs)) OVER (PARTITION BY prompt_version) AS all_runs
       FROM moves WHERE prompt_version <> '' GROUP BY 1, 2
     )
     INSERT INTO public_durations (project_id, workflow, prompt_version, day, bin, runs)
     SELECT $1, $2, prompt_version, $3::date, bin, runs FROM held WHERE all_runs >= ${publicRunsMin} AND runs <> 0`,
    [projectId, workflow, day],
  );
}

export async function writeReleased(tx: Tx, { projectId, workflow }: PublicScope, day: string): Promise<void> {
  await tx.query('UPDATE public_counts SET to_day = $3::date WHERE project_id = $1 AND workflow = $2', [
    projectId,
    workflow,
    day,
  ]);
}

/**
 * Folds what left the window: of each version one row stands for the steps up to `lastDay`, less what was counted up to it,
 * so that what is held back of those days still is. What changes of them afterwards is not looked at any more.
 */
export async function foldSteps(tx: Tx, { projectId, workflow }: PublicScope, lastDay: string): Promise<void> {
  const folded = [projectId, workflow, lastDay];
  await tx.query(
    `WITH steps AS (
       DELETE FROM public_steps WHERE project_id = $1 AND workflow = $2 AND day <= $3::date RETURNING *
     ), moves AS (
       SELECT 1 AS sign, prompt_version, ${columns.join(', ')} FROM steps
       UNION ALL SELECT -1, prompt_version, ${columns.join(', ')} FROM ${countedDays('version_days')}
     )
     INSERT INTO public_steps (project_id, workflow, prompt_version, day, ${columns.join(', ')})
     SELECT $1, $2, prompt_version, date '-infinity', ${columns.map((name) => `sum(sign * ${name})`).join(', ')}
     FROM moves WHERE prompt_version <> '' GROUP BY 3`,
    folded,
  );
  await tx.query(
    `WITH steps AS (
       DELETE FROM public_durations WHERE project_id = $1 AND workflow = $2 AND day <= $3::date RETURNING *
     ), moves AS (
       SELECT 1 AS sign, prompt_version, bin, runs FROM steps
       UNION ALL SELECT -1, prompt_version, bin, runs FROM ${countedDays('version_durations')}
     )
     INSERT INTO public_durations (project_id, workflow, prompt_version, day, bin, runs)
     SELECT $1, $2, prompt_version, date '-infinity', bin, sum(sign * runs)
     FROM moves WHERE prompt_version <> '' GROUP BY 3, bin HAVING sum(sign * runs) <> 0`,
    folded,
  );
  await tx.query(
    'UPDATE public_counts SET from_day = $3::date + 1 WHERE project_id = $1 AND workflow = $2 AND from_day <= $3::date',
    folded,
  );
}

/**
 * The sums of each registered version, of what was released from `firstDay` on; those with the most runs first. Labels that
 * nobody confirmed are not in it. A correction of what was released before comes with a later step, and may outlive it: so
 * sums are kept within what they can be.
 */
export async function sumReleased(
  db: Queryable,
  { projectId, workflow }: PublicScope,
  firstDay: string,
  limit: number,
): Promise<VersionSums[]> {
  const { rows } = await db.query<SumsRow>(
    `WITH sums AS (
       SELECT prompt_version, sum(succeeded)::bigint AS succeeded, sum(failed)::bigint AS failed,
              sum(cancelled)::bigint AS cancelled, greatest(sum(cost_nanousd), 0)::bigint AS cost_nanousd,
              greatest(sum(succeeded_nanousd), 0)::bigint AS succeeded_nanousd, sum(cost_squares) AS cost_squares,
              sum(ratings)::bigint AS ratings,
              least(greatest(sum(rating_ppm), 1000000 * sum(ratings)), 5000000 * sum(ratings))::bigint AS rating_ppm,
              sum(rating_squares) AS rating_squares, sum(evaluations)::bigint AS evaluations,
              least(greatest(sum(evaluation_ppm), 0), 1000000 * sum(evaluations))::bigint AS evaluation_ppm,
              sum(evaluation_squares) AS evaluation_squares
       FROM public_steps WHERE project_id = $1 AND workflow = $2 AND day >= $3::date GROUP BY 1
       ORDER BY sum(succeeded + failed) DESC, 1 LIMIT $4
     ), histograms AS (
       SELECT prompt_version, array_agg(bin) AS bins, array_agg(runs) AS counts FROM (
         SELECT prompt_version, bin, sum(runs)::bigint AS runs FROM public_durations
         WHERE project_id = $1 AND workflow = $2 AND day >= $3::date GROUP BY 1, 2 HAVING sum(runs) > 0
       ) AS by_bin GROUP BY 1
     )
     SELECT sums.*, '' AS model, coalesce(h.bins, '{}') AS bins, coalesce(h.counts, '{}') AS counts,
            CASE WHEN v.label_confirmed THEN v.label
                 ELSE 'version ' || CASE WHEN count(*) OVER (PARTITION BY left(v.digest, 8)) = 1 THEN left(v.digest, 8) ELSE v.digest END
            END AS label
     FROM sums
     JOIN prompt_versions AS v ON v.project_id = $1 AND v.workflow = $2 AND v.digest = sums.prompt_version
     LEFT JOIN histograms AS h USING (prompt_version)
     ORDER BY sums.succeeded + sums.failed DESC, sums.prompt_version`,
    [projectId, workflow, firstDay, limit],
  );
  return rows.map(sumsFromRow);
}
