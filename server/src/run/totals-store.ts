import type { Queryable } from '../pg/tx.ts';
import type { RunTotals } from './model.ts';

/** What is counted of a run `t` (decision 0022), as {@link RunTotals}. Which costs bills agree with is not counted apart. */
export const countedColumns = `t.attempts, t.refused,
  t.tokens_input AS "tokensInput", t.tokens_output AS "tokensOutput", t.tokens_cache_read AS "tokensCacheRead",
  t.tokens_cache_write AS "tokensCacheWrite", t.tokens_reasoning AS "tokensReasoning",
  t.cost_nanousd AS "costUsd", t.estimated_nanousd AS "estimatedUsd",
  t.cost_nanousd - t.estimated_nanousd AS "measuredUsd", 0::bigint AS "reconciledUsd", t.notional_nanousd AS "notionalUsd"`;

/** Null where nothing was counted yet. */
export async function selectCounted(db: Queryable, runId: string): Promise<RunTotals | null> {
  const { rows } = await db.query<RunTotals>(`SELECT ${countedColumns} FROM run_totals t WHERE run_id = $1`, [runId]);
  return rows[0] ?? null;
}
