import { viewNewsS, viewsToldMax } from '../../base/approval-limits.ts';
import type { Queryable, Tx } from '../../pg/tx.ts';
import { type DecisionAction, decisionActions } from '../model.ts';

/** A link as its row says. Times are epoch milliseconds by the database's clock. */
export interface LinkRecord {
  readonly id: string;
  readonly approvalId: string;
  readonly personId: string;
  readonly actions: readonly DecisionAction[];
  readonly expiresAt: number;
  /** When it decided something; null: not yet. */
  readonly usedAt: number | null;
  readonly isExpired: boolean;
}

interface Row {
  readonly id: string;
  readonly approval_id: string;
  readonly person_id: string;
  readonly actions: string[];
  readonly expires_at: Date;
  readonly used_at: Date | null;
  readonly is_expired: boolean;
}

const columns =
  'id, approval_id, person_id, actions, expires_at, used_at, expires_at <= clock_timestamp() AS is_expired';

function fromRow(row: Row): LinkRecord {
  return {
    id: row.id,
    approvalId: row.approval_id,
    personId: row.person_id,
    actions: decisionActions.filter((action) => row.actions.includes(action)),
    expiresAt: row.expires_at.getTime(),
    usedAt: row.used_at?.getTime() ?? null,
    isExpired: row.is_expired,
  };
}

export interface LinkToInsert {
  readonly id: string;
  readonly approvalId: string;
  readonly personId: string;
  readonly actions: readonly DecisionAction[];
  readonly mintedBy: string | null;
  readonly lifetimeS: number;
}

/** Inserts a link, which ends with its request at the latest. In whole seconds, as the token has it. */
export async function insertLink(tx: Tx, link: LinkToInsert): Promise<LinkRecord | null> {
  const { rows } = await tx.query<Row>(
    `INSERT INTO approval_links (id, approval_id, person_id, actions, minted_by, expires_at)
     SELECT $1, id, $3, $4, $5,
       date_trunc('second', least(expires_at, clock_timestamp() + make_interval(secs => $6)))
     FROM approvals WHERE id = $2 AND state = 'pending'
     RETURNING ${columns}`,
    [link.id, link.approvalId, link.personId, link.actions, link.mintedBy, link.lifetimeS],
  );
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Waits for others who make links to the request. @returns how many of the person's still hold */
export async function countLinks(tx: Tx, approvalId: string, personId: string): Promise<number> {
  await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`links ${approvalId}`]);
  const { rows } = await tx.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM approval_links
     WHERE approval_id = $1 AND person_id = $2 AND used_at IS NULL AND expires_at > clock_timestamp()`,
    [approvalId, personId],
  );
  return rows[0]?.count ?? 0;
}

export async function findLink(db: Queryable, id: string): Promise<LinkRecord | null> {
  const { rows } = await db.query<Row>(`SELECT ${columns} FROM approval_links WHERE id = $1`, [id]);
  return rows[0] ? fromRow(rows[0]) : null;
}

/** Uses the link up, in the transaction of the decision. @returns false where it was used, has expired, or does not allow it */
export async function useLink(
  tx: Tx,
  { id, approvalId, personId }: Pick<LinkRecord, 'id' | 'approvalId' | 'personId'>,
  action: DecisionAction,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `UPDATE approval_links SET used_at = clock_timestamp()
     WHERE id = $1 AND approval_id = $2 AND person_id = $3 AND $4 = ANY (actions)
       AND used_at IS NULL AND expires_at > clock_timestamp()`,
    [id, approvalId, personId, action],
  );
  return rowCount === 1;
}

/** Deletes links that ended before `keptMs` ago: their requests say what became of them. */
export async function purgeLinks(db: Queryable, keptMs: number, rowsMax: number): Promise<number> {
  const { rowCount } = await db.query(
    `DELETE FROM approval_links WHERE id IN
       (SELECT id FROM approval_links WHERE expires_at < clock_timestamp() - make_interval(secs => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    [keptMs / 1000, rowsMax],
  );
  return rowCount ?? 0;
}

/** Notes that a person looked at a request. @returns whether that is news, which goes into the audit log */
export async function noteView(
  tx: Tx,
  view: {
    readonly approvalId: string;
    readonly personId: string;
    readonly via: 'session' | 'link';
    readonly address: string;
  },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `INSERT INTO approval_views AS seen (approval_id, person_id, via, address) VALUES ($1, $2, $3, $4)
     ON CONFLICT (approval_id, person_id, via) DO UPDATE
       SET address = excluded.address, seen_at = clock_timestamp(), told = seen.told + 1
       WHERE seen.told < $5
         AND (seen.address <> excluded.address OR seen.seen_at < clock_timestamp() - make_interval(secs => $6))`,
    [view.approvalId, view.personId, view.via, view.address, viewsToldMax, viewNewsS],
  );
  return rowCount === 1;
}
