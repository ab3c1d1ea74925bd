import type { Queryable } from '../../pg/tx.ts';
import type { BoardScope } from './board-store.ts';
import type { TaskSums } from './comparison.ts';

/** What the runs of one version come to, task by task. */
export interface VersionTasks {
  readonly tasks: ReadonlyMap<string, TaskSums>;
  /** The newest runs of the window that were read, those without a task and cancelled ones included. */
  readonly runs: number;
  /** Runs that named no task. */
  readonly withoutTask: number;
  /** There were more than were read. */
  readonly isCut: boolean;
}

/** Sums the newest runs of a version by task. @param runsMax so many runs are read at most */
export async function sumTasks(
  db: Queryable,
  { projectId, workflow, windowDays, model }: BoardScope,
  promptVersion: string,
  runsMax: number,
): Promise<VersionTasks> {
  const { rows } = await db.query<{
    readonly task_id: string | null;
    readonly all_runs: bigint;
    readonly runs: bigint;
    readonly succeeded: bigint;
    readonly cost_nanousd: bigint;
    readonly found: bigint;
  }>(
    `WITH newest AS (
       SELECT task_id, outcome, cost_nanousd, row_number() OVER (ORDER BY day DESC, run_id DESC) AS place
       FROM counted_runs
       WHERE project_id = $1 AND workflow = $2 AND prompt_version = $3
         AND day > (now() AT TIME ZONE 'UTC')::date - $4::int AND ($5::text IS NULL OR model = $5)
       ORDER BY day DESC, run_id DESC LIMIT $6 + 1
     )
     SELECT task_id, count(*) AS all_runs, count(*) FILTER (WHERE outcome <> 'cancelled') AS runs,
            count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
            coalesce(sum(cost_nanousd) FILTER (WHERE outcome <> 'cancelled'), 0)::bigint AS cost_nanousd,
            (SELECT count(*) FROM newest) AS found
     FROM newest WHERE place <= $6 GROUP BY task_id`,
    [projectId, workflow, promptVersion, windowDays, model, runsMax],
  );
  const tasks = rows.flatMap((row) =>
    row.task_id === null
      ? []
      : [
          [
            row.task_id,
            { runs: Number(row.runs), succeeded: Number(row.succeeded), costNanousd: Number(row.cost_nanousd) },
          ] as const,
        ],
  );
  const found = Number(rows[0]?.found ?? 0n);
  return {
    tasks: new Map(tasks),
    runs: Math.min(found, runsMax),
    withoutTask: Number(rows.find(({ task_id }) => task_id === null)?.all_runs ?? 0n),
    isCut: found > runsMax,
  };
}
