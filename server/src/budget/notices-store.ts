import type { Queryable, Tx } from '../pg/tx.ts';
import type { BudgetMode, BudgetUnit, BudgetWindow } from './model.ts';
import type { CounterKey } from './store.ts';

/** A percent of a limit that was reached, and that nobody was told of yet. */
export interface DueNotice {
  readonly budgetId: string;
  readonly projectId: string;
  readonly name: string;
  readonly unit: BudgetUnit;
  readonly window: BudgetWindow;
  readonly windowKey: string;
  readonly percent: number;
  readonly posted: bigint;
  readonly limit: bigint;
  readonly mode: BudgetMode;
}

/** A notice as it is stored. */
export interface NoticeRecord extends Omit<DueNotice, 'projectId' | 'name'> {
  readonly id: string;
  /** The budget's name as it is now. */
  readonly budgetName: string;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** Windows of one length in one time zone. */
export interface WindowKind {
  readonly window: Exclude<BudgetWindow, 'attempt' | 'run'>;
  readonly timeZone: string;
}

// Numeric, since a hundred times an amount may not fit in a bigint.
const dueColumns = `b.id AS "budgetId", b.project_id AS "projectId", b.name, b.unit, b."window",
  c.window_key AS "windowKey", p.percent, c.posted, b.limit_amount AS "limit", b.mode`;
const isDue = `b.deleted_at IS NULL AND b.limit_amount > 0
  AND c.posted::numeric * 100 >= b.limit_amount::numeric * p.percent
  AND NOT EXISTS (
    SELECT FROM budget_notices n
    WHERE n.budget_id = b.id AND n.window_key = c.window_key AND n.percent = p.percent)`;

// One look in the index for each counter, whatever the planner thinks of how many windows a budget had (`OFFSET 0`); most
// end there, below the smallest percent.
const counterAt = (windowKey: string) => `CROSS JOIN LATERAL (
  SELECT * FROM budget_counters
  WHERE budget_id = b.id AND window_key = ${windowKey}
    AND posted::numeric * 100 >= b.limit_amount::numeric * b.notify_percents[1]
  OFFSET 0) AS c`;

/** What is due on these counters. */
export async function dueOnCounters(db: Queryable, keys: readonly CounterKey[], limit: number): Promise<DueNotice[]> {
  const { rows } = await db.query<DueNotice>(
    `SELECT ${dueColumns}
     FROM unnest($1::text[], $2::text[]) AS k (budget_id, window_key)
     JOIN budgets b ON b.id = k.budget_id
     ${counterAt('k.window_key')}
     CROSS JOIN unnest(b.notify_percents) AS p (percent)
     WHERE ${isDue} LIMIT $3`,
    [keys.map((key) => key.budgetId), keys.map((key) => key.windowKey), limit],
  );
  return rows;
}

/** The kinds of windows, of many runs apart, that budgets with notices have. */
export async function selectWindowKinds(db: Queryable): Promise<WindowKind[]> {
  const { rows } = await db.query<WindowKind>(
    `SELECT DISTINCT "window", time_zone AS "timeZone" FROM budgets
     WHERE deleted_at IS NULL AND limit_amount > 0 AND "window" IN ('hour', 'day', 'month', 'lifetime')`,
  );
  return rows;
}

/** What is due on any counter in these windows. */
export async function dueInWindows(
  db: Queryable,
  windows: readonly (WindowKind & { readonly key: string })[],
  limit: number,
): Promise<DueNotice[]> {
  const { rows } = await db.query<DueNotice>(
    `SELECT ${dueColumns}
     FROM unnest($1::text[], $2::text[], $3::text[]) AS w ("window", time_zone, window_key)
     JOIN budgets b ON b."window" = w."window" AND b.time_zone = w.time_zone
     ${counterAt('w.window_key')}
     CROSS JOIN unnest(b.notify_percents) AS p (percent)
     WHERE ${isDue} LIMIT $4`,
    [
      windows.map(({ window }) => window),
      windows.map(({ timeZone }) => timeZone),
      windows.map(({ key }) => key),
      limit,
    ],
  );
  return rows;
}

/**
 * What is due in runs that run, or ended less than `endedMs` ago. It starts from the counters that a run has: most pairs of
 * a run and a budget per run have none.
 */
export async function dueInRuns(db: Queryable, endedMs: number, limit: number): Promise<DueNotice[]> {
  const { rows } = await db.query<DueNotice>(
    `SELECT ${dueColumns}
     FROM runs r
     CROSS JOIN LATERAL (
       SELECT * FROM budget_counters WHERE window_key = r.id AND window_key LIKE 'run\\_%' OFFSET 0) AS c
     CROSS JOIN LATERAL (
       SELECT * FROM budgets
       WHERE id = c.budget_id AND "window" = 'run'
         AND c.posted::numeric * 100 >= limit_amount::numeric * notify_percents[1]
       OFFSET 0) AS b
     CROSS JOIN unnest(b.notify_percents) AS p (percent)
     WHERE coalesce(r.finished_at, 'infinity') > now() - $1 * interval '1 millisecond' AND ${isDue} LIMIT $2`,
    [endedMs, limit],
  );
  return rows;
}

/** @returns the notices that were not there yet: those that this transaction must tell of */
export async function insertNotices(
  tx: Tx,
  notices: readonly (DueNotice & { readonly id: string })[],
): Promise<ReadonlySet<string>> {
  // In one order, so that two processes that insert the same ones wait and do not deadlock.
  const { rows } = await tx.query<{ id: string }>(
    `INSERT INTO budget_notices (id, budget_id, project_id, window_key, percent, posted, limit_amount, mode)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::bigint[], $7::bigint[],
       $8::text[]) AS n (id, budget_id, project_id, window_key, percent, posted, limit_amount, mode)
     ORDER BY budget_id, window_key, percent
     ON CONFLICT (budget_id, window_key, percent) DO NOTHING RETURNING id`,
    [
      notices.map(({ id }) => id),
      notices.map(({ budgetId }) => budgetId),
      notices.map(({ projectId }) => projectId),
      notices.map(({ windowKey }) => windowKey),
      notices.map(({ percent }) => percent),
      notices.map(({ posted }) => posted),
      notices.map(({ limit }) => limit),
      notices.map(({ mode }) => mode),
    ],
  );
  return new Set(rows.map(({ id }) => id));
}

/** Notices of a project or of one of its budgets, newest first, from below `beforeId` (null: from the newest). */
export async function selectNotices(
  db: Queryable,
  projectId: string,
  budgetId: string | null,
  beforeId: string | null,
  limit: number,
): Promise<NoticeRecord[]> {
  const { rows } = await db.query<Omit<NoticeRecord, 'at'> & { readonly at: Date }>(
    `SELECT n.id, n.budget_id AS "budgetId", b.name AS "budgetName", b.unit, b."window", n.window_key AS "windowKey",
            n.percent, n.posted, n.limit_amount AS "limit", n.mode, n.at
     FROM budget_notices n JOIN budgets b ON b.id = n.budget_id
     WHERE n.project_id = $1 AND ($2::text IS NULL OR n.budget_id = $2) AND ($3::text IS NULL OR n.id < $3)
     ORDER BY n.id DESC LIMIT $4`,
    [projectId, budgetId, beforeId, limit],
  );
  return rows.map((row) => ({ ...row, at: row.at.getTime() }));
}
