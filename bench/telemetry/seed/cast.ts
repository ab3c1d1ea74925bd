import { createHash } from 'node:crypto';
import type { Client } from 'pg';

/** Who and what the seeded runs are of. Names are made of numbers, so that the SQL of a slice can make them too. */
export const spread = {
  days: 90,
  projects: 3,
  workflows: 20,
  versionsPerWorkflow: 10,
  agentsPerProject: 100,
  models: 12,
  tasksPerWorkflow: 200,
  attemptsPerRun: 10,
} as const;

export const projectId = (project: number) => `prj_bench_${project}`;
export const agentId = (project: number, agent: number) => `agt_bench_${project}_${agent}`;
export const workflowName = (workflow: number) => `workflow-${workflow}`;
export const modelName = (model: number) => `model-${model}`;
/** Workflows belong to projects in turn. */
export const projectOf = (workflow: number) => workflow % spread.projects;

/** What a prompt version is known by: the SHA-256 of its content. */
export function versionDigest(workflow: number, version: number): string {
  return createHash('sha256').update(`prompt ${workflow}.${version}`).digest('hex');
}

/** Projects, agents and prompt versions, as the control API would have made them. */
export async function seedCast(owner: Client): Promise<void> {
  const { days: _, ...counts } = spread;
  await owner.query(
    `INSERT INTO projects (id, name, control_version)
     SELECT 'prj_bench_' || p, 'bench ' || p, 2 FROM generate_series(0, $1::int - 1) AS p`,
    [counts.projects],
  );
  await owner.query(
    `INSERT INTO agents (id, project_id, name, created_by, control_version)
     SELECT 'agt_bench_' || p || '_' || a, 'prj_bench_' || p, 'agent ' || a, 'bench', 2
     FROM generate_series(0, $1::int - 1) AS p, generate_series(0, $2::int - 1) AS a`,
    [counts.projects, counts.agentsPerProject],
  );
  await owner.query(
    `INSERT INTO prompt_versions (id, project_id, workflow, digest, label, registered_by)
     SELECT 'prm_bench_' || w || '_' || v, 'prj_bench_' || w % $1::int, 'workflow-' || w, encode(sha256(convert_to('prompt ' || w || '.' || v, 'UTF8')), 'hex'),
            'version ' || v, 'bench'
     FROM generate_series(0, $2::int - 1) AS w, generate_series(0, $3::int - 1) AS v`,
    [counts.projects, counts.workflows, counts.versionsPerWorkflow],
  );
}
