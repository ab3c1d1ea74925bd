import type { Queryable, Tx } from '../pg/tx.ts';
import type { Budget, BudgetMode, BudgetUnit, BudgetWindow, ProviderType } from './model.ts';

/** A budget as it is stored. */
export interface BudgetRecord extends Budget {
  /** At what percents of the limit somebody is told. */
  readonly notifyPercents: readonly number[];
  /** A cap of the policy in force: only the policy changes it. */
  readonly managedByPolicy: boolean;
  readonly createdAt: number;
  readonly createdBy: string;
}

interface Row {
  readonly id: string;
  readonly project_id: string;
  readonly name: string;
  readonly team_id: string | null;
  readonly person_id: string | null;
  readonly agent_id: string | null;
  readonly key_id: string | null;
  readonly workflow: string | null;
  readonly run_id: string | null;
  readonly provider_type: ProviderType | null;
  readonly provider: string | null;
  readonly model: string | null;
  readonly unit: BudgetUnit;
  readonly window: BudgetWindow;
  readonly time_zone: string;
  readonly limit_amount: bigint | null;
  readonly mode: BudgetMode;
  readonly notify_percents: readonly number[];
  readonly managed_by_policy: boolean;
  readonly created_at: Date;
  readonly created_by: string;
}

const columns = `id, project_id, name, team_id, person_id, agent_id, key_id, workflow, run_id, provider_type, provider,
  model, unit, "window", time_zone, limit_amount, mode, notify_percents, managed_by_policy, created_at, created_by`;

function fromRow(row: Row): BudgetRecord {
  return {
    id: row.id,
    projectId: row.project_id,
    name: row.name,
    selector: {
      teamId: row.team_id,
      personId: row.person_id,
      agentId: row.agent_id,
      keyId: row.key_id,
      workflow: row.workflow,
      runId: row.run_id,
      providerType: row.provider_type,
      provider: row.provider,
      model: row.model,
    },
    unit: row.unit,
    window: row.window,
    timeZone: row.time_zone,
    limit: row.limit_amount,
    mode: row.mode,
    notifyPercents: row.notify_percents,
    managedByPolicy: row.managed_by_policy,
    createdAt: row.created_at.getTime(),
    createdBy: row.created_by,
  };
}

/** Budgets that changed after the control version `since`, deleted ones included. */
export async function loadBudgets(
  db: Queryable,
  since: bigint,
): Promise<{ readonly budget: Budget; readonly deleted: boolean }[]> {
  const { rows } = await db.query<Row & { readonly deleted: boolean }>(
    `SELECT ${columns}, deleted_at IS NOT NULL AS deleted FROM budgets WHERE control_version > $1`,
    [since],
  );
  return rows.map((row) => ({ budget: fromRow(row), deleted: row.deleted }));
}

export async function insertBudget(
  tx: Tx,
  version: bigint,
  budget: Omit<BudgetRecord, 'createdAt'>,
): Promise<BudgetRecord> {
  const { selector } = budget;
  const { rows } = await tx.query<Row>(
    `INSERT INTO budgets (id, project_id, name, person_id, agent_id, key_id, workflow, run_id, provider_type, provider,
       model, unit, "window", time_zone, limit_amount, mode, notify_percents, managed_by_policy, created_by,
       control_version, team_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
     RETURNING ${columns}`,
    [
      budget.id,
      budget.projectId,
      budget.name,
      selector.personId,
      selector.agentId,
      selector.keyId,
      selector.workflow,
      selector.runId,
      selector.providerType,
      selector.provider,
      selector.model,
      budget.unit,
      budget.window,
      budget.timeZone,
      budget.limit,
      budget.mode,
      budget.notifyPercents,
      budget.managedByPolicy,
      budget.createdBy,
      version,
      selector.teamId,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** A budget that was not deleted. */
export async function findBudget(db: Queryable, projectId: string, id: string): Promise<BudgetRecord | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM budgets WHERE id = $1 AND project_id = $2 AND deleted_at IS NULL`,
    [id, projectId],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The budget of that name that was not deleted. */
export async function findBudgetByName(db: Queryable, projectId: string, name: string): Promise<BudgetRecord | null> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM budgets WHERE project_id = $1 AND name = $2 AND deleted_at IS NULL`,
    [projectId, name],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Changes a budget; one that was ended counts again. */
export async function updateBudget(
  tx: Tx,
  version: bigint,
  budget: Pick<BudgetRecord, 'id' | 'name' | 'limit' | 'mode' | 'notifyPercents'>,
): Promise<void> {
  await tx.query(
    `UPDATE budgets
     SET name = $2, limit_amount = $3, mode = $4, notify_percents = $5, control_version = $6, deleted_at = NULL
     WHERE id = $1`,
    [budget.id, budget.name, budget.limit, budget.mode, budget.notifyPercents, version],
  );
}

export async function markBudgetDeleted(tx: Tx, version: bigint, id: string): Promise<void> {
  await tx.query('UPDATE budgets SET deleted_at = now(), control_version = $2 WHERE id = $1', [id, version]);
}

/** The budgets that the policy in force owns. */
export async function selectPolicyBudgets(db: Queryable, projectId: string): Promise<BudgetRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM budgets
     WHERE project_id = $1 AND managed_by_policy AND deleted_at IS NULL ORDER BY name`,
    [projectId],
  );
  return rows.map(fromRow);
}

/** The budgets of that name that were caps of a policy and were ended, newest first. */
export async function selectEndedCaps(db: Queryable, projectId: string, name: string): Promise<BudgetRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM budgets
     WHERE project_id = $1 AND name = $2 AND managed_by_policy AND deleted_at IS NOT NULL ORDER BY id DESC LIMIT 1000`,
    [projectId, name],
  );
  return rows.map(fromRow);
}

export async function countBudgets(db: Queryable, projectId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM budgets WHERE project_id = $1 AND deleted_at IS NULL',
    [projectId],
  );
  return rows[0]?.count ?? 0;
}

/** Budgets of the project, newest first, from below `beforeId` (null: from the newest). */
export async function selectBudgets(
  db: Queryable,
  projectId: string,
  beforeId: string | null,
  limit: number,
): Promise<BudgetRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM budgets
     WHERE project_id = $1 AND deleted_at IS NULL AND ($2::text IS NULL OR id < $2)
     ORDER BY id DESC LIMIT $3`,
    [projectId, beforeId, limit],
  );
  return rows.map(fromRow);
}

/**
 * The enforcing budgets with a limit that count whatever a run of this agent on this workflow calls. Calls in flight end by
 * themselves, so what limits them stops no run, unless it denies all.
 */
export async function selectBudgetsOfRun(
  db: Queryable,
  { projectId, agentId, workflow }: { readonly projectId: string; readonly agentId: string; readonly workflow: string },
): Promise<BudgetRecord[]> {
  const { rows } = await db.query<Row>(
    `SELECT ${columns} FROM budgets
     WHERE project_id = $1 AND deleted_at IS NULL AND mode = 'enforce' AND limit_amount IS NOT NULL
       AND coalesce(key_id, run_id, provider_type, provider, model) IS NULL
       AND (unit <> 'concurrent_requests' OR limit_amount = 0)
       AND (agent_id IS NULL OR agent_id = $2)
       AND (workflow IS NULL OR workflow = $3)
       AND (person_id IS NULL OR person_id = (SELECT person_id FROM agents WHERE id = $2))
       AND (team_id IS NULL
         OR team_id = ANY (SELECT unnest(p.teams) FROM people p JOIN agents a ON a.person_id = p.id WHERE a.id = $2))
     ORDER BY id`,
    [projectId, agentId, workflow],
  );
  return rows.map(fromRow);
}

/** What the counters say, by budget and window; counters that do not exist yet are absent. */
export async function readCounters(
  db: Queryable,
  keys: readonly { readonly budgetId: string; readonly windowKey: string }[],
): Promise<Map<string, { readonly posted: bigint; readonly held: bigint; readonly leased: bigint }>> {
  const { rows } = await db.query<{ budget_id: string; posted: bigint; held: bigint; leased: bigint }>(
    `SELECT budget_id, posted, held, leased FROM budget_counters
     JOIN unnest($1::text[], $2::text[]) AS k (budget_id, window_key) USING (budget_id, window_key)`,
    [keys.map((key) => key.budgetId), keys.map((key) => key.windowKey)],
  );
  return new Map(rows.map(({ budget_id, posted, held, leased }) => [budget_id, { posted, held, leased }]));
}
