import type { Queryable } from '../pg/tx.ts';
import type { RunPlace } from './run-parts.ts';

/** When a run was. */
export interface RunSpan {
  readonly id: string;
  /** Epoch milliseconds; null while it runs. */
  readonly finishedAt: number | null;
}

/** Runs of the project, newest first, from the place on: its own run where that has more to tell. */
export async function selectRunSpans(
  db: Queryable,
  projectId: string,
  place: RunPlace | null,
  limit: number,
): Promise<RunSpan[]> {
  const { rows } = await db.query<{ id: string; finished_at: Date | null }>(
    `SELECT id, finished_at FROM runs
     WHERE project_id = $1 AND ($2::text IS NULL OR id <= $2) AND ($3 OR id < $2) ORDER BY id DESC LIMIT $4`,
    [projectId, place?.runId ?? null, place === null || place.key !== null, limit],
  );
  return rows.map((row) => ({ id: row.id, finishedAt: row.finished_at?.getTime() ?? null }));
}
