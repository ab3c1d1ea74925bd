import { runClockMarginMs } from '../base/limits.ts';
import { sumUsage } from '../budget/usage-store.ts';
import type { Queryable } from '../pg/tx.ts';
import type { Run, RunTotals } from './model.ts';
import { nothingUsed } from './totals-json.ts';
import { selectCounted } from './totals-store.ts';

/**
 * What the ledger holds of a run. It drops its days after a time, but none that is not counted: where more attempts were
 * counted than it holds, it has lost some, and what was counted is told.
 */
export async function totalsOf(
  db: Queryable,
  { id, projectId, finishedAt }: Pick<Run, 'id' | 'projectId' | 'finishedAt'>,
): Promise<RunTotals> {
  // Before the ledger, which has by then whatever was counted.
  const counted = await selectCounted(db, id);
  const every = { agentId: null, keyId: null, workflow: null, provider: null, model: null, outcome: null };
  // A call begins while its run runs, by the clock of another process perhaps.
  const to = finishedAt === null ? null : finishedAt + runClockMarginMs;
  const [sum] = await sumUsage(db, { ...every, from: null, to, projectId, runId: id }, 'run', 1);
  if (counted !== null && counted.attempts > (sum?.attempts ?? 0n)) return counted;
  if (!sum) return nothingUsed;
  const { key: _run, ...totals } = sum;
  return totals;
}
