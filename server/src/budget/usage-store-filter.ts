import type { AttemptOutcome } from './model.ts';
import { type IdRange, idRange } from './partitions.ts';

export const attemptOutcomes = [
  'success',
  'failed',
  'timeout',
  'refused',
  'killed',
  'budget',
  'client_closed',
] as const satisfies readonly AttemptOutcome[];

/** Which attempts are meant; null is any. Times are epoch milliseconds of the attempt's start. */
export interface UsageFilter {
  readonly projectId: string;
  readonly agentId: string | null;
  readonly keyId: string | null;
  readonly runId: string | null;
  readonly workflow: string | null;
  readonly provider: string | null;
  /** The public name that was asked for. */
  readonly model: string | null;
  readonly outcome: AttemptOutcome | null;
  readonly from: number | null;
  readonly to: number | null;
}

/**
 * The condition on `attempts` of everything in a filter but its outcome, with `filterValues` as $1 to $11. Parameters that
 * are null leave nothing of themselves in the plan, which is made anew for each query.
 */
export const filtered = `project_id = $1
  AND ($2::text IS NULL OR agent_id = $2) AND ($3::text IS NULL OR key_id = $3) AND ($4::text IS NULL OR run_id = $4)
  AND ($5::text IS NULL OR workflow = $5) AND ($6::text IS NULL OR provider = $6)
  AND ($7::text IS NULL OR model_asked = $7)
  AND ($8::timestamptz IS NULL OR started_at >= $8) AND ($9::timestamptz IS NULL OR started_at < $9)
  AND ($10::text IS NULL OR id >= $10) AND ($11::text IS NULL OR id < $11)`;

/** The last correction of each attempt that `filtered` finds: it says what is known of the attempt now. */
export const lastCorrections = `(
    SELECT DISTINCT ON (id) id, provenance, outcome FROM attempts
    WHERE corrects IS NOT NULL AND ${filtered} ORDER BY id, row_no DESC
  )`;

/** @param range where in the ledger to look, `rangeOf(filter)` or a part of it */
export function filterValues(filter: UsageFilter, range: IdRange): unknown[] {
  const date = (ms: number | null) => (ms === null ? null : new Date(ms));
  const { projectId, agentId, keyId, runId, workflow, provider, model, from, to } = filter;
  return [projectId, agentId, keyId, runId, workflow, provider, model, date(from), date(to), range.first, range.end];
}

export function rangeOf({ from, to, runId }: UsageFilter): IdRange {
  return idRange(from, to, runId);
}
