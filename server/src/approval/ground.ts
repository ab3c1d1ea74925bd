import type { Queryable } from '../pg/tx.ts';

/** What a request stands on besides itself: when that is gone, so is the request. */

/** Why a request has no ground any more, in SQL over {@link groundTables}; null where it has. */
export const lostGround = `CASE
  WHEN run.state <> 'running' THEN 'Its run ended.'
  WHEN agent.state = 'disabled' THEN 'Its agent was disabled.'
  WHEN asks.state = 'disabled' OR answers.state = 'disabled' THEN 'The person who asked, or who answers for its agent, was disabled.'
  WHEN key.revoked_at <= clock_timestamp() AND key.login_id IS NULL THEN 'The key with which it was asked was revoked.'
END`;

export const groundTables = `LEFT JOIN runs run ON run.id = approvals.run_id
  LEFT JOIN agents agent ON agent.id = approvals.requester_agent_id
  LEFT JOIN people asks ON asks.id = approvals.requester_person_id
  LEFT JOIN people answers ON answers.id = agent.person_id
  LEFT JOIN api_keys key ON key.id = approvals.requester_key_id`;

/** What the kill switch is asked about. */
export interface GroundSubject {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly personId: string | null;
  readonly keyId: string | null;
  readonly loginId: string | null;
  readonly runId: string | null;
  readonly workflow: string | null;
}

/** Why the kill switch stops it; null where it does not. Handed in by the composition, since policy/ is a sibling. */
export type KilledBy = (subject: GroundSubject) => string | null;

export interface GroundRow {
  readonly id: string;
  readonly lost: string | null;
  readonly kind: string;
  readonly projectId: string;
  readonly agentId: string | null;
  readonly personId: string | null;
  readonly keyId: string | null;
  readonly loginId: string | null;
  readonly runId: string | null;
  readonly workflow: string | null;
}

export const groundColumns = `approvals.id, ${lostGround} AS lost, approvals.kind, approvals.project_id AS "projectId",
  approvals.requester_agent_id AS "agentId", approvals.requester_person_id AS "personId",
  approvals.requester_key_id AS "keyId", key.login_id AS "loginId", approvals.run_id AS "runId", run.workflow`;

/** Why the request has no ground any more, or is stopped; null where it stands. */
export async function lostGroundOf(db: Queryable, id: string, killedBy: KilledBy): Promise<string | null> {
  const { rows } = await db.query<GroundRow>(
    `SELECT ${groundColumns} FROM approvals ${groundTables} WHERE approvals.id = $1`,
    [id],
  );
  return rows[0] ? lostOf(rows[0], killedBy) : null;
}

/** Stopping calls must not stop people from changing the policy, or from releasing the stop. */
export function lostOf(row: GroundRow, killedBy: KilledBy): string | null {
  if (row.lost !== null) return row.lost;
  return row.kind === 'policy_change' || row.kind === 'kill_release' ? null : killedBy(row);
}

/** Pending requests without ground by what the database knows, and all pending ones where `all`; from above `afterId`, at most `limit`. */
export async function selectGround(
  db: Queryable,
  { all, afterId, limit }: { readonly all: boolean; readonly afterId: string; readonly limit: number },
): Promise<GroundRow[]> {
  const { rows } = await db.query<GroundRow>(
    `SELECT ${groundColumns} FROM approvals ${groundTables}
     WHERE approvals.state = 'pending' AND approvals.id > $1 AND ($2 OR ${lostGround} IS NOT NULL)
     ORDER BY approvals.id LIMIT $3`,
    [afterId, all, limit],
  );
  return rows;
}
