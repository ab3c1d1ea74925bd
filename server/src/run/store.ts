import type { Queryable, Tx } from '../pg/tx.ts';
import type { NewRun, Run, RunOutcome, RunState, RunTotals } from './model.ts';
import { keptTotals, storedTotals } from './totals-json.ts';

export interface RunRow {
  readonly id: string;
  readonly project_id: string;
  readonly agent_id: string;
  readonly workflow: string;
  readonly task_id: string | null;
  readonly prompt_version: string | null;
  readonly max_retries: number | null;
  readonly state: RunState;
  readonly summary: string;
  readonly error: string;
  readonly started_at: Date;
  readonly finished_at: Date | null;
}

export const runColumns = `id, project_id, agent_id, workflow, task_id, prompt_version, max_retries, state, summary, error,
  started_at, finished_at`;

export function runFromRow(row: RunRow): Run {
  return {
    id: row.id,
    projectId: row.project_id,
    agentId: row.agent_id,
    workflow: row.workflow,
    taskId: row.task_id,
    promptVersion: row.prompt_version,
    maxRetries: row.max_retries,
    state: row.state,
    summary: row.summary,
    error: row.error,
    startedAt: row.started_at.getTime(),
    finishedAt: row.finished_at?.getTime() ?? null,
  };
}

export async function insertRun(tx: Tx, version: bigint, run: NewRun): Promise<Run> {
  const { rows } = await tx.query<RunRow>(
    `INSERT INTO runs (id, project_id, agent_id, workflow, task_id, prompt_version, max_retries, started_at, control_version)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     RETURNING ${runColumns}`,
    [
      run.id,
      run.projectId,
      run.agentId,
      run.workflow,
      run.taskId,
      run.promptVersion,
      run.maxRetries,
      new Date(run.startedAt),
      version,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return runFromRow(row);
}

/** How many runs of an agent run, of the first `countedMax`. As lists are (run/list-store.ts): nothing but its index serves that. */
export async function countRunning(tx: Tx, agentId: string, countedMax: number): Promise<number> {
  const { rowCount } = await tx.query(
    `SELECT FROM runs
     WHERE (agent_id, state) >= ($1, 'running') AND (agent_id, state) <= ($1, 'running')
     ORDER BY agent_id, state, id LIMIT $2`,
    [agentId, countedMax],
  );
  return rowCount ?? 0;
}

/** Whose run a caller may reach: a project's, and within it one agent's unless `agentId` is null. */
export interface RunScope {
  readonly id: string;
  readonly projectId: string;
  readonly agentId: string | null;
}

/** The condition on `runs` of a scope, with `scopeValues` as $1 to $3. */
export const inScope = 'id = $1 AND project_id = $2 AND ($3::text IS NULL OR agent_id = $3)';

export function scopeValues({ id, projectId, agentId }: RunScope): unknown[] {
  return [id, projectId, agentId];
}

export async function findRun(db: Queryable, scope: RunScope): Promise<Run | null> {
  const { rows } = await db.query<RunRow>(`SELECT ${runColumns} FROM runs WHERE ${inScope}`, scopeValues(scope));
  return rows[0] ? runFromRow(rows[0]) : null;
}

/** The digest of a version of the workflow's prompt, by that or by its label; null where none is registered. */
export async function findPromptVersion(
  db: Queryable,
  { projectId, workflow }: { readonly projectId: string; readonly workflow: string },
  digestOrLabel: string,
): Promise<string | null> {
  const { rows } = await db.query<{ digest: string }>(
    `SELECT digest FROM prompt_versions WHERE project_id = $1 AND workflow = $2 AND (digest = lower($3) OR label = $3)`,
    [projectId, workflow, digestOrLabel],
  );
  return rows[0]?.digest ?? null;
}

export interface RunEnd {
  readonly outcome: RunOutcome;
  readonly summary: string;
  readonly error: string;
  /** What it had used then. */
  readonly totals: RunTotals;
}

/** Ends the run if it still runs. @returns null when it does not */
export async function finishRun(tx: Tx, version: bigint, scope: RunScope, end: RunEnd): Promise<Run | null> {
  const { rows } = await tx.query<RunRow>(
    // The start is of our estimate of this clock.
    `UPDATE runs SET state = $4, summary = $5, error = $6, finish_totals = $7, control_version = $8,
       finished_at = greatest(now(), started_at)
     WHERE ${inScope} AND state = 'running'
     RETURNING ${runColumns}`,
    [...scopeValues(scope), end.outcome, end.summary, end.error, storedTotals(end.totals), version],
  );
  return rows[0] ? runFromRow(rows[0]) : null;
}

/** A run as it stands. */
export interface StandingRun {
  readonly run: Run;
  /** What who finished it was told; null for one that nobody was told anything of. */
  readonly totals: RunTotals | null;
  /** The control version at which it came to stand so. */
  readonly version: bigint;
}

export async function findStanding(db: Queryable, scope: RunScope): Promise<StandingRun | null> {
  const { rows } = await db.query<RunRow & { finish_totals: Record<string, string> | null; version: bigint }>(
    `SELECT ${runColumns}, finish_totals, control_version AS version FROM runs WHERE ${inScope}`,
    scopeValues(scope),
  );
  const [row] = rows;
  if (!row) return null;
  const { finish_totals: totals, version } = row;
  return { run: runFromRow(row), totals: totals && keptTotals(totals), version };
}

/** What the run contributes to the leaderboard will change, when its end is committed with this (decision 0024). */
export async function markForCount(tx: Tx, scope: RunScope): Promise<void> {
  await tx.query(
    `INSERT INTO run_totals (run_id, project_id, recount)
     SELECT id, project_id, true FROM runs WHERE ${inScope} AND state = 'running'
     ON CONFLICT (run_id) DO UPDATE SET recount = true`,
    scopeValues(scope),
  );
}

/** Ends the keys that are bound to the run. @returns their ids */
export async function revokeRunKeys(tx: Tx, version: bigint, runId: string): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `UPDATE api_keys SET revoked_at = now(), control_version = $2 WHERE run_id = $1 AND revoked_at IS NULL
     RETURNING id`,
    [runId, version],
  );
  return rows.map((row) => row.id);
}

/** For the control feed: what changed after `version`; from 0 only what still runs. */
export async function runsSince(db: Queryable, version: bigint): Promise<Run[]> {
  const { rows } = await db.query<RunRow>(
    `SELECT ${runColumns} FROM runs WHERE control_version > $1 AND ($1 > 0 OR state = 'running')`,
    [version],
  );
  return rows.map(runFromRow);
}
