import { PortcullisError } from '../../base/errors.ts';
import type { Queryable } from '../../pg/tx.ts';
import type { BudgetUnit } from '../model.ts';

/** A posting of a slice as it is read back. */
export interface PostingRecord {
  /** Its place among postings, as text. */
  readonly id: string;
  readonly budgetId: string;
  readonly budgetName: string;
  readonly unit: BudgetUnit;
  readonly windowKey: string;
  readonly amount: bigint;
  readonly instanceId: string;
  /** Epoch milliseconds. */
  readonly postedAt: number;
}

/**
 * Postings of a project, or of one of its budgets (null: of all), newest first, from below `beforeId`.
 * @throws PortcullisError invalid_argument
 */
export async function selectPostings(
  db: Queryable,
  projectId: string,
  budgetId: string | null,
  beforeId: string | null,
  limit: number,
): Promise<PostingRecord[]> {
  if (beforeId !== null && !/^\d{1,18}$/.test(beforeId)) {
    throw new PortcullisError('invalid_argument', 'page_token is not one that this list gave out.', {
      param: 'page_token',
    });
  }
  const { rows } = await db.query<Omit<PostingRecord, 'postedAt'> & { readonly postedAt: Date }>(
    `SELECT p.id::text, p.budget_id AS "budgetId", b.name AS "budgetName", b.unit, p.window_key AS "windowKey", p.amount,
            p.instance_id AS "instanceId", p.posted_at AS "postedAt"
     FROM lease_postings p JOIN budgets b ON b.id = p.budget_id
     WHERE p.project_id = $1 AND ($2::text IS NULL OR p.budget_id = $2) AND ($3::bigint IS NULL OR p.id < $3)
     ORDER BY p.id DESC LIMIT $4`,
    [projectId, budgetId, beforeId, limit],
  );
  return rows.map((row) => ({ ...row, postedAt: row.postedAt.getTime() }));
}
