import type { Queryable, Tx } from '../pg/tx.ts';
import { type LedgerColumn, type LedgerRow, amountColumns, ledgerColumns } from './ledger-row.ts';
import type { Budget } from './model.ts';

/** Names one counter: a budget's in one window. */
export interface CounterKey {
  readonly budgetId: string;
  readonly windowKey: string;
}

/** A budget as it stands in the database, with its counter where one was locked for it. */
export interface LockedBudget extends Pick<Budget, 'id' | 'name' | 'unit' | 'window' | 'limit' | 'mode'> {
  readonly windowKey: string | null;
  readonly held: bigint | null;
  readonly posted: bigint | null;
}

/** A hold to be written. */
export interface HoldRow {
  readonly id: string;
  readonly counters: readonly (CounterKey & { readonly amount: bigint })[];
  readonly crashRow: LedgerRow;
  readonly deadlineMs: number;
}

/** The end of a hold with its ledger row, or (`holdId` null) the ledger row of a call that never had a hold. */
export interface EndingRow {
  readonly holdId: string | null;
  readonly state: 'settled' | 'released';
  readonly usd: bigint;
  readonly tokens: bigint;
  readonly requests: 0 | 1;
  readonly row: LedgerRow;
}

/**
 * Makes counters that are not there yet. Run before `lockBudgets` in the same transaction, with all keys that it may
 * have to make: then two transactions can wait for each other only in the order of the keys.
 */
export async function insertCounters(tx: Tx, keys: readonly CounterKey[]): Promise<void> {
  await tx.query(
    `INSERT INTO budget_counters (budget_id, window_key)
     SELECT * FROM unnest($1::text[], $2::text[]) AS k (budget_id, window_key) ORDER BY 1, 2
     ON CONFLICT DO NOTHING`,
    [keys.map((key) => key.budgetId), keys.map((key) => key.windowKey)],
  );
}

/**
 * Locks counters in the one order that everybody locks them in, and reads the budgets' limits as they stand now.
 * Budgets that were deleted are absent. A budget in `budgetIds` without a key comes without a counter.
 */
export async function lockBudgets(
  tx: Tx,
  budgetIds: readonly string[],
  keys: readonly CounterKey[],
): Promise<LockedBudget[]> {
  const { rows } = await tx.query<LockedBudget>(
    `WITH locked AS MATERIALIZED (
       SELECT c.budget_id, c.window_key, c.held, c.posted
       FROM unnest($2::text[], $3::text[]) AS k (budget_id, window_key)
       JOIN budget_counters c USING (budget_id, window_key)
       ORDER BY c.budget_id, c.window_key
       FOR UPDATE OF c
     )
     SELECT b.id, b.name, b.unit, b."window", b.limit_amount AS "limit", b.mode,
            l.window_key AS "windowKey", l.held, l.posted
     FROM budgets b LEFT JOIN locked l ON l.budget_id = b.id
     WHERE b.id = ANY ($1) AND b.deleted_at IS NULL`,
    [budgetIds, keys.map((key) => key.budgetId), keys.map((key) => key.windowKey)],
  );
  return rows;
}

/** Writes holds and adds them to their counters, which the transaction has locked. */
export async function insertHolds(tx: Tx, instanceId: string, holds: readonly HoldRow[]): Promise<void> {
  const rows = holds.map((hold) => ({
    id: hold.id,
    budget_ids: hold.counters.map((counter) => counter.budgetId),
    window_keys: hold.counters.map((counter) => counter.windowKey),
    amounts: hold.counters.map((counter) => counter.amount.toString()),
    crash_row: hold.crashRow,
    deadline_ms: hold.deadlineMs,
  }));
  await tx.query(
    `WITH input AS MATERIALIZED (
       SELECT * FROM json_to_recordset($2::json) AS i (
         id text, budget_ids text[], window_keys text[], amounts bigint[], crash_row json, deadline_ms float8)
     ), counted AS (
       UPDATE budget_counters c SET held = c.held + d.held
       FROM (
         SELECT a.budget_id, a.window_key, sum(a.amount)::bigint AS held
         FROM input i, unnest(i.budget_ids, i.window_keys, i.amounts) AS a (budget_id, window_key, amount)
         GROUP BY 1, 2
       ) d
       WHERE c.budget_id = d.budget_id AND c.window_key = d.window_key
     )
     INSERT INTO holds (id, instance_id, budget_ids, window_keys, amounts, crash_row, deadline_at)
     SELECT id, $1, budget_ids, window_keys, amounts, crash_row, now() + deadline_ms * interval '1 millisecond'
     FROM input`,
    [instanceId, JSON.stringify(rows)],
  );
}

// What follows a CTE `deltas (budget_id, window_key, held, posted)`: the counters, locked in the one order, then changed.
const applyDeltas = `
  locked AS MATERIALIZED (
    SELECT c.budget_id, c.window_key
    FROM deltas d JOIN budget_counters c USING (budget_id, window_key)
    ORDER BY c.budget_id, c.window_key
    FOR UPDATE OF c
  ), counted AS (
    UPDATE budget_counters c SET held = c.held + d.held, posted = c.posted + d.posted
    FROM locked l JOIN deltas d USING (budget_id, window_key)
    WHERE c.budget_id = l.budget_id AND c.window_key = l.window_key
  )`;

const endingInput = `
  input AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS i (
      hold_id text, state text, usd bigint, tokens bigint, requests bigint, "row" json)
  )`;

const trueAmount = `CASE b.unit WHEN 'usd' THEN e.usd WHEN 'tokens' THEN e.tokens ELSE e.requests END`;

const columnList = ledgerColumns.join(', ');

/** The columns of the ledger out of record `r`, some of them replaced by expressions. */
function columnsOf(expressions: Partial<Record<LedgerColumn, string>> = {}): string {
  return ledgerColumns.map((column) => expressions[column] ?? `r.${column}`).join(', ');
}

function endingJson(endings: readonly EndingRow[]): string {
  return JSON.stringify(
    endings.map(({ holdId, state, usd, tokens, requests, row }) => ({
      hold_id: holdId,
      state,
      usd: usd.toString(),
      tokens: tokens.toString(),
      requests,
      row,
    })),
  );
}

const endHoldsSql = `
  WITH ${endingInput}, ended AS (
    UPDATE holds h SET state = i.state, ended_at = now(), crash_row = '{}'
    FROM input i WHERE h.id = i.hold_id AND h.state = 'held'
    RETURNING h.id, h.budget_ids, h.window_keys, h.amounts, i.usd, i.tokens, i.requests
  ), deltas AS (
    SELECT a.budget_id, a.window_key, -sum(a.amount)::bigint AS held, sum(${trueAmount})::bigint AS posted
    FROM ended e
    CROSS JOIN LATERAL unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
    JOIN budgets b ON b.id = a.budget_id
    GROUP BY 1, 2
  ), ${applyDeltas}, recorded AS (
    INSERT INTO attempts (${columnList})
    SELECT ${columnsOf()}
    FROM input i CROSS JOIN LATERAL json_populate_record(NULL::attempts, i."row") r
    WHERE i.hold_id IS NULL OR i.hold_id IN (SELECT id FROM ended)
    ON CONFLICT (id) WHERE corrects IS NULL DO NOTHING
  )
  SELECT id FROM ended`;

/**
 * Ends holds at their true amounts and writes the ledger rows, in one commit. Doing it twice changes nothing.
 * @returns the ids of the holds that this call ended; of the others the end is already there
 */
export async function endHolds(db: Queryable, endings: readonly EndingRow[]): Promise<Set<string>> {
  const { rows } = await db.query<{ id: string }>(endHoldsSql, [endingJson(endings)]);
  return new Set(rows.map((row) => row.id));
}

const correctHoldsSql = `
  WITH ${endingInput}, e AS (
    UPDATE holds h SET corrected_at = now()
    FROM input i WHERE h.id = i.hold_id AND h.state = 'posted' AND h.corrected_at IS NULL
    RETURNING h.id, h.budget_ids, h.window_keys, h.amounts, i.usd, i.tokens, i.requests, i."row"
  ), deltas AS (
    SELECT a.budget_id, a.window_key, 0::bigint AS held, sum(${trueAmount} - a.amount)::bigint AS posted
    FROM e
    CROSS JOIN LATERAL unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
    JOIN budgets b ON b.id = a.budget_id
    GROUP BY 1, 2
  ), ${applyDeltas}
  INSERT INTO attempts (${columnList})
  SELECT ${columnsOf({
    corrects: 'e.id',
    ...Object.fromEntries([...amountColumns].map((column) => [column, `r.${column} - w.${column}`])),
  })}
  FROM e
  CROSS JOIN LATERAL json_populate_record(NULL::attempts, e."row") r
  -- What the ledger really says: where a refusal's row was there before, posting added none.
  JOIN attempts w ON w.id = e.id AND w.corrects IS NULL`;

/**
 * The truth about holds that were posted at their worst case because nobody had ended them in time: counters and
 * ledger are set right by the difference, once.
 */
export async function correctHolds(db: Queryable, endings: readonly EndingRow[]): Promise<void> {
  await db.query(correctHoldsSql, [endingJson(endings)]);
}

/**
 * Gives back holds whose commit is in doubt and that will never be used. The row that this leaves where there was none
 * makes a commit that is still under way fail, so that nothing is held for nobody.
 */
export async function abandonHolds(db: Queryable, instanceId: string, holdIds: readonly string[]): Promise<void> {
  await db.query(
    `WITH ended AS (
       INSERT INTO holds (id, instance_id, state, budget_ids, window_keys, amounts, crash_row, deadline_at, ended_at)
       SELECT id, $2, 'released', '{}', '{}', '{}', '{}', now(), now() FROM unnest($1::text[]) AS i (id)
       ON CONFLICT (id) DO UPDATE SET state = 'released', ended_at = now() WHERE holds.state = 'held'
       RETURNING budget_ids, window_keys, amounts
     ), deltas AS (
       SELECT a.budget_id, a.window_key, -sum(a.amount)::bigint AS held, 0::bigint AS posted
       FROM ended e, unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
       GROUP BY 1, 2
     ), ${applyDeltas}
     SELECT`,
    [holdIds, instanceId],
  );
}

const postDeadHoldsSql = `
  WITH dead AS MATERIALIZED (
    SELECT h.id
    FROM holds h LEFT JOIN instances i ON i.id = h.instance_id
    WHERE h.state = 'held' AND (
      h.deadline_at <= now()
      OR i.id IS NULL
      OR i.stopped_at IS NOT NULL
      -- While the database was away nobody could be seen; its own start counts as the last sign of life.
      OR greatest(i.seen_at, pg_postmaster_start_time()) <= now() - $1 * interval '1 millisecond')
    LIMIT $2
    FOR UPDATE OF h SKIP LOCKED
  ), ended AS (
    UPDATE holds h SET state = 'posted', ended_at = now()
    FROM dead WHERE h.id = dead.id
    RETURNING h.id, h.budget_ids, h.window_keys, h.amounts, h.crash_row, h.created_at
  ), deltas AS (
    SELECT a.budget_id, a.window_key, -sum(a.amount)::bigint AS held, sum(a.amount)::bigint AS posted
    FROM ended e, unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
    GROUP BY 1, 2
  ), ${applyDeltas}, recorded AS (
    INSERT INTO attempts (${columnList})
    SELECT ${columnsOf({ total_ms: 'extract(epoch FROM now() - e.created_at) * 1000' })}
    FROM ended e CROSS JOIN LATERAL json_populate_record(NULL::attempts, e.crash_row) r
    ON CONFLICT (id) WHERE corrects IS NULL DO NOTHING
  )
  SELECT id FROM ended`;

/**
 * Posts holds at their worst case whose deadline passed or whose process is gone, `batchMax` at most; several
 * processes may do so at once.
 * @returns the ids of the holds posted
 */
export async function postDeadHolds(db: Queryable, deadMs: number, batchMax: number): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(postDeadHoldsSql, [deadMs, batchMax]);
  return rows.map((row) => row.id);
}
