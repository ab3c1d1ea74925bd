import { durationBin } from '../../server/src/telemetry/histogram.ts';
import type { Queryable } from '../../server/src/pg/tx.ts';
import { sumNames } from '../../server/src/telemetry/rollup-sql.ts';

/** A row of the ledger, as the rules of decision 0022 need it. */
interface RawRow {
  readonly id: string;
  readonly tx_id: bigint;
  readonly row_no: bigint;
  readonly corrects: string | null;
  readonly project_id: string;
  readonly workflow: string | null;
  readonly prompt_version: string | null;
  readonly agent_id: string | null;
  readonly run_id: string | null;
  readonly provider: string | null;
  readonly model_asked: string | null;
  readonly model_served: string | null;
  readonly connect_ms: number | null;
  readonly attempt_no: number;
  readonly outcome: string;
  readonly provenance: string;
  readonly started_at: Date;
  readonly total_ms: number;
  readonly tokens_input: bigint;
  readonly tokens_output: bigint;
  readonly tokens_cache_read: bigint;
  readonly tokens_cache_write_5m: bigint;
  readonly tokens_cache_write_1h: bigint;
  readonly tokens_reasoning: bigint;
  readonly cost_nanousd: bigint;
  readonly notional_nanousd: bigint;
}

/** An attempt as its rows tell it. */
export interface KnownAttempt {
  readonly series: { workflow: string; promptVersion: string; model: string; agentId: string };
  readonly runId: string | null;
  readonly startedAt: number;
  /** Of attempts that succeeded. */
  readonly bin: number | null;
  readonly asked: string | null;
  readonly sums: Readonly<Record<string, bigint>>;
}

const outcomeColumns: Readonly<Record<string, string>> = {
  success: 'succeeded',
  failed: 'failed',
  timeout: 'timed_out',
  refused: 'refused',
  killed: 'killed',
  budget: 'over_budget',
  client_closed: 'client_closed',
};

/** The rows of a project's ledger, with the prompt versions of their runs. */
export async function readLedger(db: Queryable, projectId: string): Promise<RawRow[]> {
  const { rows } = await db.query<RawRow>(
    `SELECT a.*, r.prompt_version FROM attempts a LEFT JOIN runs r ON r.id = a.run_id WHERE a.project_id = $1`,
    [projectId],
  );
  return rows;
}

/** What rows come to, attempt by attempt: told by the words of decision 0022, not by its SQL. */
export function knownAttempts(rows: readonly RawRow[]): KnownAttempt[] {
  const byId = Map.groupBy(rows, ({ id }) => id);
  return [...byId.values()].map((unsorted) => {
    const inOrder = unsorted.toSorted((a, b) => Number(a.row_no - b.row_no));
    const own = inOrder.find(({ corrects }) => corrects === null);
    const corrections = inOrder.filter(({ corrects }) => corrects !== null);
    const first = own ?? corrections[0]!;
    const last = corrections.at(-1) ?? first;
    const one = own === undefined ? 0n : 1n;
    const called =
      first.provider !== null &&
      (first.connect_ms !== null || !['refused', 'budget', 'killed'].includes(first.outcome));
    const sum = (value: (row: RawRow) => bigint) => inOrder.reduce((all, row) => all + value(row), 0n);
    const cost = sum((row) => row.cost_nanousd);
    const succeeded = last.outcome === 'success' ? one : 0n;
    return {
      series: {
        workflow: first.workflow ?? '',
        promptVersion: first.prompt_version ?? '',
        model: called ? (first.model_served ?? '') : '',
        agentId: first.agent_id ?? '',
      },
      runId: first.run_id,
      startedAt: first.started_at.getTime(),
      bin: succeeded === 1n ? durationBin(last.total_ms) : null,
      asked: called && one === 1n ? first.model_asked : null,
      sums: {
        attempts: one,
        ...Object.fromEntries(
          Object.entries(outcomeColumns).map(([outcome, column]) => [column, last.outcome === outcome ? one : 0n]),
        ),
        retries: called && first.attempt_no > 1 ? one : 0n,
        tokens_input: sum((row) => row.tokens_input),
        tokens_output: sum((row) => row.tokens_output),
        tokens_cache_read: sum((row) => row.tokens_cache_read),
        tokens_cache_write: sum((row) => row.tokens_cache_write_5m + row.tokens_cache_write_1h),
        tokens_reasoning: sum((row) => row.tokens_reasoning),
        cost_nanousd: cost,
        estimated_nanousd: last.provenance === 'estimated' ? cost : 0n,
        notional_nanousd: sum((row) => row.notional_nanousd),
        success_us: succeeded * BigInt(Math.round(last.total_ms * 1000)),
      },
    };
  });
}

/** Sums by key, without those that are nothing. */
export function summed(
  attempts: readonly KnownAttempt[],
  key: (attempt: KnownAttempt) => string,
): Record<string, Record<string, bigint>> {
  const found: Record<string, Record<string, bigint>> = {};
  for (const attempt of attempts) {
    const of = (found[key(attempt)] ??= {});
    for (const [name, value] of Object.entries(attempt.sums)) of[name] = (of[name] ?? 0n) + value;
  }
  return withoutNothing(found);
}

/** How many are in each bin, by key, without those that are nothing. */
export function binned(
  attempts: readonly KnownAttempt[],
  key: (attempt: KnownAttempt) => string,
): Record<string, bigint> {
  const found: Record<string, bigint> = {};
  for (const attempt of attempts) {
    if (attempt.bin === null) continue;
    const of = `${key(attempt)} ${attempt.bin}`;
    found[of] = (found[of] ?? 0n) + 1n;
  }
  return found;
}

function withoutNothing(sums: Record<string, Record<string, bigint>>): Record<string, Record<string, bigint>> {
  return Object.fromEntries(Object.entries(sums).filter(([, of]) => Object.values(of).some((value) => value !== 0n)));
}

const unitMs = { '1m': 60_000, '1h': 3_600_000, '1d': 86_400_000 } as const;

/** Times are not by agent. */
function keysOf({ series, startedAt }: KnownAttempt, suffix: keyof typeof unitMs): { sums: string; times: string } {
  const { agentId, ...others } = series;
  const bucket = new Date(Math.floor(startedAt / unitMs[suffix]) * unitMs[suffix]).toISOString();
  const key = (...names: string[]) => `${suffix} ${[...names, bucket].join('|')}`;
  return { sums: key(...Object.values(others), agentId), times: key(...Object.values(others)) };
}

/**
 * What the rollups of a project say and what they should say: the sum of the rows below the watermark, as of one moment.
 * Each has `<table> <key>` for its members.
 */
export async function rollupsAndRows(
  db: Queryable,
  projectId: string,
): Promise<{ rollups: Record<string, unknown>; rows: Record<string, unknown>; ahead: number }> {
  await db.query('BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
  try {
    const { rows: marks } = await db.query<{ source: string; tx_id: bigint; row_no: bigint }>(
      'SELECT source, tx_id, row_no FROM rollup_watermarks',
    );
    const mark = marks.find(({ source }) => source === 'attempts')!;
    const eventMark = marks.find(({ source }) => source === 'run_events')!;
    const raw = await readLedger(db, projectId);
    const counted = raw.filter(
      (row) => row.tx_id < mark.tx_id || (row.tx_id === mark.tx_id && row.row_no <= mark.row_no),
    );
    const attempts = knownAttempts(counted);
    const rollups: Record<string, unknown> = {};
    const expected: Record<string, unknown> = {};
    for (const suffix of ['1m', '1h', '1d'] as const) {
      Object.assign(rollups, await readRollups(db, projectId, suffix));
      Object.assign(
        expected,
        summed(attempts, (attempt) => keysOf(attempt, suffix).sums),
        binned(attempts, (attempt) => keysOf(attempt, suffix).times),
      );
    }
    const events = await readEvents(db, projectId, eventMark.tx_id);
    Object.assign(expected, events.counted, expectedRuns(attempts, events.byRun));
    Object.assign(rollups, await readEventRollups(db, projectId), await readRuns(db, projectId));
    return { rollups, rows: expected, ahead: raw.length - counted.length + events.ahead };
  } finally {
    await db.query('COMMIT');
  }
}

async function readRollups(db: Queryable, projectId: string, suffix: string): Promise<Record<string, unknown>> {
  const time = `to_char(t.bucket AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
  const of = 'JOIN rollup_series s ON s.id = t.series_id AND s.project_id = t.project_id WHERE t.project_id = $1';
  const { rows } = await db.query<Record<string, bigint> & { key: string }>(
    `SELECT concat_ws('|', s.workflow, s.prompt_version, s.model, t.agent_id, ${time}) AS key,
       ${sumNames.map((sum) => `t.${sum}`).join(', ')}
     FROM attempt_rollups_${suffix} t ${of}`,
    [projectId],
  );
  const sums = rows.map(({ key, ...summedUp }) => [`${suffix} ${key}`, summedUp] as const);
  const { rows: bins } = await db.query<{ key: string; bin: number; attempts: bigint }>(
    `SELECT concat_ws('|', s.workflow, s.prompt_version, s.model, ${time}) AS key, t.bin, t.attempts
     FROM attempt_latency_${suffix} t ${of} AND t.attempts <> 0`,
    [projectId],
  );
  return {
    ...withoutNothing(Object.fromEntries(sums)),
    ...Object.fromEntries(bins.map(({ key, bin, attempts }) => [`${suffix} ${key} ${bin}`, attempts])),
  };
}

async function readEvents(db: Queryable, projectId: string, before: bigint) {
  const { rows } = await db.query<{ run_id: string; level: string; tx_id: bigint; occurred_at: Date }>(
    'SELECT run_id, level, tx_id, occurred_at FROM run_events WHERE project_id = $1',
    [projectId],
  );
  const counted: Record<string, bigint> = {};
  const byRun = new Map<string, bigint>();
  const below = rows.filter(({ tx_id }) => tx_id < before);
  for (const { run_id: runId, level, occurred_at: at } of below) {
    byRun.set(runId, (byRun.get(runId) ?? 0n) + 1n);
    for (const [suffix, ms] of Object.entries(unitMs)) {
      const key = `events ${suffix} ${level} ${new Date(Math.floor(at.getTime() / ms) * ms).toISOString()}`;
      counted[key] = (counted[key] ?? 0n) + 1n;
    }
  }
  return { counted, byRun, ahead: rows.length - below.length };
}

async function readEventRollups(db: Queryable, projectId: string): Promise<Record<string, bigint>> {
  const found: Record<string, bigint> = {};
  for (const suffix of Object.keys(unitMs)) {
    const { rows } = await db.query<{ bucket: Date; level: string; events: bigint }>(
      `SELECT bucket, level, events FROM event_rollups_${suffix} WHERE project_id = $1`,
      [projectId],
    );
    for (const { bucket, level, events } of rows) found[`events ${suffix} ${level} ${bucket.toISOString()}`] = events;
  }
  return found;
}

const runColumns = [
  'attempts',
  'retries',
  'tokens_input',
  'tokens_output',
  'tokens_cache_read',
  'tokens_cache_write',
  'tokens_reasoning',
  'cost_nanousd',
  'estimated_nanousd',
  'notional_nanousd',
];

function expectedRuns(attempts: readonly KnownAttempt[], events: ReadonlyMap<string, bigint>): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  const byRun = Map.groupBy(
    attempts.filter(({ runId }) => runId !== null),
    ({ runId }) => String(runId),
  );
  for (const runId of new Set([...byRun.keys(), ...events.keys()])) {
    const of = byRun.get(runId) ?? [];
    const sum = (name: string) => of.reduce((all, { sums }) => all + (sums[name] ?? 0n), 0n);
    const models = [...new Set(of.flatMap(({ asked }) => (asked === null ? [] : [asked])))];
    found[`run ${runId}`] = {
      ...Object.fromEntries(runColumns.map((name) => [name, sum(name)])),
      refused: sum('refused') + sum('killed') + sum('over_budget'),
      events: events.get(runId) ?? 0n,
      model: models.length > 1 ? '*' : (models[0] ?? ''),
      recount: of.length > 0,
    };
  }
  return found;
}

async function readRuns(db: Queryable, projectId: string): Promise<Record<string, unknown>> {
  const { rows } = await db.query<Record<string, unknown> & { run_id: string }>(
    `SELECT run_id, ${[...runColumns, 'refused', 'events', 'model', 'recount'].join(', ')} FROM run_totals WHERE project_id = $1`,
    [projectId],
  );
  return Object.fromEntries(rows.map(({ run_id: runId, ...totals }) => [`run ${runId}`, totals]));
}
