import type { Tx } from '../../pg/tx.ts';

/**
 * Takes runs whose contribution may have changed, and locks them: whoever changes one waits for our commit, and marks it
 * again then. Those that another worker has, or somebody changes, are left to them.
 * @returns their ids, in order
 */
export async function takeMarkedRuns(tx: Tx, limit: number): Promise<string[]> {
  const { rows } = await tx.query<{ run_id: string }>(
    `SELECT run_id FROM run_totals WHERE recount ORDER BY run_id LIMIT $1 FOR UPDATE SKIP LOCKED`,
    [limit],
  );
  return rows.map(({ run_id: id }) => id);
}

/**
 * Lets the workflows of the runs tell them apart by the models that they asked for, as long as each has fewer than
 * `modelsMax`: such names are callers' words. Workers that meet here may let in a few more.
 */
export async function letModelsIn(tx: Tx, runIds: readonly string[], modelsMax: number): Promise<void> {
  await tx.query(
    `WITH fresh AS (
       SELECT DISTINCT r.project_id, r.workflow, t.model FROM run_totals AS t JOIN runs AS r ON r.id = t.run_id
       WHERE t.run_id = ANY($1::text[]) AND r.state <> 'running' AND t.model NOT IN ('', '*')
         AND NOT EXISTS (SELECT FROM counted_models AS m
                         WHERE m.project_id = r.project_id AND m.workflow = r.workflow AND m.model = t.model)
     ), places AS (
       SELECT *, row_number() OVER (PARTITION BY project_id, workflow ORDER BY model)
                 + (SELECT count(*) FROM counted_models AS m
                    WHERE m.project_id = fresh.project_id AND m.workflow = fresh.workflow) AS place
       FROM fresh
     )
     INSERT INTO counted_models (project_id, workflow, model)
     SELECT project_id, workflow, model FROM places WHERE place <= $2 ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING`,
    [runIds, modelsMax],
  );
}

/** Runs to be counted, all of them by the same decision about their models. */
export interface CountedBatch {
  readonly runIds: readonly string[];
  /** Those that count under the model that they asked for; others as '*', or as none. */
  readonly ownModel: readonly string[];
}

/** Which of the runs asked for a model that was let in. */
export async function selectOwnModel(tx: Tx, runIds: readonly string[]): Promise<string[]> {
  const { rows } = await tx.query<{ run_id: string }>(
    `SELECT t.run_id FROM run_totals AS t JOIN runs AS r ON r.id = t.run_id
     JOIN counted_models AS m ON m.project_id = r.project_id AND m.workflow = r.workflow AND m.model = t.model
     WHERE t.run_id = ANY($1)`,
    [runIds],
  );
  return rows.map(({ run_id: id }) => id);
}

/** What each of the runs $1 that ended contributes now. Nothing of it can change while `takeMarkedRuns` holds them. */
const contributions = `
  SELECT r.id AS run_id, r.project_id, r.workflow, coalesce(r.prompt_version, '') AS prompt_version, r.task_id,
         CASE WHEN t.model = '' OR r.id = ANY($2::text[]) THEN t.model ELSE '*' END AS model,
         (r.finished_at AT TIME ZONE 'UTC')::date AS day, r.state AS outcome, t.cost_nanousd,
         duration_bin(extract(epoch FROM r.finished_at - r.started_at)::float8 * 1000) AS duration_bin,
         (SELECT round(avg(rating) * 1000000)::bigint FROM run_ratings WHERE run_id = r.id) AS rating_ppm,
         (SELECT round(avg(score_ppm))::bigint FROM run_evaluations WHERE run_id = r.id) AS evaluation_ppm
  FROM run_totals AS t
  JOIN runs AS r ON r.id = t.run_id
  WHERE t.run_id = ANY($1::text[]) AND r.state <> 'running'`;

const columns = `run_id, project_id, workflow, prompt_version, model, task_id, day, outcome, cost_nanousd, duration_bin,
  rating_ppm, evaluation_ppm`;

// Of the means of runs: how many there are, what they add up to, and their squares.
const means = (of: string) => `coalesce(sum(sign) FILTER (WHERE ${of} IS NOT NULL), 0), coalesce(sum(sign * ${of}), 0),
            coalesce(sum(sign * ${of}::numeric * ${of}), 0)`;

/** What is to be added, and what was counted before, to be taken away. */
const changes = `WITH changes AS (
    SELECT 1 AS sign, ${columns} FROM (${contributions}) AS now
    UNION ALL SELECT -1, ${columns} FROM counted_runs WHERE run_id = ANY($1)
  )`;

/** Adds what the runs contribute now and takes away what they did, in the order of the key: no two workers wait for each other. */
export async function addToVersionDays(tx: Tx, { runIds, ownModel }: CountedBatch): Promise<void> {
  await tx.query(
    `${changes}
     INSERT INTO version_days AS d (project_id, workflow, prompt_version, model, day, succeeded, failed, cancelled,
       cost_nanousd, succeeded_nanousd, cost_squares, ratings, rating_ppm, rating_squares, evaluations, evaluation_ppm,
       evaluation_squares)
     SELECT project_id, workflow, prompt_version, model, day,
            coalesce(sum(sign) FILTER (WHERE outcome = 'succeeded'), 0),
            coalesce(sum(sign) FILTER (WHERE outcome = 'failed'), 0),
            coalesce(sum(sign) FILTER (WHERE outcome = 'cancelled'), 0),
            sum(sign * cost_nanousd),
            coalesce(sum(sign * cost_nanousd) FILTER (WHERE outcome = 'succeeded'), 0),
            sum(sign * cost_nanousd::numeric * cost_nanousd),
            ${means('rating_ppm')}, ${means('evaluation_ppm')}
     FROM changes GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
     ON CONFLICT (project_id, workflow, day, prompt_version, model) DO UPDATE SET
       succeeded = d.succeeded + excluded.succeeded, failed = d.failed + excluded.failed,
       cancelled = d.cancelled + excluded.cancelled, cost_nanousd = d.cost_nanousd + excluded.cost_nanousd,
       succeeded_nanousd = d.succeeded_nanousd + excluded.succeeded_nanousd,
       cost_squares = d.cost_squares + excluded.cost_squares, ratings = d.ratings + excluded.ratings,
       rating_ppm = d.rating_ppm + excluded.rating_ppm, rating_squares = d.rating_squares + excluded.rating_squares,
       evaluations = d.evaluations + excluded.evaluations, evaluation_ppm = d.evaluation_ppm + excluded.evaluation_ppm,
       evaluation_squares = d.evaluation_squares + excluded.evaluation_squares`,
    [runIds, ownModel],
  );
}

/** The same for the histograms of how long runs took that succeeded. */
export async function addToVersionDurations(tx: Tx, { runIds, ownModel }: CountedBatch): Promise<void> {
  await tx.query(
    `${changes}
     INSERT INTO version_durations AS d (project_id, workflow, prompt_version, model, day, bin, runs)
     SELECT project_id, workflow, prompt_version, model, day, duration_bin, sum(sign)
     FROM changes WHERE outcome = 'succeeded'
     GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(sign) <> 0 ORDER BY 1, 2, 3, 4, 5, 6
     ON CONFLICT (project_id, workflow, day, prompt_version, model, bin) DO UPDATE SET runs = d.runs + excluded.runs`,
    [runIds, ownModel],
  );
}

/** Remembers what was counted. */
export async function writeCountedRuns(tx: Tx, { runIds, ownModel }: CountedBatch): Promise<void> {
  await tx.query(
    `INSERT INTO counted_runs (${columns}) SELECT ${columns} FROM (${contributions}) AS now
     ON CONFLICT (run_id) DO UPDATE SET
       model = excluded.model, task_id = excluded.task_id, day = excluded.day, outcome = excluded.outcome,
       cost_nanousd = excluded.cost_nanousd, duration_bin = excluded.duration_bin,
       rating_ppm = excluded.rating_ppm, evaluation_ppm = excluded.evaluation_ppm`,
    [runIds, ownModel],
  );
}

export async function clearMarks(tx: Tx, runIds: readonly string[]): Promise<void> {
  await tx.query('UPDATE run_totals SET recount = false WHERE run_id = ANY($1)', [runIds]);
}
