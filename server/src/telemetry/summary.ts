import type { Pool } from 'pg';
import { leastId } from '../base/ids.ts';
import { attemptIdMarginMs } from '../base/limits.ts';
import { summaryDaysMax, summaryRunsMax, summaryTimesMax } from '../base/telemetry-limits.ts';
import { invalid } from '../identity/input.ts';
import { inTransaction, type Tx } from '../pg/tx.ts';
import { percentile } from './histogram.ts';
import type { Resolution } from './rollup-sql.ts';
import {
  countRuns,
  isIncomplete,
  isTime,
  readCoverage,
  sumEvents,
  type SummaryFilter,
  type SummaryGroup,
  type SummedAttempts,
  sumSeries,
  sumTimes,
} from './summary-store.ts';
import { bucketMs, type Kept, type Piece, piecesOf, type Window, wholeWindow } from './summary-window.ts';

/** How long attempts took that succeeded, in milliseconds. */
export interface Latency {
  readonly meanMs: number;
  /** Null where the sums are of one agent: histograms are not kept by agent. */
  readonly percentiles: Percentiles | null;
}

export interface Percentiles {
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

export interface SummaryTotals {
  readonly sums: SummedAttempts;
  /** Of those that succeeded, failed or timed out, 0 to 1; null where there are none. */
  readonly successRate: number | null;
  readonly latency: Latency | null;
}

export interface Summary {
  /** The window that was summed: the one that was asked for, or a wider one. */
  readonly window: Window;
  readonly countedUntil: number;
  readonly totals: SummaryTotals;
  /** By group; of time, the keys are epoch milliseconds. */
  readonly rows: readonly { readonly key: string; readonly totals: SummaryTotals }[];
  readonly truncated: boolean;
  /** Whether attempts that the filter asks for may be left out, being summed as others (decision 0022). */
  readonly incomplete: boolean;
  /** By level; null where the summary is of a part of the project. */
  readonly events: ReadonlyMap<string, bigint> | null;
  /** By state; null where the summary is of one model. */
  readonly runs: { readonly byState: ReadonlyMap<string, bigint>; readonly truncated: boolean } | null;
}

/**
 * Sums attempts over a window from rollups alone, as of one moment (decision 0022).
 * @param limit how many groups at most; of time there are all
 * @throws PortcullisError invalid_argument: a window that ends before it begins or is too long, or has too many parts, or parts
 * that are not kept
 */
export function summarize(
  pool: Pool,
  filter: SummaryFilter,
  asked: Window,
  group: SummaryGroup | null,
  limit: number,
): Promise<Summary> {
  const days = (asked.to - asked.from) / bucketMs.day;
  if (days <= 0) throw invalid('start_time', 'start_time must be before end_time.');
  if (days > summaryDaysMax) throw invalid('start_time', `A summary is of ${summaryDaysMax} days at most.`);
  return inTransaction(pool, async (tx) => {
    await tx.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY');
    const { kept, countedUntil } = await readCoverage(tx);
    const window = wholeWindow(asked, kept);
    const time = isTime(group) ? group : null;
    if (time !== null) requireParts(time, window, kept);
    const pieces = piecesOf(window, time ?? 'day');
    const groupsMax = group === null ? 0 : time === null ? limit : summaryTimesMax + 1;
    const sums = await sumSeries(tx, filter, pieces, group, groupsMax + 1);
    const shown = [...sums.keys()].filter((key) => key !== null).slice(0, groupsMax);
    const { workflow, promptVersion, model, agentId } = filter;
    const times = await timesIn(tx, filter, pieces, group, shown);
    const totalsOf = (key: string | null) => totals(sums.get(key), times.get(key));
    const isWhole = [workflow, promptVersion, model, agentId].every((part) => part === null);
    return {
      window,
      countedUntil: countedUntil.getTime(),
      totals: totalsOf(null),
      rows: shown.map((key) => ({ key, totals: totalsOf(key) })),
      truncated: group !== null && sums.size - 1 > shown.length,
      incomplete: !isWhole && (await isIncomplete(tx, filter, pieces)),
      events: isWhole ? await sumEvents(tx, filter.projectId, pieces) : null,
      runs: model === null ? await runsIn(tx, filter, window) : null,
    };
  });
}

function requireParts(time: Resolution, { from, to }: Window, kept: Kept): void {
  if ((to - from) / bucketMs[time] > summaryTimesMax) {
    throw invalid('group_by', `A summary has ${summaryTimesMax} parts at most: take longer ones, or a shorter window.`);
  }
  if (time === 'day' || from >= kept[time]) return;
  const since = new Date(kept[time]).toISOString().slice(0, 10);
  throw invalid('group_by', `Sums by ${time} are kept since ${since}: begin then, or take longer parts.`);
}

async function runsIn(tx: Tx, filter: SummaryFilter, window: Window): Promise<Summary['runs']> {
  const ids = {
    first: leastId('run', window.from - attemptIdMarginMs),
    end: leastId('run', window.to + attemptIdMarginMs),
  };
  const byState = await countRuns(tx, filter, window, ids, summaryRunsMax);
  const counted = [...byState.values()].reduce((sum, runs) => sum + runs, 0n);
  return { byState, truncated: counted === BigInt(summaryRunsMax) };
}

/** Histograms of all and of its groups, but for those of an agent, which are not kept. */
async function timesIn(
  tx: Tx,
  filter: SummaryFilter,
  pieces: readonly Piece[],
  group: SummaryGroup | null,
  groups: readonly string[],
): ReturnType<typeof sumTimes> {
  if (filter.agentId !== null) return new Map();
  return group === 'agent' ? sumTimes(tx, filter, pieces, null, []) : sumTimes(tx, filter, pieces, group, groups);
}

function totals(sums: SummedAttempts | undefined, bins: ReadonlyMap<number, bigint> | undefined): SummaryTotals {
  if (sums === undefined) throw new Error('a group lacks its sums');
  const { succeeded, failed, timed_out: timedOut } = sums;
  const ended = succeeded + failed + timedOut;
  return {
    sums,
    successRate: ended === 0n ? null : Number(succeeded) / Number(ended),
    latency:
      succeeded === 0n
        ? null
        : {
            meanMs: Number(sums.success_us) / Number(succeeded) / 1000,
            percentiles: bins ? percentilesOf(bins) : null,
          },
  };
}

function percentilesOf(bins: ReadonlyMap<number, bigint>): Percentiles {
  const at = (percent: number) => percentile(bins, percent) ?? 0;
  return { p50Ms: at(50), p90Ms: at(90), p95Ms: at(95), p99Ms: at(99) };
}
