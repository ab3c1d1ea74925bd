import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Ending } from './verdict.ts';

/** A run that is over, as the books must show it. */
export interface Booked {
  readonly requestId: string;
  /** The ids under which the gate came to the upstream. */
  readonly attempts: readonly string[];
  readonly ending: Ending | null;
}

interface Row {
  readonly id: string;
  readonly request_id: string;
  readonly outcome: string;
  /** Of its hold, which is gone when it has ended. */
  readonly state: string | null;
}

const patienceMs = 15_000;

/**
 * Checks the books after a batch: each attempt has one row and a hold that ended, a request that reached nobody has one
 * row at most, an answer that finished is a success and no other is; no hold is open, and the budget's counter is the
 * sum of the rows. @returns what is wrong, by request id; '' for what is wrong with all of them
 */
export async function audit(pool: Pool, budgetId: string, runs: readonly Booked[]): Promise<Map<string, string>> {
  const deadlineMs = performance.now() + patienceMs;
  for (;;) {
    const wrong = await look(pool, budgetId, runs);
    if (wrong.size === 0 || performance.now() > deadlineMs) return wrong;
    await sleep(100);
  }
}

async function look(pool: Pool, budgetId: string, runs: readonly Booked[]): Promise<Map<string, string>> {
  const wrong = new Map<string, string>();
  const { rows } = await pool.query<Row>(
    `SELECT a.id, a.request_id, a.outcome, h.state FROM attempts a LEFT JOIN holds h ON h.id = a.id
     WHERE a.request_id = ANY($1)`,
    [runs.map(({ requestId }) => requestId)],
  );
  const byRequest = Map.groupBy(rows, ({ request_id }) => request_id);
  for (const run of runs) {
    const fault = judgeRows(run, byRequest.get(run.requestId) ?? []);
    if (fault !== null) wrong.set(run.requestId, fault);
  }
  const sums = await pool.query<{ open: bigint; held: bigint; posted: bigint; spent: bigint }>(
    `SELECT (SELECT count(*) FROM holds WHERE state = 'held') AS open,
       (SELECT coalesce(sum(held), 0)::bigint FROM budget_counters WHERE budget_id = $1) AS held,
       (SELECT coalesce(sum(posted), 0)::bigint FROM budget_counters WHERE budget_id = $1) AS posted,
       (SELECT coalesce(sum(cost_nanousd), 0)::bigint FROM attempts) AS spent`,
    [budgetId],
  );
  const { open = 0n, held = 0n, posted = 0n, spent = 0n } = sums.rows[0] ?? {};
  if (open !== 0n || held !== 0n) wrong.set('', `${open} holds are open, at ${held} in all`);
  if (posted !== spent) wrong.set('', `the budget says ${posted}, the rows ${spent}`);
  return wrong;
}

function judgeRows({ attempts, ending }: Booked, rows: readonly Row[]): string | null {
  for (const id of attempts) {
    const own = rows.filter((row) => row.id === id);
    if (own.length !== 1) return `${own.length} rows of attempt ${id}`;
    const state = own[0]?.state ?? null;
    if (state !== null) return `the hold of ${id} is ${state}`;
  }
  const others = rows.filter(({ id }) => !attempts.includes(id));
  if (others.some(({ outcome }) => outcome === 'success')) return 'a success that reached nobody';
  if (attempts.length === 0 && rows.length > 1) return `${rows.length} rows of a request that reached nobody`;
  const successes = rows.filter(({ outcome }) => outcome === 'success').length;
  if (ending === 'finished' && successes !== 1) return `${successes} successes of a finished answer`;
  if ((ending === 'failed' || ending === 'refused') && successes !== 0) return `a success that was ${ending}`;
  return null;
}
