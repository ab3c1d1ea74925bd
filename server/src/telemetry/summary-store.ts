import type { Queryable } from '../pg/tx.ts';
import { bounded, type Resolution, sumNames, tableSuffix } from './rollup-sql.ts';
import type { Kept, Piece, Window } from './summary-window.ts';

/** Which attempts are meant; null is any. */
export interface SummaryFilter {
  readonly projectId: string;
  readonly workflow: string | null;
  readonly promptVersion: string | null;
  /** The provider's name of it. */
  readonly model: string | null;
  readonly agentId: string | null;
}

export const seriesGroups = ['workflow', 'prompt_version', 'model', 'agent'] as const;
export const timeGroups = ['minute', 'hour', 'day'] as const satisfies readonly Resolution[];
export type SummaryGroup = (typeof seriesGroups)[number] | (typeof timeGroups)[number];

/** Sums by the names of their columns. */
export interface SummedAttempts {
  readonly attempts: bigint;
  readonly succeeded: bigint;
  readonly failed: bigint;
  readonly timed_out: bigint;
  readonly refused: bigint;
  readonly killed: bigint;
  readonly over_budget: bigint;
  readonly client_closed: bigint;
  readonly retries: bigint;
  readonly tokens_input: bigint;
  readonly tokens_output: bigint;
  readonly tokens_cache_read: bigint;
  readonly tokens_cache_write: bigint;
  readonly tokens_reasoning: bigint;
  readonly cost_nanousd: bigint;
  readonly estimated_nanousd: bigint;
  readonly notional_nanousd: bigint;
  readonly success_us: bigint;
}

/** Since when minutes and hours are there, and up to when all is counted that was recorded. */
export async function readCoverage(db: Queryable): Promise<{ kept: Kept; countedUntil: Date }> {
  const { rows } = await db.query<{ minute: Date | number; hour: Date | number; countedUntil: Date }>(
    `SELECT (SELECT since FROM rollup_kept WHERE resolution = 'minute') AS minute,
            (SELECT since FROM rollup_kept WHERE resolution = 'hour') AS hour,
            (SELECT min(read_at) FROM rollup_watermarks) AS "countedUntil"`,
  );
  const [row] = rows;
  if (!row) throw new Error('a SELECT without FROM gave no row');
  return { kept: { minute: Number(row.minute), hour: Number(row.hour) }, countedUntil: row.countedUntil };
}

// By what row `t` of a table is summed first. What it is called is looked up afterwards, once for each of them.
const parts: Readonly<Record<SummaryGroup, string>> = {
  workflow: 't.series_id',
  prompt_version: 't.series_id',
  model: 't.series_id',
  agent: 't.agent_id',
  minute: `date_trunc('minute', t.bucket, 'UTC')`,
  hour: `date_trunc('hour', t.bucket, 'UTC')`,
  day: `date_trunc('day', t.bucket, 'UTC')`,
};

// Grouped by nothing, there is one part, which nobody asks for.
const partOf = (group: SummaryGroup | null) => (group === null ? `''` : parts[group]);

/** The CTE `parts` under the keys of their groups: of time, epoch milliseconds. */
function keyed(group: SummaryGroup | null): string {
  if (isTime(group)) return 'SELECT (extract(epoch FROM p.part) * 1000)::bigint::text AS key, p.* FROM parts p';
  return group === null || group === 'agent'
    ? 'SELECT p.part AS key, p.* FROM parts p'
    : `SELECT s.${group} AS key, p.* FROM parts p JOIN rollup_series s ON s.id = p.part AND s.project_id = $1`;
}

const seriesAsked = `s.project_id = $1 AND ($2::text IS NULL OR s.workflow = $2) AND ($3::text IS NULL OR s.prompt_version = $3)
  AND ($4::text IS NULL OR s.model = $4)`;

// The series are found before the rows, as a list: the index leaves out what is not in it (decision 0022).
const ofSeries = `t.project_id = $1 AND (($2::text IS NULL AND $3::text IS NULL AND $4::text IS NULL)
  OR t.series_id = ANY (ARRAY(SELECT s.id FROM rollup_series s WHERE ${seriesAsked})))`;

/** One SELECT for each piece, each from the table of its resolution; `times` is the parameter that has `timesOf` them. */
function selectPieces(pieces: readonly Piece[], times: string, select: (table: string) => string): string {
  const time = (n: number) => `(${times}::timestamptz[])[${n}]`;
  return pieces
    .map(
      ({ resolution }, n) =>
        `${select(tableSuffix[resolution])} AND t.bucket >= ${time(2 * n + 1)} AND t.bucket < ${time(2 * n + 2)}`,
    )
    .join(' UNION ALL ');
}

const timesOf = (pieces: readonly Piece[]) => pieces.flatMap(({ from, to }) => [new Date(from), new Date(to)]);

const totals = sumNames.map((name) => `${bounded(`coalesce(sum(${name}), 0)`)} AS ${name}`).join(', ');

/** Sums of a window, all of it under null, and by group: the dearest groups, or the earliest times, `limit` at most. */
export async function sumSeries(
  db: Queryable,
  { projectId, workflow, promptVersion, model, agentId }: SummaryFilter,
  pieces: readonly Piece[],
  group: SummaryGroup | null,
  limit: number,
): Promise<ReadonlyMap<string | null, SummedAttempts>> {
  const rowsOf = selectPieces(
    pieces,
    '$7',
    (suffix) =>
      `SELECT ${partOf(group)} AS part, t.* FROM attempt_rollups_${suffix} t WHERE ${ofSeries} AND ($5::text IS NULL OR t.agent_id = $5)`,
  );
  const { rows } = await db.query<SummedAttempts & { key: string | null }>(
    `WITH parts AS (SELECT part, ${totals} FROM (${rowsOf}) AS t GROUP BY part)
     SELECT key, ${totals} FROM (${keyed(group)}) AS keyed
     GROUP BY GROUPING SETS ((), (key))
     HAVING GROUPING(key) = 1 OR sum(attempts) <> 0 OR sum(cost_nanousd) <> 0
     ORDER BY GROUPING(key) DESC, ${isTime(group) ? 'key::bigint' : 'cost_nanousd DESC, attempts DESC, key'} LIMIT $6`,
    [projectId, workflow, promptVersion, model, agentId, limit + 1, timesOf(pieces)],
  );
  return new Map(rows.map(({ key: of, ...sums }) => [of, sums]));
}

/** Whether some of what is asked for may be among what is summed as others, and was not asked for as such. */
export async function isIncomplete(
  db: Queryable,
  { projectId, workflow, promptVersion, model, agentId }: SummaryFilter,
  pieces: readonly Piece[],
): Promise<boolean> {
  const { rows: others } = await db.query<{ id: bigint }>(
    `SELECT s.id FROM rollup_series s
     WHERE s.project_id = $1 AND s.model = '*' AND ($2::text IS NULL OR s.workflow IN ($2, '*'))
       AND ($3::text IS NULL OR s.prompt_version IN ($3, '*')) AND ($4::text IS NULL OR s.model IN ($4, '*'))
       AND NOT (${seriesAsked})`,
    [projectId, workflow, promptVersion, model],
  );
  if (others.length === 0) return false;
  const rowsOf = selectPieces(
    pieces,
    '$4',
    (suffix) => `SELECT FROM attempt_rollups_${suffix} t
      WHERE t.project_id = $1 AND t.series_id = ANY ($2::bigint[]) AND ($3::text IS NULL OR t.agent_id = $3)`,
  );
  const { rows } = await db.query<{ some: boolean }>(`SELECT EXISTS (${rowsOf}) AS some`, [
    projectId,
    others.map(({ id }) => id),
    agentId,
    timesOf(pieces),
  ]);
  return rows[0]?.some === true;
}

/** How many attempts that succeeded are in each bin of their durations: of all under null, and of each of the groups. */
export async function sumTimes(
  db: Queryable,
  { projectId, workflow, promptVersion, model }: Omit<SummaryFilter, 'agentId'>,
  pieces: readonly Piece[],
  group: Exclude<SummaryGroup, 'agent'> | null,
  groups: readonly string[],
): Promise<ReadonlyMap<string | null, ReadonlyMap<number, bigint>>> {
  const rowsOf = selectPieces(
    pieces,
    '$6',
    (suffix) => `SELECT ${partOf(group)} AS part, t.bin, t.attempts FROM attempt_latency_${suffix} t WHERE ${ofSeries}`,
  );
  const { rows } = await db.query<{ key: string | null; bin: number; attempts: bigint }>(
    `WITH parts AS (SELECT part, bin, sum(attempts) AS attempts FROM (${rowsOf}) AS t GROUP BY part, bin)
     SELECT key, bin, sum(attempts)::bigint AS attempts
     FROM (SELECT CASE WHEN key = ANY ($5::text[]) THEN key END AS key, bin, attempts FROM (${keyed(group)}) AS keyed) AS asked
     GROUP BY GROUPING SETS ((bin), (key, bin))
     HAVING GROUPING(key) = 1 OR key IS NOT NULL`,
    [projectId, workflow, promptVersion, model, groups, timesOf(pieces)],
  );
  const found = new Map<string | null, Map<number, bigint>>();
  for (const { key: of, bin, attempts } of rows) {
    const bins = found.get(of) ?? new Map<number, bigint>();
    found.set(of, bins.set(bin, attempts));
  }
  return found;
}

/** Events of a project by level. */
export async function sumEvents(
  db: Queryable,
  projectId: string,
  pieces: readonly Piece[],
): Promise<ReadonlyMap<string, bigint>> {
  const parts = selectPieces(
    pieces,
    '$2',
    (suffix) => `SELECT t.level, t.events FROM event_rollups_${suffix} t WHERE t.project_id = $1`,
  );
  const { rows } = await db.query<{ level: string; events: bigint }>(
    `WITH parts AS (${parts}) SELECT level, sum(events)::bigint AS events FROM parts GROUP BY level`,
    [projectId, timesOf(pieces)],
  );
  return new Map(rows.map(({ level, events }) => [level, events]));
}

/**
 * Runs that were started in a window, by state: the newest `runsMax` of them.
 * @param ids the ids that such runs can have
 */
export async function countRuns(
  db: Queryable,
  { projectId, workflow, promptVersion, agentId }: SummaryFilter,
  { from, to }: Window,
  ids: { readonly first: string; readonly end: string },
  runsMax: number,
): Promise<ReadonlyMap<string, bigint>> {
  const { rows } = await db.query<{ state: string; runs: bigint }>(
    `SELECT state, count(*) AS runs FROM (
       SELECT state FROM runs
       WHERE project_id = $1 AND ($2::text IS NULL OR workflow = $2) AND ($3::text IS NULL OR prompt_version = $3)
         AND ($4::text IS NULL OR agent_id = $4) AND started_at >= $5 AND started_at < $6 AND id >= $7 AND id < $8
       ORDER BY id DESC LIMIT $9
     ) AS newest GROUP BY state`,
    [projectId, workflow, promptVersion, agentId, new Date(from), new Date(to), ids.first, ids.end, runsMax],
  );
  return new Map(rows.map(({ state, runs }) => [state, runs]));
}

export function isTime(group: SummaryGroup | null): group is (typeof timeGroups)[number] {
  return timeGroups.some((time) => time === group);
}
