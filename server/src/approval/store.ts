import type { Queryable, Tx } from '../pg/tx.ts';
import type { Approval, ApprovalRequest, DecisionWay, OutcomeState } from './model.ts';
import { type ApprovalRow, approvalColumns, fromRow } from './row.ts';

/** The statements of one request. Times are those of the database's clock at the statement, not at the beginning of its transaction. */

/** The channel on which a change of an approval is announced, by its id. */
export const approvalChannel = 'portcullis_approvals';

/** A request as it is written down. */
export type ApprovalToInsert = Omit<ApprovalRequest, 'arguments' | 'requestId'> & {
  readonly id: string;
  readonly what: string;
  readonly digest: Buffer;
};

export async function insertApproval(tx: Tx, made: ApprovalToInsert): Promise<Approval> {
  const { requester, rule, ladder } = made;
  const { rows } = await tx.query<ApprovalRow>(
    `INSERT INTO approvals (id, project_id, kind, risk, requester_kind, requester_id, requester_name, requester_agent_id,
       requester_person_id, requester_key_id, run_id, action, what, digest, summary, diff, rule_name, rule_digest, groups,
       quorum, ladder, next_rung_at, created_at, expires_at, use_ms)
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, (SELECT id FROM api_keys WHERE id = $10), $11, $12, $13, $14, $15, $16, $17,
       $18, $19, $20, $21, clock.now + $22 * interval '1 ms', clock.now, clock.now + $23 * interval '1 ms', $24
     FROM (SELECT clock_timestamp() AS now) clock
     RETURNING ${approvalColumns}`,
    [
      made.id,
      made.projectId,
      made.kind,
      made.risk,
      requester.kind,
      requester.id,
      requester.name,
      requester.agentId,
      requester.personId,
      requester.keyId,
      made.runId,
      made.action,
      made.what,
      made.digest,
      made.summary,
      made.diff,
      rule?.name ?? null,
      rule?.digest ?? null,
      [...made.groups],
      made.quorum,
      JSON.stringify(ladder.map(({ afterMs, groups }) => ({ after_ms: afterMs, groups }))),
      ladder[0]?.afterMs ?? null,
      made.expiresInMs,
      made.useMs,
    ],
  );
  const [row] = rows;
  if (!row) throw new Error('INSERT … RETURNING gave no row');
  return fromRow(row);
}

/** Waits for others who ask in this project: what is counted and attached to stays so until the transaction ends. */
export async function lockAsking(tx: Tx, projectId: string): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`approvals ${projectId}`]);
}

/** @param projectId null: of whatever project */
export async function findApproval(
  db: Queryable,
  { id, projectId }: { readonly id: string; readonly projectId: string | null },
): Promise<Approval | null> {
  const { rows } = await db.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals WHERE id = $1 AND ($2::text IS NULL OR project_id = $2)`,
    [id, projectId],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** The approval, which nobody else changes until the transaction ends. */
export async function lockApproval(tx: Tx, id: string): Promise<Approval | null> {
  const { rows } = await tx.query<ApprovalRow>(`SELECT ${approvalColumns} FROM approvals WHERE id = $1 FOR UPDATE`, [
    id,
  ]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** What was asked already, of the same digest: pending, overdue or not, and else approved and usable. The pending one is locked. */
export async function lockSame(
  tx: Tx,
  { projectId, kind, digest }: Pick<ApprovalToInsert, 'projectId' | 'kind' | 'digest'>,
): Promise<Approval | null> {
  const { rows } = await tx.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals
     WHERE project_id = $1 AND kind = $2 AND digest = $3 AND state = 'pending' FOR UPDATE`,
    [projectId, kind, digest],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** What was approved of that digest and may still be used; the newest. */
export async function findUsable(
  db: Queryable,
  { projectId, kind, digest }: Pick<ApprovalToInsert, 'projectId' | 'kind' | 'digest'>,
): Promise<Approval | null> {
  const { rows } = await db.query<ApprovalRow>(
    `SELECT ${approvalColumns} FROM approvals
     WHERE project_id = $1 AND kind = $2 AND digest = $3 AND state IN ('approved', 'edited') AND used_at IS NULL
       AND ended_at + use_ms * interval '1 ms' > clock_timestamp()
     ORDER BY id DESC LIMIT 1`,
    [projectId, kind, digest],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Pending requests of a project and of one requester in it, counted no further than `limit`. */
export async function countPending(
  db: Queryable,
  projectId: string,
  requesterId: string,
  limit: number,
): Promise<{ project: number; requester: number }> {
  const { rows } = await db.query<{ project: number; requester: number }>(
    `SELECT
       (SELECT count(*)::int FROM (SELECT FROM approvals WHERE project_id = $1 AND state = 'pending' LIMIT $3) a) AS project,
       (SELECT count(*)::int FROM (SELECT FROM approvals WHERE project_id = $1 AND requester_id = $2 AND state = 'pending'
                                   LIMIT $3) b) AS requester`,
    [projectId, requesterId, limit],
  );
  return rows[0] ?? { project: limit, requester: limit };
}

/** Whether its time is over. */
export async function isOverdue(db: Queryable, id: string): Promise<boolean> {
  const { rows } = await db.query<{ overdue: boolean }>(
    'SELECT expires_at <= clock_timestamp() AS overdue FROM approvals WHERE id = $1',
    [id],
  );
  return rows[0]?.overdue === true;
}

/** How a request ends. */
export interface End {
  readonly id: string;
  readonly state: OutcomeState;
  readonly decidedBy: string | null;
  readonly decidedVia: DecisionWay | null;
  readonly reason: string;
  readonly response: string | null;
}

/**
 * The one update that gives a request its outcome. People can decide only in time; it expires only out of it.
 * @returns null where it had one, or the time does not fit
 */
export async function endApproval(tx: Tx, end: End): Promise<Approval | null> {
  const inTime = {
    approved: 'AND expires_at > clock_timestamp()',
    edited: 'AND expires_at > clock_timestamp() AND edited_digest IS NOT NULL',
    rejected: 'AND expires_at > clock_timestamp()',
    expired: 'AND expires_at <= clock_timestamp()',
    cancelled: '',
  }[end.state];
  const { rows } = await tx.query<ApprovalRow>(
    `UPDATE approvals SET state = $2, ended_at = clock_timestamp(), decided_by = $3, decided_via = $4, reason = $5,
       response = $6, next_rung_at = NULL
     WHERE id = $1 AND state = 'pending' ${inTime} RETURNING ${approvalColumns}`,
    [end.id, end.state, end.decidedBy, end.decidedVia, end.reason, end.response],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** What stands to be approved instead, from now on. @returns null where it is decided or overdue */
export async function setEdited(
  tx: Tx,
  id: string,
  edited: { readonly what: string; readonly digest: Buffer },
): Promise<Approval | null> {
  const { rows } = await tx.query<ApprovalRow>(
    `UPDATE approvals SET edited_what = $2, edited_digest = $3
     WHERE id = $1 AND state = 'pending' AND expires_at > clock_timestamp() RETURNING ${approvalColumns}`,
    [id, edited.what, edited.digest],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Announces a change to whoever waits for it, when the transaction commits. */
export async function announce(tx: Tx, id: string): Promise<void> {
  await tx.query(`SELECT pg_notify('${approvalChannel}', $1)`, [id]);
}

/** Of these, those that have an outcome. */
export async function selectSettled(db: Queryable, ids: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM approvals WHERE id = ANY ($1) AND state <> 'pending'`,
    [ids],
  );
  return rows.map(({ id }) => id);
}
