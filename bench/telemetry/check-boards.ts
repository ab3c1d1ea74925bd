import type { Pool } from 'pg';
import type { Gate } from './gates.ts';
import { projectId, projectOf, spread, workflowName } from './seed/cast.ts';

interface Entry {
  readonly promptVersion: string;
  readonly succeeded?: string;
  readonly failed?: string;
  readonly cancelled?: string;
  readonly costPerSuccess?: { readonly value: number };
}

interface Version {
  readonly version: string;
  readonly succeeded: bigint;
  readonly failed: bigint;
  readonly cancelled: bigint;
  readonly cost: bigint;
}

const checkedWorkflows = [0, 7, spread.workflows - 1];
/** A board tells costs as floating-point numbers. */
const costError = 1e-9;

/**
 * Compares boards of all days with the runs and the ledger themselves.
 * @returns how many versions differ
 */
export async function compareBoards(pool: Pool, gate: Gate, progress: (text: string) => void): Promise<number> {
  let wrong = 0;
  for (const workflow of checkedWorkflows) {
    const request = { projectId: projectId(projectOf(workflow)), workflow: workflowName(workflow) };
    const { entries } = await gate.api<{ entries: readonly Entry[] }>('AnalyticsService/GetLeaderboard', {
      ...request,
      windowDays: 366,
      limit: 500,
    });
    const told = new Map(entries.map((entry) => [entry.promptVersion, entry]));
    const versions = await addUp(pool, request.projectId, request.workflow);
    const differing = versions.filter((version) => !agrees(told.get(version.version), version));
    wrong += differing.length + Math.abs(told.size - versions.length);
    progress(`board of ${request.workflow}: ${versions.length} versions, ${differing.length} other than their runs`);
  }
  return wrong;
}

function agrees(entry: Entry | undefined, version: Version): boolean {
  const cost = Number(version.cost) / Number(version.succeeded);
  return (
    BigInt(entry?.succeeded ?? 0) === version.succeeded &&
    BigInt(entry?.failed ?? 0) === version.failed &&
    BigInt(entry?.cancelled ?? 0) === version.cancelled &&
    (version.succeeded === 0n || Math.abs((entry?.costPerSuccess?.value ?? 0) / cost - 1) < costError)
  );
}

async function addUp(pool: Pool, project: string, workflow: string): Promise<readonly Version[]> {
  const { rows } = await pool.query<Version>(
    `SELECT prompt_version AS version, count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
       count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
       sum(cost)::bigint AS cost
     FROM runs
     LEFT JOIN (
       SELECT run_id, sum(cost_nanousd) AS cost FROM attempts WHERE project_id = $1 AND workflow = $2 GROUP BY run_id
     ) AS spent ON spent.run_id = runs.id
     WHERE project_id = $1 AND workflow = $2 AND state <> 'running' GROUP BY prompt_version`,
    [project, workflow],
  );
  return rows;
}
