import { type Page, type PageRequest, readPage } from '../identity/page.ts';
import type { Queryable } from '../pg/tx.ts';
import type { BudgetUnit } from './model.ts';

/** What is reserved on one budget, in its unit. */
export interface HeldAmount {
  readonly budgetId: string;
  readonly budgetName: string;
  readonly unit: BudgetUnit;
  /** Names the window, as the budget's counter does. */
  readonly windowKey: string;
  readonly amount: bigint;
}

/** A call in flight, with what is reserved for it. */
export interface OpenHold {
  /** The attempt's. */
  readonly id: string;
  readonly requestId: string;
  readonly projectId: string;
  readonly agentId: string | null;
  readonly keyId: string | null;
  readonly runId: string | null;
  readonly workflow: string | null;
  readonly provider: string | null;
  readonly modelAsked: string | null;
  readonly modelServed: string | null;
  /** What it can cost at most. */
  readonly worstUsd: bigint;
  /** By the names of the budgets; empty where no budget counts the call. */
  readonly amounts: readonly HeldAmount[];
  readonly createdAt: number;
  /** When it is posted at its worst case, unless it ended before. */
  readonly deadlineAt: number;
}

type Row = Omit<OpenHold, 'amounts' | 'createdAt' | 'deadlineAt'> & {
  readonly amounts: readonly (Omit<HeldAmount, 'amount'> & { readonly amount: string })[];
  readonly createdAt: Date;
  readonly deadlineAt: Date;
};

/** What is reserved right now in a project, newest first. @throws PortcullisError invalid_argument */
export function listHolds(db: Queryable, projectId: string, page: PageRequest): Promise<Page<OpenHold>> {
  return readPage(page, async (beforeId, limit) => {
    // Who called is in the row that a crash would leave.
    const { rows } = await db.query<Row>(
      `SELECT h.id, h.crash_row ->> 'request_id' AS "requestId", h.crash_row ->> 'project_id' AS "projectId",
              h.crash_row ->> 'agent_id' AS "agentId", h.crash_row ->> 'key_id' AS "keyId",
              h.crash_row ->> 'run_id' AS "runId", h.crash_row ->> 'workflow' AS workflow,
              h.crash_row ->> 'provider' AS provider, h.crash_row ->> 'model_asked' AS "modelAsked",
              h.crash_row ->> 'model_served' AS "modelServed", (h.crash_row ->> 'cost_nanousd')::bigint AS "worstUsd",
              h.created_at AS "createdAt", h.deadline_at AS "deadlineAt",
              (SELECT coalesce(json_agg(json_build_object('budgetId', b.id, 'budgetName', b.name, 'unit', b.unit,
                        'windowKey', a.window_key, 'amount', a.amount::text) ORDER BY b.name), '[]')
               FROM unnest(h.budget_ids, h.window_keys, h.amounts) AS a (budget_id, window_key, amount)
               JOIN budgets b ON b.id = a.budget_id) AS amounts
       FROM holds h
       WHERE h.state = 'held' AND h.crash_row ->> 'project_id' = $1 AND ($2::text IS NULL OR h.id < $2)
       ORDER BY h.id DESC LIMIT $3`,
      [projectId, beforeId, limit],
    );
    return rows.map((row) => ({
      ...row,
      amounts: row.amounts.map((held) => ({ ...held, amount: BigInt(held.amount) })),
      createdAt: row.createdAt.getTime(),
      deadlineAt: row.deadlineAt.getTime(),
    }));
  });
}
