import type { Queryable } from '../../pg/tx.ts';

/** A gate of a run, by its name; or whatever of the run waits for people, by its id. */
export interface GateName {
  readonly projectId: string;
  readonly runId: string;
  readonly gate: string;
}

/** The id of the request that waits at the gate; null where nothing does. */
export async function findPendingGate(db: Queryable, named: GateName): Promise<string | null> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM approvals
     WHERE run_id = $1 AND project_id = $2 AND state = 'pending'
       AND (id = $3 OR (kind = 'run_gate' AND action = $3))
     ORDER BY id DESC LIMIT 1`,
    [named.runId, named.projectId, named.gate],
  );
  return rows[0]?.id ?? null;
}
