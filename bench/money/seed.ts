import type { Pool } from 'pg';
import { controlWrite, type Tx } from '../../server/src/pg/tx.ts';
import { budgetIdOf, type BudgetPlan, idsOf, projectIdOf, shared, type Workload, worstAmount } from './workloads.ts';

/** What never runs out in a benchmark. */
const plenty = 10n ** 17n;

/**
 * Makes a workload's projects with those callers that budgets can name, as the control API would have.
 * @returns the control version that has them
 */
export async function seedProjects(pool: Pool, workload: Workload, set: string, durability: string): Promise<bigint> {
  const { version } = await controlWrite(pool, async (tx, version) => {
    for (let project = 0; project < workload.projects; project += 1) {
      const projectId = projectIdOf(set, project);
      await tx.query(`INSERT INTO projects (id, name, durability, control_version) VALUES ($1, $1, $2, $3)`, [
        projectId,
        durability,
        version,
      ]);
      await insertCallers(tx, workload, projectId, version);
    }
  });
  return version;
}

async function insertCallers(
  tx: Tx,
  { budgets, callersPerProject }: Workload,
  projectId: string,
  version: bigint,
): Promise<void> {
  const { personId, agentId, keyId, runId } = idsOf(projectId, '');
  const named = new Set(budgets.flatMap(({ by }) => by));
  const values = [callersPerProject, projectId, version];
  const counted = 'generate_series(0, $1::int - 1) AS i';
  await tx.query(
    `INSERT INTO people (id, project_id, email, name, control_version) VALUES ($1, $2, 'bench@example.com', 'Bench', $3)`,
    [personId, projectId, version],
  );
  await tx.query(
    `INSERT INTO agents (id, project_id, name, person_id, created_by, control_version)
     SELECT $4 || i, $2, 'agent ' || i, $5, 'bench', $3 FROM ${counted}`,
    [...values, agentId, personId],
  );
  if (named.has('keyId'))
    await tx.query(
      `INSERT INTO api_keys (id, project_id, agent_id, kind, name, secret_hash, created_by, control_version)
       SELECT $4 || i, $2, $5 || i, 'agent', 'key ' || i, '', 'bench', $3 FROM ${counted}`,
      [...values, keyId, agentId],
    );
  if (named.has('runId'))
    await tx.query(
      `INSERT INTO runs (id, project_id, agent_id, workflow, control_version)
       SELECT $4 || i, $2, $5 || i, $6, $3 FROM ${counted}`,
      [...values, runId, agentId, shared.workflow],
    );
}

/**
 * Makes the budgets of a workload's projects; those of a lifetime as if each had been used before.
 * @returns the control version that has them
 */
export async function seedBudgets(pool: Pool, workload: Workload, set: string): Promise<bigint> {
  const { version } = await controlWrite(pool, async (tx, version) => {
    for (let project = 0; project < workload.projects; project += 1) {
      for (const index of workload.budgets.keys()) {
        await insertBudgets(tx, workload, index, projectIdOf(set, project), version);
      }
    }
    await tx.query(
      `INSERT INTO budget_counters (budget_id, window_key)
       SELECT id, 'lifetime' FROM budgets WHERE control_version = $1 AND "window" = 'lifetime'`,
      [version],
    );
  });
  return version;
}

async function insertBudgets(
  tx: Tx,
  { budgets, callersPerProject, limitCalls }: Workload,
  index: number,
  projectId: string,
  version: bigint,
): Promise<void> {
  const { of, unit, window, by } = budgets[index] as BudgetPlan;
  const { personId, agentId, keyId, runId } = idsOf(projectId, '');
  const chosen = (member: BudgetPlan['by'][number], value: string) => (by.includes(member) ? value : null);
  await tx.query(
    `INSERT INTO budgets (id, project_id, name, unit, "window", limit_amount, created_by, control_version,
       person_id, agent_id, key_id, run_id, workflow, provider_type, provider, model)
     SELECT $2 || i, $1, $2 || i, $3, $4, $5, 'bench', $6, $7, $8 || i, $9 || i, $10 || i, $11, $12, $13, $14
     FROM generate_series(0, $15::int - 1) AS i`,
    [
      projectId,
      budgetIdOf(projectId, index, ''),
      unit,
      window,
      limitCalls === undefined ? plenty : BigInt(limitCalls) * worstAmount,
      version,
      chosen('personId', personId),
      chosen('agentId', agentId),
      chosen('keyId', keyId),
      chosen('runId', runId),
      chosen('workflow', shared.workflow),
      chosen('providerType', shared.providerType),
      chosen('provider', shared.provider),
      chosen('model', shared.model),
      of === 'caller' ? callersPerProject : 1,
    ],
  );
}
