export const resolutions = ['minute', 'hour', 'day'] as const;
export type Resolution = (typeof resolutions)[number];

/** How the names of a resolution's tables end. */
export const tableSuffix: Readonly<Record<Resolution, string>> = { minute: '1m', hour: '1h', day: '1d' };

const counted = (outcome: string) => `CASE a.outcome WHEN '${outcome}' THEN a.one ELSE 0 END`;

/** The sums of `attempt_rollups_1m`, each as an expression of one attempt `a`, which counts as `a.one`: 1, or -1 to be taken away. */
export const attemptSums = {
  attempts: 'a.one',
  succeeded: counted('success'),
  failed: counted('failed'),
  timed_out: counted('timeout'),
  refused: counted('refused'),
  killed: counted('killed'),
  over_budget: counted('budget'),
  client_closed: counted('client_closed'),
  retries: 'CASE WHEN a.attempt_no > 1 AND a.called THEN a.one ELSE 0 END',
  tokens_input: 'a.tokens_input',
  tokens_output: 'a.tokens_output',
  tokens_cache_read: 'a.tokens_cache_read',
  tokens_cache_write: 'a.tokens_cache_write',
  tokens_reasoning: 'a.tokens_reasoning',
  cost_nanousd: 'a.cost_nanousd',
  estimated_nanousd: `CASE a.provenance WHEN 'estimated' THEN a.cost_nanousd ELSE 0 END`,
  notional_nanousd: 'a.notional_nanousd',
  success_us: `CASE a.outcome WHEN 'success' THEN a.one * a.total_us ELSE 0 END`,
} as const;

export const sumNames = Object.keys(attemptSums);

const runSums = {
  attempts: attemptSums.attempts,
  refused: `CASE WHEN a.outcome IN ('refused', 'killed', 'budget') THEN a.one ELSE 0 END`,
  retries: attemptSums.retries,
  tokens_input: attemptSums.tokens_input,
  tokens_output: attemptSums.tokens_output,
  tokens_cache_read: attemptSums.tokens_cache_read,
  tokens_cache_write: attemptSums.tokens_cache_write,
  tokens_reasoning: attemptSums.tokens_reasoning,
  cost_nanousd: attemptSums.cost_nanousd,
  estimated_nanousd: attemptSums.estimated_nanousd,
  notional_nanousd: attemptSums.notional_nanousd,
};

// What no provider was asked for is the name of nothing: a caller may make it up.
const called = `(a.provider IS NOT NULL AND (a.connect_ms IS NOT NULL OR a.outcome NOT IN ('refused', 'budget', 'killed')))`;

// A name that a caller chose; none is empty. What is called as others are is as if it had none.
const named = (name: string) => `coalesce(nullif(${name}, '*'), '')`;

// What row `a` of the ledger, of run `r`, is summed under, its agent aside.
const seriesOf = `a.project_id, ${named('a.workflow')} AS workflow, ${named('r.prompt_version')} AS prompt_version,
  CASE WHEN ${called} THEN ${named('a.model_served')} ELSE '' END AS model`;
const ofRun = 'LEFT JOIN runs r ON r.id = a.run_id AND r.project_id = a.project_id';
const seriesKey = 'project_id, workflow, prompt_version, model';
const ofSeries = (s: string, model = `${s}.model`) => `s.project_id = ${s}.project_id AND s.workflow = ${s}.workflow
  AND s.prompt_version = ${s}.prompt_version AND s.model = ${model}`;

// The rows after ($1, $2) up to ($3, $4); their ids are from $5 to $6, which leaves days out. That a range of transactions is
// few rows the planner sees only where it stands by itself.
const slice = `a.tx_id >= $1 AND a.tx_id <= $3 AND (a.tx_id, a.row_no) > ($1::bigint, $2::bigint) AND (a.tx_id, a.row_no) <= ($3::bigint, $4::bigint)
  AND a.id >= $5 AND a.id <= $6`;

/**
 * Makes the series that a slice needs: with the name of the model as long as a project has fewer than $7 such, then without
 * as long as it has fewer than $7 of these, then the one of which all is '*'. Returns the projects of which models are not
 * told apart from now on, or workflows and versions.
 */
export const insertSeriesSql = `
  WITH wanted AS MATERIALIZED (
    SELECT DISTINCT ${seriesOf} FROM attempts a ${ofRun} WHERE ${slice}
  ), missing AS MATERIALIZED (
    SELECT * FROM wanted w WHERE NOT EXISTS (SELECT FROM rollup_series s WHERE ${ofSeries('w')})
  ), there AS MATERIALIZED (
    SELECT p.project_id, count(s.id) FILTER (WHERE s.model <> '*') AS whole, count(s.id) FILTER (WHERE s.model = '*') AS folded
    FROM (SELECT DISTINCT project_id FROM missing) p LEFT JOIN rollup_series s USING (project_id) GROUP BY p.project_id
  ), whole AS MATERIALIZED (
    SELECT m.*, row_number() OVER (PARTITION BY m.project_id ORDER BY ${seriesKey}) + t.whole <= $7 AS fits
    FROM missing m JOIN there t USING (project_id)
  ), folded AS MATERIALIZED (
    SELECT f.*, row_number() OVER (PARTITION BY f.project_id ORDER BY workflow, prompt_version) + t.folded <= $7 AS fits
    FROM (SELECT DISTINCT project_id, workflow, prompt_version FROM whole WHERE NOT fits) f JOIN there t USING (project_id)
    WHERE NOT EXISTS (SELECT FROM rollup_series s WHERE ${ofSeries('f', `'*'`)})
  ), made AS (
    INSERT INTO rollup_series (${seriesKey})
    SELECT ${seriesKey} FROM whole WHERE fits
    UNION ALL SELECT project_id, workflow, prompt_version, '*' FROM folded WHERE fits
    UNION ALL SELECT DISTINCT project_id, '*', '*', '*' FROM folded WHERE NOT fits
    ON CONFLICT DO NOTHING RETURNING project_id, workflow, model
  )
  SELECT DISTINCT project_id AS "projectId", CASE m.workflow WHEN '*' THEN 'workflows' ELSE 'models' END AS names
  FROM made m JOIN there t USING (project_id) WHERE m.model = '*' AND (m.workflow = '*' OR t.folded = 0)`;

// Sums stand still there, so that two of them can always be added: whatever rows say, no slice fails for it.
const sumMax = 2n ** 62n - 1n;

/** A sum as a `bigint` which, added to another one, is none too large. */
export const bounded = (sum: string): string => `least(greatest(${sum}, -${sumMax}), ${sumMax})::bigint`;

// An attempt is its rows: the first says whose it was and when, the last what is known of it now, and amounts add up.
const rowColumns = `a.id, a.row_no, a.corrects, a.attempt_no, ${called} AS called, a.model_asked, ${seriesOf},
  coalesce(a.agent_id, '') AS agent_id, r.id AS run_id, date_bin('1 minute', a.started_at, 'epoch') AS bucket, a.outcome, a.provenance,
  least(greatest(a.total_ms, 0), 1e12) AS total_ms, a.tokens_input, a.tokens_output, a.tokens_cache_read,
  a.tokens_cache_write_5m::numeric + a.tokens_cache_write_1h AS tokens_cache_write, a.tokens_reasoning, a.cost_nanousd,
  a.notional_nanousd`;

const amounts = [
  'tokens_input',
  'tokens_output',
  'tokens_cache_read',
  'tokens_cache_write',
  'tokens_reasoning',
  'cost_nanousd',
  'notional_nanousd',
];

const before = '(a.tx_id, a.row_no) <= ($1, $2)';
const earlier = `a.id = ANY ($7::text[]) AND a.id >= $5 AND a.id <= $6 AND ${before}`;

const sumsOf = (sums: Readonly<Record<string, string>>) =>
  Object.entries(sums).map(([name, value]) => `${bounded(`sum(${value})`)} AS ${name}`);
const seriesId = (g: string) => `coalesce((SELECT s.id FROM rollup_series s WHERE ${ofSeries(g)}),
  (SELECT s.id FROM rollup_series s WHERE ${ofSeries(g, `'*'`)}),
  (SELECT s.id FROM rollup_series s WHERE s.project_id = ${g}.project_id AND s.workflow = '*' AND s.prompt_version = '*'
     AND s.model = '*'))`;

const addTo = (table: string, names: readonly string[]) =>
  names.map((name) => `${name} = ${bounded(`${table}.${name} + excluded.${name}`)}`).join(', ');

// What would be deleted again is not written.
const kept = (resolution: Resolution) =>
  resolution === 'day' ? '' : `WHERE bucket >= (SELECT since FROM rollup_kept WHERE resolution = '${resolution}')`;

/** CTEs that add what the CTE `source` has by minute to the tables of all resolutions, in the order of their keys. */
function addedByTime(tables: string, source: string, keys: readonly string[], names: readonly string[]): string {
  return resolutions
    .map((resolution) => {
      const table = `${tables}_${tableSuffix[resolution]}`;
      const key = (time: string) => ['project_id', time, ...keys].join(', ');
      return `${source}_by_${resolution} AS (
        INSERT INTO ${table} (${key('bucket')}, ${names.join(', ')})
        SELECT ${key(`date_trunc('${resolution}', bucket, 'UTC') AS time`)}, ${names.map((name) => bounded(`sum(${name})`)).join(', ')}
        FROM ${source} ${kept(resolution)} GROUP BY ${key('time')} ORDER BY ${key('time')}
        ON CONFLICT (${key('bucket')}) DO UPDATE SET ${addTo(table, names)})`;
    })
    .join(', ');
}

/**
 * Adds up a slice of the ledger: what the attempts of $7, of which there are rows before it too, were counted as is taken
 * away, and every attempt that it has rows of is added as it is known with them.
 */
export const addAttemptsSql = `
  WITH ledger AS MATERIALIZED (
    SELECT false AS before, ${rowColumns} FROM attempts a ${ofRun} WHERE ${slice}
    UNION ALL
    SELECT true, ${rowColumns} FROM attempts a ${ofRun} WHERE ${earlier} AND a.corrects IS NULL
    UNION ALL
    SELECT true, ${rowColumns} FROM attempts a ${ofRun} WHERE ${earlier} AND a.corrects IS NOT NULL
  ), sides AS (
    SELECT 1 AS sign, * FROM ledger UNION ALL SELECT -1 AS sign, * FROM ledger WHERE before
  ), known AS (
    SELECT sign, corrects, attempt_no, called, model_asked, ${seriesKey}, agent_id, run_id, bucket,
      row_number() OVER rows AS nth,
      last_value(outcome) OVER rows AS outcome,
      last_value(provenance) OVER rows AS provenance,
      last_value(total_ms) OVER rows AS total_ms,
      ${amounts.map((name) => `${bounded(`sign * sum(${name}) OVER rows`)} AS ${name}`).join(', ')}
    FROM sides
    WINDOW rows AS (PARTITION BY sign, id ORDER BY corrects IS NOT NULL, row_no
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
  ), signed AS MATERIALIZED (
    SELECT *, CASE WHEN corrects IS NULL THEN sign ELSE 0 END AS one, round(total_ms * 1000)::bigint AS total_us,
      CASE WHEN called AND sign = 1 AND corrects IS NULL THEN nullif(nullif(model_asked, ''), '*') END AS asked
    FROM known WHERE nth = 1
  ), sums AS MATERIALIZED (
    SELECT ${seriesId('g')} AS series_id, g.* FROM (
      SELECT ${seriesKey}, agent_id, bucket, ${sumsOf(attemptSums).join(', ')} FROM signed a GROUP BY ${seriesKey}, agent_id, bucket
    ) g
  ), times AS MATERIALIZED (
    SELECT ${seriesId('g')} AS series_id, g.* FROM (
      SELECT ${seriesKey}, bucket, duration_bin(total_ms) AS bin, sum(one)::bigint AS attempts
      FROM signed WHERE outcome = 'success' GROUP BY ${seriesKey}, bucket, duration_bin(total_ms)
    ) g WHERE g.attempts <> 0
  ), ${addedByTime('attempt_rollups', 'sums', ['series_id', 'agent_id'], sumNames)},
  ${addedByTime('attempt_latency', 'times', ['series_id', 'bin'], ['attempts'])}
  INSERT INTO run_totals (run_id, project_id, ${Object.keys(runSums).join(', ')}, model, recount)
  SELECT run_id, project_id, ${sumsOf(runSums).join(', ')},
    CASE WHEN min(asked) = max(asked) THEN min(asked) WHEN min(asked) IS NULL THEN '' ELSE '*' END, true
  FROM signed a WHERE run_id IS NOT NULL GROUP BY run_id, project_id ORDER BY run_id
  ON CONFLICT (run_id) DO UPDATE SET ${addTo('run_totals', Object.keys(runSums))}, recount = true,
    model = CASE WHEN run_totals.model = '' THEN excluded.model
      WHEN excluded.model IN ('', run_totals.model) THEN run_totals.model ELSE '*' END`;

/** Adds up the events of the transactions from $1 on and before $2. */
export const addEventsSql = `
  WITH events AS MATERIALIZED (
    SELECT project_id, level, run_id, date_bin('1 minute', occurred_at, 'epoch') AS bucket, count(*) AS events
    FROM run_events WHERE tx_id >= $1 AND tx_id < $2 GROUP BY project_id, level, run_id, bucket
  ), ${addedByTime('event_rollups', 'events', ['level'], ['events'])}
  INSERT INTO run_totals (run_id, project_id, events)
  SELECT run_id, min(project_id), sum(events)::bigint FROM events GROUP BY run_id ORDER BY run_id
  ON CONFLICT (run_id) DO UPDATE SET ${addTo('run_totals', ['events'])}`;
