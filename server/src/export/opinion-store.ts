import type { Queryable } from '../pg/tx.ts';
import type { RunPlace } from './run-parts.ts';
import type { RunSpan } from './run-store.ts';

/** What somebody thinks of a run. */
export interface ExportedRating {
  readonly runId: string;
  readonly ratedBy: string;
  readonly rating: number;
  readonly comment: string;
  /** Epoch milliseconds. */
  readonly ratedAt: number;
}

/** Ratings of the runs, by run and rater descending, behind the place. */
export async function selectRatingsOfRuns(
  db: Queryable,
  runs: readonly RunSpan[],
  behind: RunPlace | null,
  limit: number,
): Promise<ExportedRating[]> {
  const { rows } = await db.query<{
    run_id: string;
    rated_by: string;
    rating: number;
    comment: string;
    rated_at: Date;
  }>(
    `SELECT run_id, rated_by, rating, comment, rated_at FROM run_ratings
     WHERE run_id = ANY ($1) AND ($3::text IS NULL OR (run_id, rated_by) < ($2, $3))
     ORDER BY run_id DESC, rated_by DESC LIMIT $4`,
    [runs.map(({ id }) => id), behind?.runId ?? null, behind?.key ?? null, limit],
  );
  return rows.map((row) => ({
    runId: row.run_id,
    ratedBy: row.rated_by,
    rating: row.rating,
    comment: row.comment,
    ratedAt: row.rated_at.getTime(),
  }));
}

/** What an evaluator found of a run. */
export interface ExportedEvaluation {
  readonly runId: string;
  readonly evaluator: string;
  /** Millionths. */
  readonly scorePpm: number;
  readonly notes: string;
  readonly recordedBy: string;
  /** Epoch milliseconds. */
  readonly recordedAt: number;
}

/** Evaluations of the runs, by run and evaluator descending, behind the place. */
export async function selectEvaluationsOfRuns(
  db: Queryable,
  runs: readonly RunSpan[],
  behind: RunPlace | null,
  limit: number,
): Promise<ExportedEvaluation[]> {
  const { rows } = await db.query<{
    readonly run_id: string;
    readonly evaluator: string;
    readonly score_ppm: number;
    readonly notes: string;
    readonly recorded_by: string;
    readonly recorded_at: Date;
  }>(
    `SELECT run_id, evaluator, score_ppm, notes, recorded_by, recorded_at FROM run_evaluations
     WHERE run_id = ANY ($1) AND ($3::text IS NULL OR (run_id, evaluator) < ($2, $3))
     ORDER BY run_id DESC, evaluator DESC LIMIT $4`,
    [runs.map(({ id }) => id), behind?.runId ?? null, behind?.key ?? null, limit],
  );
  return rows.map((row) => ({
    runId: row.run_id,
    evaluator: row.evaluator,
    scorePpm: row.score_ppm,
    notes: row.notes,
    recordedBy: row.recorded_by,
    recordedAt: row.recorded_at.getTime(),
  }));
}
