import { type Element, type ElementType, arrayParameter } from '../pg/array-parameter.ts';
import type { Queryable, Tx } from '../pg/tx.ts';
import type { LedgerRow } from './ledger-row.ts';
import { commits } from './commit-sql.ts';
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

/**
 * One commit of a lane (decision 0014). Endings delete their holds, move their counters to the true amounts and write
 * their ledger rows; doing it twice changes nothing. Holds are written, all or none, if they were `decided`, or when all of
 * them together fit in every limit as it stands under lock, with the room that the endings made.
 */
export async function commitBatch(db: Queryable, instanceId: string, batch: Batch): Promise<Committed> {
  const kind = batch.endings.length === 0 ? 'holds' : batch.holds.length === 0 ? 'endings' : 'both';
  const { name, text, parameters } = commits[kind];
  const given: Readonly<Record<string, unknown>> = {
    instance: instanceId,
    decided: batch.decided,
    ...(kind === 'holds' ? {} : endingValues(batch.endings)),
    ...(kind === 'endings' ? {} : holdValues(batch.holds)),
  };
  const { rows } = await db.query<{ held: boolean; ended: string[] }>({
    name,
    text,
    values: parameters.map((parameter) => given[parameter]),
  });
  const [row] = rows;
  if (!row) throw new Error('a batch of the ledger gave no row');
  return { ended: new Set(row.ended), held: row.held };
}

function endingValues(endings: readonly EndingRow[]): Record<string, unknown> {
  const ends = endings.filter(({ holdId }) => holdId !== null);
  const holdless = endings.filter(({ holdId }) => holdId === null);
  return {
    ended: column('text', ends, ({ holdId }) => holdId),
    usd: column('bigint', ends, ({ usd }) => usd),
    tokens: column('bigint', ends, ({ tokens }) => tokens),
    requests: column('bigint', ends, ({ requests }) => requests),
    rows: JSON.stringify(endings.map(({ row }) => row)),
    holdless: column('text', holdless, ({ row }) => row.id),
  };
}

function holdValues(holds: readonly HoldRow[]): Record<string, unknown> {
  const sums = sumsOf(holds);
  const most = mostOf(holds);
  return {
    askedBudgets: column('text', sums, ({ budgetId }) => budgetId),
    askedWindows: column('text', sums, ({ windowKey }) => windowKey),
    askedAmounts: column('bigint', sums, ({ amount }) => amount),
    aloneBudgets: column('text', most, ([budgetId]) => budgetId),
    aloneAmounts: column('bigint', most, ([, amount]) => amount),
    ids: column('text', holds, ({ id }) => id),
    budgets: column('text', holds, ({ counters }) => arrayText(counters.map(({ budgetId }) => budgetId))),
    windows: column('text', holds, ({ counters }) => arrayText(counters.map(({ windowKey }) => windowKey))),
    amounts: column('text', holds, ({ counters }) => arrayText(counters.map(({ amount }) => amount.toString()))),
    crashRows: column('json', holds, ({ crashRow }) => JSON.stringify(crashRow)),
    deadlines: column('double precision', holds, ({ deadlineMs }) => deadlineMs),
  };
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
