import type { Queryable } from '../pg/tx.ts';
import type { CheckedEvent } from './event-input.ts';
import type { EventLevel, RunEvent } from './model.ts';
import { inScope, type RunScope, scopeValues } from './store.ts';

export interface EventRow {
  readonly id: string;
  readonly run_id: string;
  readonly agent_id: string;
  readonly type: string;
  readonly level: EventLevel;
  readonly message: string;
  readonly data: string | null;
  readonly occurred_at: Date;
  readonly recorded_at: Date;
}

const columns = 'id, run_id, agent_id, type, level, message, data, occurred_at, recorded_at';

function fromRow(row: EventRow): RunEvent {
  return {
    id: row.id,
    runId: row.run_id,
    agentId: row.agent_id,
    type: row.type,
    level: row.level,
    message: row.message,
    data: row.data,
    occurredAt: row.occurred_at.getTime(),
    recordedAt: row.recorded_at.getTime(),
  };
}

/** What a run takes: for how long after its end, and how many in all. */
export interface EventBounds {
  readonly afterEndMs: number;
  readonly perRunMax: number;
}

/** What became of a batch: it was written where all three hold. */
interface BatchOutcome {
  /** It runs, or ended lately enough. */
  readonly isOpen: boolean;
  /** It has fewer events than the most, as far as they are counted. */
  readonly hasRoom: boolean;
  /** How many it has is known, as of late. */
  readonly isCounted: boolean;
  /** How many are new: the others are written already, and stay as they are. */
  readonly written: number;
}

/**
 * Writes events of a run that takes them. How many a run has is known from its totals, which are a few seconds behind.
 * @param countedWithinMs how old its totals may be; null is any age
 * @returns null where there is no such run
 */
export async function insertEvents(
  db: Queryable,
  scope: RunScope,
  { afterEndMs, perRunMax }: EventBounds,
  countedWithinMs: number | null,
  events: readonly CheckedEvent[],
): Promise<BatchOutcome | null> {
  const { rows } = await db.query<BatchOutcome>(
    `WITH r AS MATERIALIZED (
       SELECT r.id, r.project_id, r.agent_id,
         r.finished_at IS NULL OR r.finished_at > now() - $4::int * interval '1 ms' AS "isOpen",
         coalesce(t.events, 0) < $5::int AS "hasRoom",
         $6::int IS NULL OR EXISTS (
           SELECT FROM rollup_watermarks
           WHERE source = 'run_events' AND read_at > now() - $6::int * interval '1 ms') AS "isCounted"
       FROM (SELECT * FROM runs WHERE ${inScope}) AS r LEFT JOIN run_totals t ON t.run_id = r.id
     ), written AS (
       INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, data, occurred_at)
       SELECT e.id, r.project_id, r.agent_id, r.id, e.type, e.level, e.message, e.data, to_timestamp(e."occurredAt" / 1000.0)
       FROM r,
         json_to_recordset($7) AS e (id text, type text, level text, message text, data text, "occurredAt" bigint)
       WHERE r."isOpen" AND r."hasRoom" AND r."isCounted"
       ON CONFLICT DO NOTHING
       RETURNING 1
     )
     SELECT "isOpen", "hasRoom", "isCounted", (SELECT count(*)::int FROM written) AS written FROM r`,
    [...scopeValues(scope), afterEndMs, perRunMax, countedWithinMs, JSON.stringify(events)],
  );
  return rows[0] ?? null;
}

/** How many events a run has, of the first `countedMax`. */
export async function countEvents(db: Queryable, runId: string, countedMax: number): Promise<number> {
  const { rows } = await db.query<{ events: number }>(
    `SELECT count(*)::int AS events FROM (SELECT FROM run_events WHERE run_id = $1 LIMIT $2) AS e`,
    [runId, countedMax],
  );
  return rows[0]?.events ?? 0;
}

export interface EventPage {
  readonly events: readonly RunEvent[];
  /** There are more behind the last of them. */
  readonly more: boolean;
}

/** Cuts a page of `$2` rows where its texts have `$3` bytes, behind its first row; one row more tells whether there are more. */
function cutPage(page: string, order: 'ASC' | 'DESC'): string {
  return `SELECT ${columns}, matched FROM (
      SELECT *, count(*) OVER () AS matched, sum(bytes) OVER (ORDER BY id ${order}) - bytes AS bytes_before
      FROM (
        SELECT *, octet_length(message) + coalesce(octet_length(data), 0) AS bytes FROM (${page}) AS p
      ) AS p
    ) AS p WHERE bytes_before < $3 ORDER BY id ${order}`;
}

async function readCut(db: Queryable, text: string, values: readonly unknown[], limit: number): Promise<EventPage> {
  const { rows } = await db.query<EventRow & { matched: bigint }>(text, [...values]);
  const events = rows.slice(0, limit).map(fromRow);
  return { events, more: events.length < Number(rows[0]?.matched ?? 0) };
}

/** Which events are meant. Ids are bounds of times; null is any. */
export interface EventFilter {
  readonly runId: string;
  readonly first: string;
  /** Before this id. */
  readonly end: string;
  readonly type: string | null;
  readonly level: EventLevel | null;
}

/** How much a page has at most. */
export interface PageBounds {
  readonly rows: number;
  readonly bytes: number;
}

/** Those that occurred last first, of the first `lookedAtMax` events alone. */
export function selectEvents(
  db: Queryable,
  { runId, first, end, type, level }: EventFilter,
  { rows, bytes }: PageBounds,
  lookedAtMax: number,
): Promise<EventPage> {
  const page = `SELECT * FROM (
      SELECT ${columns} FROM run_events WHERE run_id = $1 AND id >= $4 AND id < $5 ORDER BY id DESC LIMIT $6
    ) AS looked WHERE ($7::text IS NULL OR type = $7) AND ($8::text IS NULL OR level = $8) ORDER BY id DESC LIMIT $2 + 1`;
  const values = [runId, rows, bytes, first, end, lookedAtMax, type, level];
  return readCut(db, cutPage(page, 'DESC'), values, rows);
}

/** The last of the first `lookedAtMax` events; null where there are fewer. */
export async function lastLookedAt(
  db: Queryable,
  { runId, first, end }: EventFilter,
  lookedAtMax: number,
): Promise<string | null> {
  const { rows } = await db.query<{ id: string }>(
    'SELECT id FROM run_events WHERE run_id = $1 AND id >= $2 AND id < $3 ORDER BY id DESC OFFSET $4 LIMIT 1',
    [runId, first, end, lookedAtMax - 1],
  );
  return rows[0]?.id ?? null;
}

/** What was recorded by transactions from `from` on and before `to`. */
export interface Slice {
  readonly from: bigint;
  readonly to: bigint;
}

/** A run's events of a slice, by their ids, behind `after`. */
export function selectSlice(
  db: Queryable,
  { runId, after, from, to }: Slice & { readonly runId: string; readonly after: string },
  { rows, bytes }: PageBounds,
): Promise<EventPage> {
  const page = `SELECT ${columns} FROM run_events
    WHERE run_id = $1 AND id > $4 AND tx_id >= $5 AND tx_id < $6 ORDER BY id LIMIT $2 + 1`;
  return readCut(db, cutPage(page, 'ASC'), [runId, rows, bytes, after, from, to], rows);
}
