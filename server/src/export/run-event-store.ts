import { idTime, leastId } from '../base/ids.ts';
import { runClockMarginMs } from '../base/limits.ts';
import type { Queryable } from '../pg/tx.ts';
import type { RunPlace } from './run-parts.ts';
import type { RunSpan } from './run-store.ts';

/** What an agent told of a run. */
export interface ExportedEvent {
  readonly id: string;
  readonly runId: string;
  readonly agentId: string;
  readonly type: string;
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  /** JSON as text. */
  readonly data: string | null;
  /** Epoch milliseconds, as `recordedAt`. */
  readonly occurredAt: number;
  readonly recordedAt: number;
}

interface Row {
  readonly id: string;
  readonly run_id: string;
  readonly agent_id: string;
  readonly type: string;
  readonly level: ExportedEvent['level'];
  readonly message: string;
  readonly data: string | null;
  readonly occurred_at: Date;
  readonly recorded_at: Date;
}

/**
 * Events of the runs, by run and id descending, behind the place.
 * @param snapshot what was committed when it was taken alone (a pg_snapshot)
 */
export async function selectEventsOfRuns(
  db: Queryable,
  runs: readonly RunSpan[],
  snapshot: string,
  behind: RunPlace | null,
  limit: number,
): Promise<ExportedEvent[]> {
  const { first, end } = eventIds(runs);
  const { rows } = await db.query<Row>(
    `SELECT id, run_id, agent_id, type, level, message, data, occurred_at, recorded_at FROM run_events
     WHERE run_id = ANY ($1) AND pg_visible_in_snapshot(tx_id::text::xid8, $2) AND ($3::text IS NULL OR id >= $3) AND ($4::text IS NULL OR id < $4)
       AND ($6::text IS NULL OR (run_id, id) < ($5, $6))
     ORDER BY run_id DESC, id DESC LIMIT $7`,
    [runs.map(({ id }) => id), snapshot, first, end, behind?.runId ?? null, behind?.key ?? null, limit],
  );
  return rows.map((row) => ({
    id: row.id,
    runId: row.run_id,
    agentId: row.agent_id,
    type: row.type,
    level: row.level,
    message: row.message,
    data: row.data,
    occurredAt: row.occurred_at.getTime(),
    recordedAt: row.recorded_at.getTime(),
  }));
}

/** Between which ids their events lie: the days of others need not be looked into. Null is without that bound. */
function eventIds(runs: readonly RunSpan[]): { readonly first: string | null; readonly end: string | null } {
  // An event occurs a day before its run at the earliest, and is told an hour after its end at the latest.
  const begins = runs.map(({ id }) => idTime(id));
  const ends = runs.map(({ finishedAt }) => finishedAt);
  const isKnown = (time: number | null) => time !== null;
  return {
    first: begins.every(isKnown) ? leastId('evt', Math.min(...begins) - 2 * runClockMarginMs) : null,
    end: ends.every(isKnown) ? leastId('evt', Math.max(...ends) + 2 * runClockMarginMs) : null,
  };
}
