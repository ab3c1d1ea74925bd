import { type Element, type ElementType, arrayParameter } from '../pg/array-parameter.ts';
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

const insertHoldsSql = `
  WITH asked AS MATERIALIZED (
    SELECT c.budget_id, c.window_key, a.amount, c.posted + c.held + a.amount AS total
    FROM unnest($3::text[], $4::text[], $5::bigint[]) AS a (budget_id, window_key, amount)
    JOIN budget_counters c USING (budget_id, window_key)
    ORDER BY c.budget_id, c.window_key
    FOR UPDATE OF c
  ), admitted AS MATERIALIZED (
    SELECT $2 OR cardinality($3) = count(*) FILTER (
      WHERE b.deleted_at IS NULL AND (b.limit_amount IS NULL OR (b.limit_amount > 0 AND a.total <= b.limit_amount))) AS yes
    FROM asked a JOIN budgets b ON b.id = a.budget_id
  ), counted AS (
    UPDATE budget_counters c SET held = c.held + a.amount
    FROM asked a, admitted
    WHERE c.budget_id = a.budget_id AND c.window_key = a.window_key AND admitted.yes
  )
  INSERT INTO holds (id, instance_id, budget_ids, window_keys, amounts, crash_row, deadline_at)
  SELECT i.id, $1, i.budget_ids::text[], i.window_keys::text[], i.amounts::bigint[], i.crash_row,
         now() + i.deadline_ms * interval '1 millisecond'
  FROM admitted, unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::json[], $11::float8[])
    AS i (id, budget_ids, window_keys, amounts, crash_row, deadline_ms)
  WHERE admitted.yes`;

/**
 * Writes holds and adds them to their counters, all or none. They are written when they were `decided` (then the
 * transaction has locked their counters), or when all of them together fit in every limit as it stands under lock.
 * @returns whether they were written; where they were not, somebody must decide call by call
 */
export async function insertHolds(
  db: Queryable,
  instanceId: string,
  holds: readonly HoldRow[],
  { decided }: { readonly decided: boolean },
): Promise<boolean> {
  const sums = sumsOf(holds);
  const { rowCount } = await db.query({
    name: 'insert holds',
    text: insertHoldsSql,
    values: [
      instanceId,
      decided,
      column('text', sums, ({ budgetId }) => budgetId),
      column('text', sums, ({ windowKey }) => windowKey),
      column('bigint', sums, ({ amount }) => amount),
      column('text', holds, ({ id }) => id),
      column('text', holds, ({ counters }) => arrayText(counters.map(({ budgetId }) => budgetId))),
      column('text', holds, ({ counters }) => arrayText(counters.map(({ windowKey }) => windowKey))),
      column('text', holds, ({ counters }) => arrayText(counters.map(({ amount }) => amount.toString()))),
      column('json', holds, ({ crashRow }) => JSON.stringify(crashRow)),
      column('double precision', holds, ({ deadlineMs }) => deadlineMs),
    ],
  });
  return rowCount === holds.length;
}

function column<T>(type: ElementType, rows: readonly T[], value: (row: T) => Element): Buffer {
  return arrayParameter(type, rows.map(value));
}

/** What holds add to each counter. */
function sumsOf(holds: readonly HoldRow[]): HoldRow['counters'] {
  const sums = new Map<string, HoldRow['counters'][number]>();
  for (const { counters } of holds) {
    for (const counter of counters) {
      const name = `${counter.budgetId} ${counter.windowKey}`;
      sums.set(name, { ...counter, amount: counter.amount + (sums.get(name)?.amount ?? 0n) });
    }
  }
  return [...sums.values()];
}

/** An array in PostgreSQL's text form, each element quoted. */
function arrayText(elements: readonly string[]): string {
  return `{${elements.map((element) => `"${element.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
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
  return ledgerColumns.map((column) => expressions[column] ?? read(column)).join(', ');
}

/** A hold of the release before 000003 left a row without its notional cost. */
function read(column: LedgerColumn): string {
  return column === 'notional_nanousd' ? `coalesce(r.${column}, 0)` : `r.${column}`;
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
  WITH ended AS (
    UPDATE holds h SET state = i.state, ended_at = now(), crash_row = '{}'
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
      AS i (hold_id, state, usd, tokens, requests)
    WHERE h.id = i.hold_id AND h.state = 'held'
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
    FROM json_populate_recordset(NULL::attempts, $6::json) r
    WHERE r.id IN (SELECT id FROM ended) OR r.id IN (SELECT unnest($7::text[]))
    ON CONFLICT (id) WHERE corrects IS NULL DO NOTHING
  )
  SELECT id FROM ended`;

/**
 * Ends holds at their true amounts and writes the ledger rows, in one commit. Doing it twice changes nothing.
 * @returns the ids of the holds that this call ended; of the others the end is already there
 */
export async function endHolds(db: Queryable, endings: readonly EndingRow[]): Promise<Set<string>> {
  const holds = endings.filter(({ holdId }) => holdId !== null);
  const holdless = endings.filter(({ holdId }) => holdId === null);
  const { rows } = await db.query<{ id: string }>({
    name: 'end holds',
    text: endHoldsSql,
    values: [
      column('text', holds, ({ holdId }) => holdId),
      column('text', holds, ({ state }) => state),
      column('bigint', holds, ({ usd }) => usd),
      column('bigint', holds, ({ tokens }) => tokens),
      column('bigint', holds, ({ requests }) => requests),
      JSON.stringify(endings.map(({ row }) => row)),
      column('text', holdless, ({ row }) => row.id),
    ],
  });
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
    ...Object.fromEntries([...amountColumns].map((column) => [column, `${read(column)} - w.${column}`])),
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
