import type { Principal } from '../../identity/model.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';

/** What of a run says who may judge it. */
export interface JudgedRun {
  readonly projectId: string;
  readonly agentId: string;
  readonly hasEnded: boolean;
  /** The person who answers for its agent, or where nobody does, the principal who made it. */
  readonly answeredForBy: string;
}

/** The run, if it is of the project. */
export async function findJudgedRun(db: Queryable, projectId: string, runId: string): Promise<JudgedRun | null> {
  const { rows } = await db.query<{
    readonly agent_id: string;
    readonly has_ended: boolean;
    readonly answered_for_by: string;
  }>(
    `SELECT r.agent_id, r.state <> 'running' AS has_ended, coalesce(a.person_id, a.created_by) AS answered_for_by
     FROM runs AS r JOIN agents AS a ON a.id = r.agent_id WHERE r.id = $1 AND r.project_id = $2`,
    [runId, projectId],
  );
  const [row] = rows;
  if (!row) return null;
  return { projectId, agentId: row.agent_id, hasEnded: row.has_ended, answeredForBy: row.answered_for_by };
}

/** A person, and who that is to the issuer of tokens where they sign in. */
export interface JudgingPerson {
  readonly id: string;
  readonly issuer: string | null;
  readonly subject: string | null;
}

/** The person of that id, or, of the project, whom an issuer's token names. */
export async function findJudgingPerson(
  db: Queryable,
  projectId: string,
  { personId, token }: Pick<Principal, 'personId' | 'token'>,
): Promise<JudgingPerson | null> {
  const { rows } = await db.query<JudgingPerson>(
    `SELECT id, issuer, subject FROM people WHERE id = $1 OR (project_id = $2 AND issuer = $3 AND subject = $4)`,
    [personId, projectId, token?.issuer, token?.subject],
  );
  return rows[0] ?? null;
}

export interface Rating {
  readonly runId: string;
  readonly ratedBy: string;
  /** 1 to 5. */
  readonly rating: number;
  readonly comment: string;
  /** Epoch milliseconds. */
  readonly ratedAt: number;
}

interface RatingRow {
  readonly run_id: string;
  readonly rated_by: string;
  readonly rating: number;
  readonly comment: string;
  readonly rated_at: Date;
}

const ratingColumns = 'run_id, rated_by, rating, comment, rated_at';

function fromRatingRow(row: RatingRow): Rating {
  return {
    runId: row.run_id,
    ratedBy: row.rated_by,
    rating: row.rating,
    comment: row.comment,
    ratedAt: row.rated_at.getTime(),
  };
}

/** Writes a rating over the one that the same gave before. */
export async function writeRating(
  tx: Tx,
  projectId: string,
  { runId, ratedBy, rating, comment }: Omit<Rating, 'ratedAt'>,
): Promise<Rating> {
  const { rows } = await tx.query<RatingRow>(
    `INSERT INTO run_ratings (run_id, project_id, rated_by, rating, comment) VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (run_id, rated_by) DO UPDATE
       SET rating = excluded.rating, comment = excluded.comment, rated_at = excluded.rated_at
     RETURNING ${ratingColumns}`,
    [runId, projectId, ratedBy, rating, comment],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRatingRow(row);
}

/** By who gave them. */
export async function selectRatings(
  db: Queryable,
  runId: string,
  afterPrincipal: string | null,
  limit: number,
): Promise<Rating[]> {
  const { rows } = await db.query<RatingRow>(
    `SELECT ${ratingColumns} FROM run_ratings
     WHERE run_id = $1 AND ($2::text IS NULL OR rated_by > $2) ORDER BY rated_by LIMIT $3`,
    [runId, afterPrincipal, limit],
  );
  return rows.map(fromRatingRow);
}

export interface Evaluation {
  readonly runId: string;
  readonly evaluator: string;
  /** Millionths, 0 to 1,000,000. */
  readonly scorePpm: number;
  readonly notes: string;
  readonly recordedBy: string;
  /** Epoch milliseconds. */
  readonly recordedAt: number;
}

interface EvaluationRow {
  readonly run_id: string;
  readonly evaluator: string;
  readonly score_ppm: number;
  readonly notes: string;
  readonly recorded_by: string;
  readonly recorded_at: Date;
}

const evaluationColumns = 'run_id, evaluator, score_ppm, notes, recorded_by, recorded_at';

function fromEvaluationRow(row: EvaluationRow): Evaluation {
  return {
    runId: row.run_id,
    evaluator: row.evaluator,
    scorePpm: row.score_ppm,
    notes: row.notes,
    recordedBy: row.recorded_by,
    recordedAt: row.recorded_at.getTime(),
  };
}

/** Writes an evaluation over the evaluator's one of before. @returns null where somebody else records for that evaluator */
export async function writeEvaluation(
  tx: Tx,
  projectId: string,
  { runId, evaluator, scorePpm, notes, recordedBy }: Omit<Evaluation, 'recordedAt'>,
): Promise<Evaluation | null> {
  const { rows } = await tx.query<EvaluationRow>(
    `INSERT INTO run_evaluations AS e (run_id, project_id, evaluator, score_ppm, notes, recorded_by)
     VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (run_id, evaluator) DO UPDATE
       SET score_ppm = excluded.score_ppm, notes = excluded.notes, recorded_at = excluded.recorded_at
       WHERE e.recorded_by = excluded.recorded_by
     RETURNING ${evaluationColumns}`,
    [runId, projectId, evaluator, scorePpm, notes, recordedBy],
  );
  return rows[0] ? fromEvaluationRow(rows[0]) : null;
}

/** By name of evaluator. */
export async function selectEvaluations(
  db: Queryable,
  runId: string,
  afterEvaluator: string | null,
  limit: number,
): Promise<Evaluation[]> {
  const { rows } = await db.query<EvaluationRow>(
    `SELECT ${evaluationColumns} FROM run_evaluations
     WHERE run_id = $1 AND ($2::text IS NULL OR evaluator > $2) ORDER BY evaluator LIMIT $3`,
    [runId, afterEvaluator, limit],
  );
  return rows.map(fromEvaluationRow);
}

export async function countEvaluations(db: Queryable, runId: string): Promise<number> {
  const { rows } = await db.query<{ count: bigint }>('SELECT count(*) FROM run_evaluations WHERE run_id = $1', [runId]);
  return Number(rows[0]?.count ?? 0n);
}

/** Says that what the run contributes to the leaderboard changed, in the transaction of the change (decision 0022). */
export async function markForRecount(tx: Tx, projectId: string, runId: string): Promise<void> {
  await tx.query(
    `INSERT INTO run_totals (run_id, project_id, recount) VALUES ($1, $2, true)
     ON CONFLICT (run_id) DO UPDATE SET recount = true`,
    [runId, projectId],
  );
}
