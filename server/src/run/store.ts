import type { Queryable, Tx } from '../pg/tx.ts';
import type { Run, RunOutcome, RunState } from './model.ts';

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly agent_id: string;
  readonly workflow: string;
  readonly state: RunState;
  readonly summary: string;
  readonly started_at: Date;
  readonly finished_at: Date | null;
}

const columns = 'id, project_id, agent_id, workflow, state, summary, started_at, finished_at';

function fromRow(row: Row): Run {
  return {
    id: row.id,
    projectId: row.project_id,
    agentId: row.agent_id,
    workflow: row.workflow,
    state: row.state,
    summary: row.summary,
    startedAt: row.started_at.getTime(),
    finishedAt: row.finished_at?.getTime() ?? null,
  };
}

export async function insertRun(
  tx: Tx,
  version: bigint,
  run: Pick<Run, 'id' | 'projectId' | 'agentId' | 'workflow'>,
): Promise<Run> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO runs (id, project_id, agent_id, workflow, control_version) VALUES ($1, $2, $3, $4, $5)
     RETURNING ${columns}`,
    [run.id, run.projectId, run.agentId, run.workflow, version],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** Whose run a caller may reach: a project's, and within it one agent's unless `agentId` is null. */
export interface RunScope {
  readonly id: string;
  readonly projectId: string;
  readonly agentId: string | null;
}

export async function findRun(db: Queryable, scope: RunScope): Promise<Run | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM runs WHERE id = $1 AND project_id = $2 AND ($3::text IS NULL OR agent_id = $3)`,
    [scope.id, scope.projectId, scope.agentId],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Ends the run if it still runs. @returns null when it does not */
export async function finishRun(
  tx: Tx,
  version: bigint,
  scope: RunScope,
  outcome: RunOutcome,
  summary: string,
): Promise<Run | null> {
  const { rows } = await tx.query<Row>(
    `UPDATE runs SET state = $4, summary = $5, finished_at = now(), control_version = $6
     WHERE id = $1 AND project_id = $2 AND ($3::text IS NULL OR agent_id = $3) AND state = 'running'
     RETURNING ${columns}`,
    [scope.id, scope.projectId, scope.agentId, outcome, summary, version],
  );
  return rows[0] ? fromRow(rows[0]) : null;
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
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM runs WHERE control_version > $1 AND ($1 > 0 OR state = 'running')`,
    [version],
  );
  return rows.map(fromRow);
}
