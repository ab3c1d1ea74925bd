import type { Queryable } from '../pg/tx.ts';
import { amountColumns } from './ledger-row.ts';
import { applyDeltas, columnList, columnsOf, read, trueAmount } from './ledger-sql.ts';
import type { EndingRow } from './store.ts';

// What a posted hold leaves on a counter of budget `b`: its worst case, but nothing of a call that is no more in flight.
const worstAmount = `CASE b.unit WHEN 'concurrent_requests' THEN 0 ELSE a.amount END`;

const correctHoldsSql = `
  WITH input AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS i (
      hold_id text, usd bigint, tokens bigint, requests bigint, "row" json)
  ), e AS (
    DELETE FROM holds h USING input i WHERE h.id = i.hold_id AND h.state = 'posted'
    RETURNING h.id, h.budget_ids, h.window_keys, h.amounts, i.usd, i.tokens, i.requests, i."row"
  ), deltas AS (
    SELECT a.budget_id, a.window_key, 0::bigint AS held, sum(${trueAmount} - ${worstAmount})::bigint AS posted
    FROM e
    CROSS JOIN LATERAL unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
    JOIN budgets b ON b.id = a.budget_id
    GROUP BY 1, 2
  ), ${applyDeltas}
  INSERT INTO attempts (${columnList})
  SELECT ${columnsOf({
    corrects: 'e.id',
    held_nanousd: '0',
    ...Object.fromEntries([...amountColumns].map((column) => [column, `${read(column)} - w.${column}`])),
  })}
  FROM e
  CROSS JOIN LATERAL json_populate_record(NULL::attempts, e."row") r
  -- What the ledger says by now.
  JOIN LATERAL (
    SELECT ${[...amountColumns].map((column) => `sum(a.${column})::bigint AS ${column}`).join(', ')}
    FROM attempts a WHERE a.id = e.id
    HAVING count(*) > 0
  ) w ON true`;

/**
 * The truth about holds that were posted at their worst case because nobody had ended them in time: counters and
 * ledger are set right by the difference, once, and the hold is gone.
 */
export async function correctHolds(db: Queryable, endings: readonly EndingRow[]): Promise<void> {
  await db.query(correctHoldsSql, [endingJson(endings)]);
}

function endingJson(endings: readonly EndingRow[]): string {
  return JSON.stringify(
    endings.map(({ holdId, usd, tokens, requests, row }) => ({
      hold_id: holdId,
      usd: usd.toString(),
      tokens: tokens.toString(),
      requests,
      row,
    })),
  );
}

/**
 * Gives back holds whose commit is in doubt and that will never be used. The row that this leaves where there was none
 * makes a commit that is still under way fail, so that nothing is held for nobody.
 */
export async function abandonHolds(db: Queryable, instanceId: string, holdIds: readonly string[]): Promise<void> {
  await db.query(
    `WITH ended AS (
       INSERT INTO holds (id, instance_id, state, budget_ids, window_keys, amounts, crash_row, deadline_at, ended_at)
       SELECT id, $2, 'abandoned', '{}', '{}', '{}', '{}', now(), now() FROM unnest($1::text[]) AS i (id)
       ON CONFLICT (id) DO UPDATE SET state = 'abandoned', ended_at = now() WHERE holds.state = 'held'
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
    WHERE h.ended_at IS NULL AND (
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
    SELECT a.budget_id, a.window_key, -sum(a.amount)::bigint AS held, sum(${worstAmount})::bigint AS posted
    FROM ended e CROSS JOIN LATERAL unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
    JOIN budgets b ON b.id = a.budget_id
    GROUP BY 1, 2
  ), ${applyDeltas}, recorded AS (
    INSERT INTO attempts (${columnList})
    SELECT ${columnsOf({
      total_ms: 'extract(epoch FROM now() - e.created_at) * 1000',
      // The call was refused to its caller, whose row is there, though its hold stood.
      corrects: 'CASE WHEN EXISTS (SELECT FROM attempts w WHERE w.id = e.id AND w.corrects IS NULL) THEN e.id END',
    })}
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
