import { ledgerColumns } from '../../../server/src/budget/ledger-row.ts';
import { spread } from './cast.ts';

/**
 * The SQL that makes a slice of runs with all that belongs to them, in the database, from nothing but their numbers and the
 * seed: `hashint8extended` is random enough, and the same at each run.
 */

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const digits = Array.from({ length: 10 }, (_, n) => `substr('${alphabet}', (ms >> ${45 - 5 * n} & 31)::int + 1, 1)`);

/** For one session. Functions of one expression each, which PostgreSQL inlines. */
export function sessionSql(seed: number): string {
  return `
    SET session_replication_role = replica; -- Foreign keys hold by construction.
    SET synchronous_commit = off;
    -- Uniform in [0, 1), the kth of number n.
    CREATE FUNCTION pg_temp.u(n bigint, k int) RETURNS float8 LANGUAGE sql IMMUTABLE
    RETURN (hashint8extended(n, ${seed} * 1000::bigint + k) & 9007199254740991) / 9007199254740992.0::float8;
    -- Normal, of two of them (Box and Muller).
    CREATE FUNCTION pg_temp.normal(n bigint, k int) RETURNS float8 LANGUAGE sql IMMUTABLE
    RETURN sqrt(-2 * ln(1 - pg_temp.u(n, k))) * cos(2 * pi() * pg_temp.u(n, k + 1));
    -- As base/ids.ts makes them; hexadecimal digits are digits of its alphabet.
    CREATE FUNCTION pg_temp.id(prefix text, ms bigint, n bigint) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN prefix || ${digits.join(' || ')} || lpad(to_hex(hashint8extended(n, ${seed})), 16, '0');
    CREATE TEMP TABLE slice (
      n bigint, id text, project int, agent int, workflow int, version int, task int, model int, other_model int, mixed boolean,
      attempts int, start_ms bigint, duration_ms bigint, outcome text
    ) ON COMMIT DELETE ROWS;
    CREATE TEMP TABLE crashed AS SELECT * FROM attempts WITH NO DATA;`;
}

/**
 * $1, $2: the first and the last run; $3: how many there are in all; $4, $5: the first and the last millisecond. Busy at
 * noon and quiet at night; a new version of each workflow's prompt every tenth of the time, which most runs take at once.
 */
export const sliceRuns = `
  INSERT INTO slice
  SELECT n, pg_temp.id('run_', start_ms, n), workflow % ${spread.projects},
    (workflow * 7 + floor(30 * power(pg_temp.u(n, 2), 1.5))::int) % ${spread.agentsPerProject}, workflow,
    version,
    floor(pg_temp.u(n, 5) * ${spread.tasksPerWorkflow})::int,
    (workflow * 5 + CASE WHEN pg_temp.u(n, 6) < 0.75 THEN 0 ELSE 3 END) % ${spread.models},
    (workflow * 5 + CASE WHEN pg_temp.u(n, 6) < 0.75 THEN 3 ELSE 0 END) % ${spread.models},
    pg_temp.u(n, 7) < 0.1, attempts, start_ms,
    least(21600000, 6000 * attempts * exp(0.8 * pg_temp.normal(n, 8)))::bigint,
    CASE WHEN pg_temp.u(n, 10) < 0.05 THEN 'cancelled'
         WHEN pg_temp.u(n, 11) < 0.55 + 0.035 * version + 0.01 * (workflow % 5) THEN 'succeeded'
         ELSE 'failed' END
  FROM (
    SELECT n, floor(${spread.workflows} * power(pg_temp.u(n, 1), 1.6))::int AS workflow,
      least(${spread.versionsPerWorkflow} - 1, floor(${spread.versionsPerWorkflow} * n::float8 / $3))::int AS era,
      1 + least(200, floor(-9.49 * ln(1 - pg_temp.u(n, 12))))::int AS attempts,
      $4::bigint + (($5::bigint - $4::bigint)
        * ((n + pg_temp.u(n, 13)) / $3 + 0.08 / ${spread.days} * sin(2 * pi() * ${spread.days} * n / $3)))::bigint AS start_ms
    FROM generate_series($1::bigint, $2::bigint) AS n
    OFFSET 0
  ) AS made
  CROSS JOIN LATERAL (
    SELECT CASE WHEN pg_temp.u(n, 3) < 0.7 THEN era
                WHEN pg_temp.u(n, 3) < 0.9 THEN greatest(0, era - 1)
                ELSE floor(pg_temp.u(n, 4) * (era + 1))::int END AS version
  ) AS chosen`;

/** $1: the control version of run 0; $2: the last millisecond: what would end after it still runs. */
export const insertRuns = `
  INSERT INTO runs (id, project_id, agent_id, workflow, task_id, prompt_version, state, summary, error, started_at, finished_at, control_version)
  SELECT id, 'prj_bench_' || project, 'agt_bench_' || project || '_' || agent, 'workflow-' || workflow,
    'task-' || workflow || '-' || task, encode(sha256(convert_to('prompt ' || workflow || '.' || version, 'UTF8')), 'hex'),
    CASE WHEN start_ms + duration_ms < $2::bigint THEN outcome ELSE 'running' END,
    CASE WHEN start_ms + duration_ms < $2::bigint THEN 'What came of run ' || n ELSE '' END,
    CASE WHEN start_ms + duration_ms < $2::bigint AND outcome = 'failed' THEN 'The tests did not pass.' ELSE '' END,
    to_timestamp(start_ms / 1000.0),
    CASE WHEN start_ms + duration_ms < $2::bigint THEN to_timestamp((start_ms + duration_ms) / 1000.0) END,
    $1::bigint + n
  FROM slice`;

const columns = [...ledgerColumns, 'recorded_at'] as const;

/** What an attempt has in each column of the ledger, out of `made`; absent is null. */
const attemptColumns: Readonly<Partial<Record<(typeof columns)[number], string>>> = {
  id: 'id',
  request_id: `'req_' || substr(id, 5)`,
  project_id: `'prj_bench_' || project`,
  agent_id: `'agt_bench_' || project || '_' || agent`,
  key_id: `'key-' || project || '-' || agent`,
  run_id: 'run_id',
  workflow: `'workflow-' || workflow`,
  route: `'model-' || model`,
  provider: `'provider-' || model % 4`,
  model_asked: `'model-' || model`,
  model_served: `'model-' || model || '-2026-08-01'`,
  dialect_in: `'chat'`,
  dialect_out: `CASE WHEN outcome NOT IN ('refused', 'budget') THEN 'chat' END`,
  streamed: 'a % 2 = 0',
  price_version: `'bench'`,
  tokens_input: 'input',
  tokens_output: 'output',
  tokens_cache_read: 'cache_read',
  tokens_cache_write_5m: '0',
  tokens_cache_write_1h: '0',
  tokens_reasoning: 'output / 3',
  cost_nanousd: 'price * (10 * input + cache_read + 40 * output)',
  notional_nanousd: '0',
  held_nanousd: 'price * (10 * input + cache_read + 80 * output)',
  provenance: `CASE WHEN crashed OR pg_temp.u(a, 1) < 0.06 THEN 'estimated' ELSE 'measured' END`,
  outcome: 'outcome',
  error_class: `CASE WHEN crashed THEN 'crash' WHEN outcome = 'failed' THEN 'http_503' WHEN outcome = 'timeout' THEN 'timeout'
    WHEN outcome = 'refused' THEN 'policy_denied' WHEN outcome = 'killed' THEN 'killed' WHEN outcome = 'budget' THEN 'budget_exceeded' END`,
  rule: `CASE outcome WHEN 'refused' THEN 'rule-7' WHEN 'budget' THEN 'bud_bench' WHEN 'killed' THEN 'kil_bench' END`,
  started_at: 'to_timestamp(ms / 1000.0)',
  queue_ms: '0.2',
  connect_ms: `CASE WHEN outcome NOT IN ('refused', 'budget') THEN 12.5 END`,
  first_token_ms: `CASE WHEN outcome = 'success' THEN took / 4 END`,
  total_ms: 'took',
  overrun: 'false',
  attempt_no: '1 + (pg_temp.u(a, 2) < 0.06)::int',
  recorded_at: 'to_timestamp((ms + took) / 1000.0)',
};

/**
 * $1: the last millisecond. Answer times and tokens are log-normal: the slowest of a million takes a hundred times as long as
 * the one in the middle. @returns how many; crashed ones, whose truth comes later, are in
 * `crashed` too
 */
export const insertAttempts = `
  WITH made AS (
    SELECT s.project, s.agent, s.workflow, s.id AS run_id, a, ms, drawn.model, ended.outcome, crashed, pg_temp.id('att_', ms, a) AS id,
      CASE WHEN ended.outcome IN ('refused', 'budget') THEN 0.4 ELSE least(600000, (400 + 300 * drawn.model) * exp(pg_temp.normal(a, 3))) END AS took,
      CASE WHEN spent THEN least(200000, 2500 * exp(pg_temp.normal(a, 5)))::bigint ELSE 0 END AS input,
      CASE WHEN spent THEN least(30000, 400 * exp(pg_temp.normal(a, 7)))::bigint ELSE 0 END AS output,
      CASE WHEN spent AND a % 3 > 0 THEN least(200000, 6000 * exp(pg_temp.normal(a, 9)))::bigint ELSE 0 END AS cache_read,
      25::bigint + 40 * drawn.model * drawn.model AS price
    FROM slice s
    CROSS JOIN LATERAL generate_series(1, s.attempts) AS k
    CROSS JOIN LATERAL (
      SELECT s.n * 1024 + k AS a,
        s.start_ms + (s.duration_ms * (k - 1 + pg_temp.u(s.n * 1024 + k, 11)) / s.attempts)::bigint AS ms,
        pg_temp.u(s.n * 1024 + k, 12) AS luck,
        CASE WHEN s.mixed AND k % 2 = 0 THEN s.other_model ELSE s.model END AS model
      OFFSET 0
    ) AS drawn
    CROSS JOIN LATERAL (
      SELECT CASE WHEN luck < 0.93 THEN 'success' WHEN luck < 0.958 THEN 'failed' WHEN luck < 0.973 THEN 'timeout'
          WHEN luck < 0.983 THEN 'refused' WHEN luck < 0.986 THEN 'killed' WHEN luck < 0.99 THEN 'budget' ELSE 'client_closed' END AS outcome,
        luck >= 0.93 AND luck < 0.933 AS crashed,
        luck < 0.933 OR luck >= 0.99 AS spent
      OFFSET 0
    ) AS ended
    WHERE ms < $1::bigint
    OFFSET 0
  ), written AS (
    INSERT INTO attempts (${columns.join(', ')})
    SELECT ${columns.map((column) => attemptColumns[column] ?? 'NULL').join(', ')} FROM made
    RETURNING *
  ), left_over AS (
    INSERT INTO crashed SELECT * FROM written WHERE error_class = 'crash'
  )
  SELECT count(*) AS written FROM written`;

const less = (column: string) => `-(${column} * 3 / 5)`;

const correctionColumns: typeof attemptColumns = {
  ...Object.fromEntries(
    ['tokens_input', 'tokens_output', 'tokens_cache_read', 'tokens_reasoning', 'cost_nanousd'].map((column) => [
      column,
      less(column),
    ]),
  ),
  held_nanousd: '0',
  provenance: `'measured'`,
  outcome: `CASE WHEN hashtext(id) % 2 = 0 THEN 'success' ELSE 'failed' END`,
  error_class: 'NULL',
  corrects: 'id',
  recorded_at: `recorded_at + interval '3 minutes'`,
};

/** The truth of the crashed ones, in a transaction of its own, as it comes in life. */
export const insertCorrections = `
  INSERT INTO attempts (${columns.join(', ')})
  SELECT ${columns.map((column) => correctionColumns[column] ?? column).join(', ')} FROM crashed`;

/** Of one run in 25 a rating, of one in 12 a score: newer versions are a little better. $1: the last millisecond */
export const insertRatings = `
  INSERT INTO run_ratings (run_id, project_id, rated_by, rating, comment, rated_at)
  SELECT id, 'prj_bench_' || project, 'psn_bench_' || n % 7,
    greatest(1, least(5, round(3 + version / 6.0 + pg_temp.normal(n, 14))))::smallint, '', to_timestamp((start_ms + duration_ms) / 1000.0)
  FROM slice WHERE pg_temp.u(n, 16) < 0.04 AND start_ms + duration_ms < $1::bigint`;

/** $1: the last millisecond. */
export const insertEvaluations = `
  INSERT INTO run_evaluations (run_id, project_id, evaluator, score_ppm, notes, recorded_by, recorded_at)
  SELECT id, 'prj_bench_' || project, 'judge',
    greatest(0, least(1000000, 600000 + 25000 * version + 150000 * pg_temp.normal(n, 17)))::int, '', 'agt_bench_judge',
    to_timestamp((start_ms + duration_ms) / 1000.0)
  FROM slice WHERE pg_temp.u(n, 19) < 0.08 AND start_ms + duration_ms < $1::bigint`;

/** Of a run three events, more or less. $1: the last millisecond. */
export const insertEvents = `
  INSERT INTO run_events (id, project_id, agent_id, run_id, type, level, message, data, occurred_at, recorded_at)
  SELECT pg_temp.id('evt_', ms, e), 'prj_bench_' || project, 'agt_bench_' || project || '_' || agent, id,
    CASE k WHEN 1 THEN 'started' ELSE 'step' END,
    CASE WHEN pg_temp.u(e, 1) < 0.9 THEN 'info' WHEN pg_temp.u(e, 1) < 0.97 THEN 'warn' ELSE 'error' END,
    'Step ' || k || ' of what the agent does', CASE WHEN e % 2 = 0 THEN '{"step": ' || k || ', "tool": "search"}' END,
    to_timestamp(ms / 1000.0), to_timestamp((ms + 400) / 1000.0)
  FROM slice
  CROSS JOIN LATERAL generate_series(1, 1 + floor(5 * pg_temp.u(n, 20))::int) AS k
  CROSS JOIN LATERAL (
    SELECT n * 1024 + k AS e, start_ms + duration_ms * (k - 1) / 8 AS ms OFFSET 0
  ) AS event
  WHERE ms < $1::bigint`;

/** What the end of a run leaves for whoever counts it (decision 0024). $1: the last millisecond */
export const insertMarks = `
  INSERT INTO run_totals (run_id, project_id, recount)
  SELECT id, 'prj_bench_' || project, true FROM slice WHERE start_ms + duration_ms < $1::bigint`;
