import { type Element, type ElementType, arrayParameter } from '../pg/array-parameter.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import type { LedgerRow } from './ledger-row.ts';
import { columnList, columnsOf, trueAmount } from './ledger-sql.ts';
import type { Budget } from './model.ts';

/** Names one counter: a budget's in one window. */
export interface CounterKey {
  readonly budgetId: string;
  readonly windowKey: string;
}

/** A name for maps. */
export function counterName({ budgetId, windowKey }: CounterKey): string {
  return `${budgetId} ${windowKey}`;
}

/** A budget as it stands in the database, with its counter where one was locked for it. */
export interface LockedBudget extends Pick<Budget, 'id' | 'name' | 'unit' | 'window' | 'limit' | 'mode'> {
  readonly windowKey: string | null;
  readonly held: bigint | null;
  readonly leased: bigint | null;
  readonly posted: bigint | null;
}

/** A hold to be written. */
export interface HoldRow {
  readonly id: string;
  /** What it asks of budgets that measure each call by itself, and need no counter. */
  readonly alone: readonly { readonly budgetId: string; readonly amount: bigint }[];
  readonly counters: readonly (CounterKey & { readonly amount: bigint })[];
  readonly crashRow: LedgerRow;
  readonly deadlineMs: number;
}

/** The end of a hold with its ledger row, or (`holdId` null) the ledger row of a call that never had a hold. */
export interface EndingRow {
  readonly holdId: string | null;
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
 * Budgets that were deleted are absent (said so that no index of live budgets is read for it). A budget in `budgetIds` without a key comes without a counter.
 */
export async function lockBudgets(
  tx: Tx,
  budgetIds: readonly string[],
  keys: readonly CounterKey[],
): Promise<LockedBudget[]> {
  const { rows } = await tx.query<LockedBudget>(
    `WITH locked AS MATERIALIZED (
       SELECT c.budget_id, c.window_key, c.held, c.leased, c.posted
       FROM unnest($2::text[], $3::text[]) AS k (budget_id, window_key)
       JOIN budget_counters c USING (budget_id, window_key)
       ORDER BY c.budget_id, c.window_key
       FOR UPDATE OF c
     )
     SELECT b.id, b.name, b.unit, b."window", b.limit_amount AS "limit", b.mode,
            l.window_key AS "windowKey", l.held, l.leased, l.posted
     FROM budgets b LEFT JOIN locked l ON l.budget_id = b.id
     WHERE b.id = ANY ($1) AND CASE WHEN b.deleted_at IS NULL THEN true END`,
    [budgetIds, keys.map((key) => key.budgetId), keys.map((key) => key.windowKey)],
  );
  return rows;
}

/** What one commit of a lane does. */
export interface Batch {
  readonly endings: readonly EndingRow[];
  readonly holds: readonly HoldRow[];
  /** The holds were decided in this transaction, which has locked their counters: they are not looked at again. */
  readonly decided: boolean;
}

export interface Committed {
  /** The ids of the holds that ended here; of the others the end is already there. */
  readonly ended: ReadonlySet<string>;
  /** Whether the holds were written: all of them, or none, and then somebody must decide call by call. */
  readonly held: boolean;
}

const commitBatchSql = `
  WITH ended AS (
    DELETE FROM holds h USING unnest($3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
      AS i (hold_id, usd, tokens, requests)
    WHERE h.id = i.hold_id AND h.state = 'held'
    RETURNING h.id, h.budget_ids, h.window_keys, h.amounts, i.usd, i.tokens, i.requests
  ), freed AS MATERIALIZED (
    SELECT a.budget_id, a.window_key, sum(a.amount)::bigint AS held, sum(${trueAmount})::bigint AS posted
    FROM ended e
    CROSS JOIN LATERAL unnest(e.budget_ids, e.window_keys, e.amounts) AS a (budget_id, window_key, amount)
    JOIN budgets b ON b.id = a.budget_id
    GROUP BY 1, 2
  ), asked AS MATERIALIZED (
    SELECT * FROM unnest($9::text[], $10::text[], $11::bigint[]) AS a (budget_id, window_key, amount)
  ), changes AS MATERIALIZED (
    SELECT budget_id, window_key, coalesce(f.held, 0) AS freed, coalesce(f.posted, 0) AS posted, a.amount
    FROM freed f FULL JOIN asked a USING (budget_id, window_key)
  ), locked AS MATERIALIZED (
    SELECT c.budget_id, c.window_key, d.freed, d.posted, d.amount, c.posted + c.held - d.freed + d.posted + d.amount AS total
    FROM changes d JOIN budget_counters c USING (budget_id, window_key)
    ORDER BY c.budget_id, c.window_key
    FOR UPDATE OF c
  ), admitted AS MATERIALIZED (
    -- Filters, not conditions: a condition on deleted_at would invite the planner to read an index of all live budgets.
    SELECT $2::boolean OR (
      cardinality($9::text[]) = (
        SELECT count(*) FILTER (WHERE b.deleted_at IS NULL
          AND (b.limit_amount IS NULL OR (b.limit_amount > 0 AND l.total <= b.limit_amount)))
        FROM locked l JOIN budgets b ON b.id = l.budget_id
        WHERE l.amount IS NOT NULL)
      AND cardinality($12::text[]) = (
        SELECT count(*) FILTER (WHERE b.deleted_at IS NULL
          AND (b.limit_amount IS NULL OR (b.limit_amount > 0 AND a.amount <= b.limit_amount)))
        FROM unnest($12::text[], $13::bigint[]) AS a (budget_id, amount) JOIN budgets b ON b.id = a.budget_id)) AS yes
  ), counted AS (
    UPDATE budget_counters c
    SET held = c.held - l.freed + CASE WHEN admitted.yes THEN coalesce(l.amount, 0) ELSE 0 END, posted = c.posted + l.posted
    FROM locked l, admitted
    WHERE c.budget_id = l.budget_id AND c.window_key = l.window_key
  ), recorded AS (
    INSERT INTO attempts (${columnList})
    SELECT ${columnsOf()}
    FROM json_populate_recordset(NULL::attempts, $7::json) r
    WHERE r.id IN (SELECT id FROM ended) OR r.id = ANY ($8::text[])
    ON CONFLICT (id) WHERE corrects IS NULL DO NOTHING
  ), held AS (
    INSERT INTO holds (id, instance_id, budget_ids, window_keys, amounts, crash_row, deadline_at)
    SELECT i.id, $1, i.budget_ids::text[], i.window_keys::text[], i.amounts::bigint[], i.crash_row,
           now() + i.deadline_ms * interval '1 millisecond'
    FROM admitted, unnest($14::text[], $15::text[], $16::text[], $17::text[], $18::json[], $19::float8[])
      AS i (id, budget_ids, window_keys, amounts, crash_row, deadline_ms)
    WHERE admitted.yes
  )
  SELECT yes AS held, ARRAY(SELECT id FROM ended) AS ended FROM admitted`;

/**
 * One commit of a lane (decision 0014). Endings delete their holds, move their counters to the true amounts and write
 * their ledger rows; doing it twice changes nothing. Holds are written, all or none, if they were `decided`, or when all of
 * them together fit in every limit as it stands under lock, with the room that the endings made.
 */
export async function commitBatch(
  db: Queryable,
  instanceId: string,
  { endings, holds, decided }: Batch,
): Promise<Committed> {
  const ends = endings.filter(({ holdId }) => holdId !== null);
  const sums = sumsOf(holds);
  const most = mostOf(holds);
  const { rows } = await db.query<{ held: boolean; ended: string[] }>({
    name: 'commit batch',
    text: commitBatchSql,
    values: [
      instanceId,
      decided,
      column('text', ends, ({ holdId }) => holdId),
      column('bigint', ends, ({ usd }) => usd),
      column('bigint', ends, ({ tokens }) => tokens),
      column('bigint', ends, ({ requests }) => requests),
      JSON.stringify(endings.map(({ row }) => row)),
      column(
        'text',
        endings.filter(({ holdId }) => holdId === null),
        ({ row }) => row.id,
      ),
      column('text', sums, ({ budgetId }) => budgetId),
      column('text', sums, ({ windowKey }) => windowKey),
      column('bigint', sums, ({ amount }) => amount),
      column('text', most, ([budgetId]) => budgetId),
      column('bigint', most, ([, amount]) => amount),
      column('text', holds, ({ id }) => id),
      column('text', holds, ({ counters }) => arrayText(counters.map(({ budgetId }) => budgetId))),
      column('text', holds, ({ counters }) => arrayText(counters.map(({ windowKey }) => windowKey))),
      column('text', holds, ({ counters }) => arrayText(counters.map(({ amount }) => amount.toString()))),
      column('json', holds, ({ crashRow }) => JSON.stringify(crashRow)),
      column('double precision', holds, ({ deadlineMs }) => deadlineMs),
    ],
  });
  const [row] = rows;
  if (!row) throw new Error('a batch of the ledger gave no row');
  return { ended: new Set(row.ended), held: row.held };
}

function column<T>(type: ElementType, rows: readonly T[], value: (row: T) => Element): Buffer {
  return arrayParameter(type, rows.map(value));
}

/** What holds add to each counter. */
function sumsOf(holds: readonly HoldRow[]): HoldRow['counters'] {
  const sums = new Map<string, HoldRow['counters'][number]>();
  for (const { counters } of holds) {
    for (const counter of counters) {
      const name = counterName(counter);
      sums.set(name, { ...counter, amount: counter.amount + (sums.get(name)?.amount ?? 0n) });
    }
  }
  return [...sums.values()];
}

/** The most that any hold asks of each budget that measures each call by itself. */
function mostOf(holds: readonly HoldRow[]): [string, bigint][] {
  const most = new Map<string, bigint>();
  for (const { alone } of holds)
    for (const { budgetId, amount } of alone) if (amount >= (most.get(budgetId) ?? 0n)) most.set(budgetId, amount);
  return [...most];
}

/** An array in PostgreSQL's text form, each element quoted. */
function arrayText(elements: readonly string[]): string {
  return `{${elements.map((element) => `"${element.replaceAll(/["\\]/g, '\\$&')}"`).join(',')}}`;
}
