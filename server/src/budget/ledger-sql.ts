import { type LedgerColumn, ledgerColumns } from './ledger-row.ts';

/** What an ended hold `e` posts on a counter of budget `b`, in its unit; what counts calls in flight is only ever held. */
export const trueAmount = `CASE b.unit WHEN 'usd' THEN e.usd WHEN 'tokens' THEN e.tokens
  WHEN 'concurrent_requests' THEN 0 ELSE e.requests END`;

/**
 * What follows a CTE `deltas (budget_id, window_key, held, posted)`: the counters, locked in the one order in which
 * everybody locks them, then changed.
 */
export const applyDeltas = `
  locked AS MATERIALIZED (
    SELECT c.budget_id, c.window_key, d.held, d.posted
    FROM deltas d JOIN budget_counters c USING (budget_id, window_key)
    ORDER BY c.budget_id, c.window_key
    FOR UPDATE OF c
  ), counted AS (
    UPDATE budget_counters c SET held = c.held + l.held, posted = c.posted + l.posted
    FROM locked l
    WHERE c.budget_id = l.budget_id AND c.window_key = l.window_key
  )`;

export const columnList = ledgerColumns.join(', ');

// What stands in for what a hold of an earlier release left no word of.
const laterColumns: Readonly<Partial<Record<LedgerColumn, number>>> = {
  notional_nanousd: 0,
  held_nanousd: 0,
  attempt_no: 1,
};

/** A column of the ledger out of record `r`. */
export function read(column: LedgerColumn): string {
  const missing = laterColumns[column];
  return missing === undefined ? `r.${column}` : `coalesce(r.${column}, ${missing})`;
}

/** The columns of the ledger out of record `r`, some of them replaced by expressions. */
export function columnsOf(expressions: Partial<Record<LedgerColumn, string>> = {}): string {
  return ledgerColumns.map((column) => expressions[column] ?? read(column)).join(', ');
}
