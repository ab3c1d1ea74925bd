import { idTime, leastId } from '../base/ids.ts';
import { attemptIdMarginMs, runClockMarginMs } from '../base/limits.ts';

/** Ids of attempts from `first` on, before `end`; null is without that bound. The ledger's partitions are such ranges. */
export interface IdRange {
  readonly first: string | null;
  readonly end: string | null;
}

/**
 * The ids that attempts can have that started from `from` on and before `to` (epoch milliseconds), within the run. It may
 * hold others: the filter itself decides, and the range spares it the days in which nothing can be.
 */
export function idRange(from: number | null, to: number | null, runId: string | null): IdRange {
  const runAt = runId === null ? null : idTime(runId);
  const earliest = Math.max(
    from === null ? -Infinity : from - attemptIdMarginMs,
    runAt === null ? -Infinity : runAt - runClockMarginMs,
  );
  return {
    first: earliest === -Infinity ? null : leastId('att', earliest),
    end: to === null ? null : leastId('att', to + attemptIdMarginMs),
  };
}

const dayMs = 86_400_000;
// A first page is nearly always full after a day; a list that has few rows is through with all days in four steps.
const stepsDays = [1, 8, 64];

/**
 * Cuts a range in pieces, newest first and growing, so that a page need not look into every day of the ledger.
 * @param newest epoch milliseconds below which the pieces are cut: the time of the page's first row, or now
 */
export function* newestFirst({ first, end }: IdRange, newest: number): Generator<IdRange> {
  const midnight = Math.floor(newest / dayMs) * dayMs;
  let before = end;
  for (const days of stepsDays) {
    const start = leastId('att', midnight - (days - 1) * dayMs);
    if (first !== null && start <= first) break;
    if (before !== null && start >= before) continue;
    yield { first: start, end: before };
    before = start;
  }
  yield { first, end: before };
}
