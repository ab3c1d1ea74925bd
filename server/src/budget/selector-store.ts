import type { Queryable } from '../pg/tx.ts';
import type { BudgetSelector } from './model.ts';

/** Which of what a selector names is not there, or is of another project. */
export async function findMissingReference(
  db: Queryable,
  projectId: string,
  { teamId, personId, agentId, keyId, runId }: BudgetSelector,
): Promise<{ readonly kind: string; readonly id: string } | null> {
  const { rows } = await db.query<{ kind: string; id: string }>(
    `SELECT w.kind, w.id
     FROM (VALUES ('person', $2::text), ('agent', $3), ('key', $4), ('run', $5), ('team', $6)) AS w (kind, id)
     LEFT JOIN (
       SELECT 'person' AS kind, id FROM people WHERE id = $2 AND project_id = $1
       UNION ALL SELECT 'agent', id FROM agents WHERE id = $3 AND project_id = $1
       UNION ALL SELECT 'key', id FROM api_keys WHERE id = $4 AND project_id = $1
       UNION ALL SELECT 'run', id FROM runs WHERE id = $5 AND project_id = $1
       UNION ALL SELECT 'team', id FROM teams WHERE id = $6 AND project_id = $1 AND deleted_at IS NULL
     ) AS f USING (kind, id)
     WHERE w.id IS NOT NULL AND f.id IS NULL LIMIT 1`,
    [projectId, personId, agentId, keyId, runId, teamId],
  );
  return rows[0] ?? null;
}

/** What is known of what a selector names; null where it names none, or nothing is known. */
export interface SelectorFacts {
  readonly agentPerson: string | null;
  readonly keyAgent: string | null;
  readonly keyPerson: string | null;
  readonly keyRun: string | null;
  readonly runAgent: string | null;
  readonly runWorkflow: string | null;
}

/** Whose the agent, key and run of a selector are. */
export async function readSelectorFacts(
  db: Queryable,
  { agentId, keyId, runId }: BudgetSelector,
): Promise<SelectorFacts> {
  const { rows } = await db.query<SelectorFacts>(
    `SELECT a.person_id AS "agentPerson", k.agent_id AS "keyAgent", coalesce(ka.person_id, k.person_id) AS "keyPerson",
            k.run_id AS "keyRun", r.agent_id AS "runAgent", r.workflow AS "runWorkflow"
     FROM (VALUES ($1::text, $2::text, $3::text)) AS s (agent_id, key_id, run_id)
     LEFT JOIN agents a ON a.id = s.agent_id
     LEFT JOIN api_keys k ON k.id = s.key_id
     LEFT JOIN agents ka ON ka.id = k.agent_id
     LEFT JOIN runs r ON r.id = s.run_id`,
    [agentId, keyId, runId],
  );
  const [facts] = rows;
  if (!facts) throw new Error('a SELECT of one row gave none');
  return facts;
}

/** What a budget is for, for people to read. */
export interface BudgetSubject {
  readonly agentName: string | null;
  readonly personName: string | null;
  readonly teamName: string | null;
  /** Why it counts no further call; null while it may. */
  readonly idleReason: string | null;
}

/** The subjects of budgets, by the budgets' ids. */
export async function readSubjects(
  db: Queryable,
  budgetIds: readonly string[],
): Promise<ReadonlyMap<string, BudgetSubject>> {
  const { rows } = await db.query<BudgetSubject & { readonly id: string }>(
    `SELECT b.id, a.name AS "agentName", p.name AS "personName", t.name AS "teamName", CASE
       WHEN r.state <> 'running' THEN 'its run is over'
       WHEN k.revoked_at IS NOT NULL THEN 'its key is revoked'
       WHEN k.expires_at <= now() THEN 'its key has expired'
       WHEN a.state = 'disabled' THEN 'its agent is disabled'
       WHEN p.state = 'disabled' THEN 'its person is disabled'
       WHEN t.deleted_at IS NOT NULL THEN 'its team is deleted'
     END AS "idleReason"
     FROM budgets b
     LEFT JOIN runs r ON r.id = b.run_id
     LEFT JOIN api_keys k ON k.id = b.key_id
     LEFT JOIN agents a ON a.id = b.agent_id
     LEFT JOIN people p ON p.id = b.person_id
     LEFT JOIN teams t ON t.id = b.team_id
     WHERE b.id = ANY ($1)`,
    [budgetIds],
  );
  return new Map(rows.map(({ id, ...subject }) => [id, subject]));
}
