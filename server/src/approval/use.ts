import type { Queryable } from '../pg/tx.ts';
import { groundTables, lostGround } from './ground.ts';

/** What is about to run. */
export interface Use {
  readonly id: string;
  /** Of exactly what is about to run. */
  readonly digest: Buffer;
  /** That of the rule which asks for it now: another one voids the approval. Left out: no rule asked. */
  readonly ruleDigest?: Buffer | null;
}

/**
 * Takes an approval for what is about to run: one conditional update, true exactly once, and only for the digest that people
 * approved, in the time that its asker set, while its run goes on and its agent is not disabled. Policy, kill switch and
 * budgets are evaluated by the caller, as without an approval.
 */
export async function useApproval(db: Queryable, { id, digest, ruleDigest = null }: Use): Promise<boolean> {
  const { rowCount } = await db.query(
    `UPDATE approvals SET used_at = clock_timestamp()
     WHERE id = $1 AND state IN ('approved', 'edited') AND used_at IS NULL AND coalesce(edited_digest, digest) = $2
       AND rule_digest IS NOT DISTINCT FROM $3
       AND ended_at + use_ms * interval '1 ms' > clock_timestamp()
       AND NOT EXISTS (SELECT FROM (SELECT approvals.*) approvals ${groundTables} WHERE ${lostGround} IS NOT NULL)`,
    [id, digest, ruleDigest],
  );
  return rowCount === 1;
}
