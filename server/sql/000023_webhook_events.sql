-- What other systems told us by webhooks (decision 0031). A row is written only for what its sender is proven to have sent.

CREATE TABLE webhook_events (
  id text COLLATE "C" NOT NULL,
  project_id text NOT NULL,
  -- By its name in the configuration.
  source text NOT NULL,
  -- What the sender calls it, where it signed that; empty is nothing.
  provider_event_id text NOT NULL DEFAULT '',
  -- What kind of event it says that it is; empty is unknown.
  type text NOT NULL DEFAULT '',
  -- The run that it was told of.
  run_id text,
  -- The callback by whose path it came.
  callback_id text,
  signature_status text NOT NULL CHECK (signature_status = 'valid'),
  content_type text NOT NULL DEFAULT '',
  -- Those that are on a list; none is a secret.
  headers jsonb NOT NULL,
  -- The bytes that were signed; where `sealed`, AES-256-GCM of them under a key that is derived from SECRETS_KEY, for this id.
  body bytea NOT NULL,
  body_bytes int NOT NULL,
  sealed boolean NOT NULL,
  state text NOT NULL CHECK (state IN ('pending', 'processed', 'kept', 'dead')),
  -- Tries since it was accepted, or was last replayed.
  attempts int NOT NULL DEFAULT 0,
  replays int NOT NULL DEFAULT 0,
  -- Why the last try failed, or why nothing was done.
  note text NOT NULL DEFAULT '',
  received_at timestamptz NOT NULL,
  finished_at timestamptz,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id),
  CHECK ((state = 'pending') = (finished_at IS NULL))
) PARTITION BY RANGE (id);
CREATE TABLE webhook_events_default PARTITION OF webhook_events DEFAULT;
-- One for each combination of filters that a list offers, read backwards.
CREATE INDEX webhook_events_list ON webhook_events (project_id, id);
CREATE INDEX webhook_events_by_source ON webhook_events (project_id, source, id);
CREATE INDEX webhook_events_by_state ON webhook_events (project_id, state, id);
CREATE INDEX webhook_events_by_source_state ON webhook_events (project_id, source, state, id);
CREATE INDEX webhook_events_by_run ON webhook_events (run_id, id) WHERE run_id IS NOT NULL;

-- By what an event is known again: digests of the id that its sender signed, and of all that it signed but the time. Written with
-- the event, never before its signature was verified: nobody but the sender can take a place here. They outlive the event's day.
CREATE TABLE webhook_event_keys (
  source text NOT NULL,
  key bytea NOT NULL CHECK (octet_length(key) = 32),
  event_id text COLLATE "C" NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, key)
);
CREATE INDEX webhook_event_keys_old ON webhook_event_keys (recorded_at);

-- What is still to be done of an event; a row goes in the transaction that does it.
CREATE TABLE webhook_event_jobs (
  event_id text COLLATE "C" PRIMARY KEY,
  -- Others must be asked first, who may be slow: such events wait for each other alone.
  asks boolean NOT NULL,
  -- While it is claimed, when the claim ends.
  due_at timestamptz NOT NULL DEFAULT now(),
  attempts int NOT NULL DEFAULT 0,
  claim uuid
);
CREATE INDEX webhook_event_jobs_due ON webhook_event_jobs (asks, due_at);

-- Paths for senders that cannot sign: one a job of theirs.
CREATE TABLE webhook_callbacks (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  source text NOT NULL,
  run_id text,
  -- SHA-256 of the last part of the path, which is nowhere else.
  token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
  -- The sender's own id of the job: given when it was made, or that of the first callback.
  job_id text,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL
);
CREATE INDEX webhook_callbacks_by_project ON webhook_callbacks (project_id, expires_at);
CREATE INDEX webhook_callbacks_old ON webhook_callbacks (expires_at);

-- What was refused, as counts: as many rows as there are sources, reasons and hours, whatever is sent. The source is empty for
-- names that are none.
CREATE TABLE webhook_refusals (
  source text NOT NULL,
  hour timestamptz NOT NULL,
  signature_status text NOT NULL CHECK (signature_status IN ('invalid', 'missing', 'stale', 'unknown_source')),
  reason text NOT NULL,
  refused bigint NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  -- Of the last of them.
  last_address text NOT NULL,
  PRIMARY KEY (hour, source, signature_status, reason)
);

-- The days of `webhook_events`: as those of telemetry, and in either layout.
CREATE OR REPLACE FUNCTION telemetry_prefix(of text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN CASE of
  WHEN 'attempts' THEN 'att_' WHEN 'run_events' THEN 'evt_' WHEN 'benchmarks' THEN 'bmk_' WHEN 'webhook_events' THEN 'inb_' END;

-- These have functions of their own, as the ledger has.
CREATE OR REPLACE FUNCTION telemetry_require(of text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF public.telemetry_prefix(of) IS NULL OR of IN ('attempts', 'webhook_events') THEN
    RAISE invalid_parameter_value USING MESSAGE = format('%s does not lie in days.', of);
  END IF;
END $$;

CREATE INDEX webhook_events_default_ids ON webhook_events_default (id);

CREATE FUNCTION webhook_add_days(ahead int) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7218430915720637);
  RETURN QUERY SELECT * FROM public.telemetry_add_missing_days('webhook_events', ahead);
END $$;

CREATE FUNCTION webhook_days() RETURNS TABLE (day date, bytes bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT to_date(right(c.relname, 8), 'YYYYMMDD'), coalesce(pg_total_relation_size(c.oid), 0)
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'public.webhook_events'::regclass AND c.relname ~ '^webhook_events_[0-9]{8}$' ORDER BY 1
$$;

-- Drops one day that ended a week ago or earlier, and leaves word of it; returns what it held, and no row when there is no such
-- day, it was written lately, or has an event that waits.
CREATE FUNCTION webhook_drop_day(day date) RETURNS TABLE (row_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
  day_table constant text := public.telemetry_day_table('webhook_events', day);
  stays boolean;
BEGIN
  IF day IS NULL OR now() - (day + 1)::timestamp AT TIME ZONE 'UTC' < interval '7 days' THEN
    RAISE invalid_parameter_value USING MESSAGE = format('webhook_events of %s are younger than a week: they stay.', day);
  END IF;
  IF NOT pg_try_advisory_xact_lock(72184304, day - date '2000-01-01') THEN RETURN; END IF;
  IF NOT EXISTS (
    SELECT FROM pg_inherits
    WHERE inhparent = 'public.webhook_events'::regclass AND inhrelid = to_regclass('public.' || day_table)
  ) THEN RETURN; END IF;
  EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE MODE', day_table);
  EXECUTE format(
    $q$SELECT count(*), coalesce(bool_or(recorded_at > now() - interval '7 days' OR state = 'pending'), false) FROM public.%I$q$,
    day_table) INTO row_count, stays;
  IF stays THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(7218430915720637);
  LOCK TABLE ONLY public.webhook_events IN ACCESS EXCLUSIVE MODE;
  LOCK TABLE ONLY public.webhook_events_default IN ACCESS EXCLUSIVE MODE;
  EXECUTE format('DROP TABLE public.%I', day_table);
  INSERT INTO public.telemetry_dropped_days VALUES ('webhook_events', day, DEFAULT, row_count);
  RETURN NEXT;
END $$;

REVOKE ALL ON FUNCTION webhook_add_days(int), webhook_drop_day(date) FROM PUBLIC;
SELECT webhook_add_days(2);
