-- Sums over the ledger (decision 0022).

-- The bin of a duration: 0 below 1 ms, else 1 + floor(8 * log2(ms)), at most 255. As telemetry/histogram.ts has it, digit by
-- digit: the division is exact, and a logarithm that was a hair off is corrected, since the steps reach from 1 to 2.
CREATE FUNCTION duration_bin(ms double precision) RETURNS smallint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (CASE WHEN ms < 1 THEN 0 WHEN ms > 4e9 THEN 255 ELSE least(255,
  8 * floor(ln(ms) / ln(2::float8))::int
  + width_bucket(
      ms / power(2::float8, floor(ln(ms) / ln(2::float8))),
      '{1, 1.0905077326652577, 1.189207115002721, 1.2968395546510096, 1.4142135623730951, 1.5422108254079407,
        1.681792830507429, 1.8340080864093424, 2}'::float8[])) END)::smallint;

-- The transaction that runs, as a row remembers it.
CREATE FUNCTION tx_number() RETURNS bigint LANGUAGE sql STABLE
RETURN pg_current_xact_id()::text::bigint;

-- All transactions with a lower number are committed or gone.
CREATE FUNCTION tx_floor() RETURNS bigint LANGUAGE sql STABLE
RETURN pg_snapshot_xmin(pg_current_snapshot())::text::bigint;

-- What is committed has a lower number.
CREATE FUNCTION tx_ceiling() RETURNS bigint LANGUAGE sql STABLE
RETURN pg_snapshot_xmax(pg_current_snapshot())::text::bigint;

-- Which transaction wrote a row. Rows of before have 0, and are rolled up first.
ALTER TABLE attempts ADD COLUMN tx_id bigint NOT NULL DEFAULT 0;
ALTER TABLE attempts ALTER COLUMN tx_id SET DEFAULT tx_number();
ALTER TABLE run_events ALTER COLUMN tx_id SET DEFAULT tx_number();
-- The how manieth upstream attempt of its call it was.
ALTER TABLE attempts ADD COLUMN attempt_no integer NOT NULL DEFAULT 1;
CREATE INDEX attempts_told ON attempts (tx_id, row_no);

-- How far each source is rolled up: what is below (tx_id, row_no) is counted, and nothing else.
CREATE TABLE rollup_watermarks (
  source text PRIMARY KEY CHECK (source IN ('attempts', 'run_events')),
  tx_id bigint NOT NULL DEFAULT 0,
  -- Within transaction `tx_id`; 0 is none of it.
  row_no bigint NOT NULL DEFAULT 0,
  -- What was committed by then is counted.
  read_at timestamptz NOT NULL DEFAULT now(),
  -- What was committed by `goal_at` is counted when `tx_id` has reached this.
  goal_tx_id bigint NOT NULL DEFAULT 0,
  goal_at timestamptz NOT NULL DEFAULT now(),
  -- When somebody looked last.
  looked_at timestamptz NOT NULL DEFAULT '-infinity',
  -- The transaction that wrote this row, by which it is known where it was written; null where its numbers mean the same
  -- everywhere.
  moved_by bigint
);
INSERT INTO rollup_watermarks (source) VALUES ('attempts'), ('run_events');

-- Numbers of another cluster's transactions, which a dump brought, mean nothing here: what was counted gets 0, what was not 1.
-- For who migrates; returns whether there was anything to do.
CREATE FUNCTION tx_renumber() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM public.rollup_watermarks w WHERE w.moved_by % 4294967296 <> w.xmin::text::bigint) AND greatest(
    (SELECT max(w.tx_id) FROM public.rollup_watermarks w),
    (SELECT max(a.tx_id) FROM public.attempts a),
    (SELECT max(e.tx_id) FROM public.run_events e)) <= public.tx_ceiling() THEN RETURN false;
  END IF;
  UPDATE public.attempts a SET tx_id = CASE WHEN (a.tx_id, a.row_no) <= (w.tx_id, w.row_no) THEN 0 ELSE 1 END
  FROM public.rollup_watermarks w WHERE w.source = 'attempts' AND a.tx_id > 0;
  UPDATE public.run_events e SET tx_id = CASE WHEN e.tx_id < w.tx_id THEN 0 ELSE 1 END
  FROM public.rollup_watermarks w WHERE w.source = 'run_events' AND e.tx_id > 0;
  UPDATE public.rollup_watermarks SET tx_id = 1, row_no = 0, goal_tx_id = 1, moved_by = NULL;
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION tx_renumber() FROM PUBLIC;

-- From when on minutes and hours are there; what is older is only in hours or days.
CREATE TABLE rollup_kept (
  resolution text PRIMARY KEY CHECK (resolution IN ('minute', 'hour')),
  since timestamptz NOT NULL
);
INSERT INTO rollup_kept VALUES ('minute', '-infinity'), ('hour', '-infinity');

-- What is summed apart, agents aside. Empty text is none. A project has so many at most (base/telemetry-limits.ts); what else it
-- would have is in those of which the model is '*' and, where these are too many as well, in the one of which everything is.
CREATE TABLE rollup_series (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project_id text NOT NULL,
  workflow text NOT NULL,
  prompt_version text NOT NULL,
  model text NOT NULL,
  UNIQUE (project_id, workflow, prompt_version, model)
);

-- Sums by minute; those by hour and day have the same columns. A sum that would pass 2^62 stands still there. Project and time come first in each key: a summary reads the
-- rows of its project and window, however many others there are.
CREATE TABLE attempt_rollups_1m (
  project_id text NOT NULL,
  bucket timestamptz NOT NULL,
  series_id bigint NOT NULL,
  agent_id text NOT NULL,
  attempts bigint NOT NULL,
  succeeded bigint NOT NULL,
  failed bigint NOT NULL,
  timed_out bigint NOT NULL,
  refused bigint NOT NULL,
  killed bigint NOT NULL,
  over_budget bigint NOT NULL,
  client_closed bigint NOT NULL,
  retries bigint NOT NULL,
  tokens_input bigint NOT NULL,
  tokens_output bigint NOT NULL,
  tokens_cache_read bigint NOT NULL,
  tokens_cache_write bigint NOT NULL,
  tokens_reasoning bigint NOT NULL,
  cost_nanousd bigint NOT NULL,
  estimated_nanousd bigint NOT NULL,
  notional_nanousd bigint NOT NULL,
  -- How long attempts took that succeeded, in microseconds.
  success_us bigint NOT NULL,
  PRIMARY KEY (project_id, bucket, series_id, agent_id)
);
CREATE TABLE attempt_rollups_1h (LIKE attempt_rollups_1m INCLUDING ALL);
CREATE TABLE attempt_rollups_1d (LIKE attempt_rollups_1m INCLUDING ALL);

-- How long attempts took that succeeded: histograms, a row a bin. Not by agent: these would be six times as many rows.
CREATE TABLE attempt_latency_1m (
  project_id text NOT NULL,
  bucket timestamptz NOT NULL,
  series_id bigint NOT NULL,
  bin smallint NOT NULL,
  attempts bigint NOT NULL,
  PRIMARY KEY (project_id, bucket, series_id, bin)
);
CREATE TABLE attempt_latency_1h (LIKE attempt_latency_1m INCLUDING ALL);
CREATE TABLE attempt_latency_1d (LIKE attempt_latency_1m INCLUDING ALL);

-- Events by project and level.
CREATE TABLE event_rollups_1m (
  project_id text NOT NULL,
  bucket timestamptz NOT NULL,
  level text NOT NULL,
  events bigint NOT NULL,
  PRIMARY KEY (project_id, bucket, level)
);
CREATE TABLE event_rollups_1h (LIKE event_rollups_1m INCLUDING ALL);
CREATE TABLE event_rollups_1d (LIKE event_rollups_1m INCLUDING ALL);

-- What a run's attempts and events come to.
CREATE TABLE run_totals (
  run_id text PRIMARY KEY,
  project_id text NOT NULL,
  attempts bigint NOT NULL DEFAULT 0,
  refused bigint NOT NULL DEFAULT 0,
  retries bigint NOT NULL DEFAULT 0,
  events bigint NOT NULL DEFAULT 0,
  tokens_input bigint NOT NULL DEFAULT 0,
  tokens_output bigint NOT NULL DEFAULT 0,
  tokens_cache_read bigint NOT NULL DEFAULT 0,
  tokens_cache_write bigint NOT NULL DEFAULT 0,
  tokens_reasoning bigint NOT NULL DEFAULT 0,
  cost_nanousd bigint NOT NULL DEFAULT 0,
  estimated_nanousd bigint NOT NULL DEFAULT 0,
  notional_nanousd bigint NOT NULL DEFAULT 0,
  -- The model that was asked for, where a provider was called; empty is none, '*' several.
  model text NOT NULL DEFAULT '',
  -- What it contributes to the leaderboard may have changed (decision 0024). Set by whoever changes it, in that transaction.
  recount boolean NOT NULL DEFAULT false
);
CREATE INDEX run_totals_recount ON run_totals (run_id) WHERE recount;
