-- The days of `run_events` and `benchmarks` (decision 0023), as those of the ledger are made and dropped (0016). What is said
-- there of locks and of what stays holds here.

-- Events are found by run or by id; this is for questions of a time across runs, in SQL, and costs next to nothing: rows come
-- nearly in this order.
CREATE INDEX run_events_occurred ON run_events USING brin (occurred_at);

-- By it rows are found whose day was not there, however many lie beside them.
CREATE INDEX attempts_default_ids ON attempts_default (id);
CREATE INDEX run_events_default_ids ON run_events_default (id);
CREATE INDEX benchmarks_default_ids ON benchmarks_default (id);

-- What the ids of a table begin with (base/ids.ts); null where it does not lie in days.
CREATE FUNCTION telemetry_prefix(of text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN CASE of WHEN 'attempts' THEN 'att_' WHEN 'run_events' THEN 'evt_' WHEN 'benchmarks' THEN 'bmk_' END;

-- Refuses what is not telemetry: the ledger has functions of its own (0016).
CREATE FUNCTION telemetry_require(of text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF public.telemetry_prefix(of) IS NULL OR of = 'attempts' THEN
    RAISE invalid_parameter_value USING MESSAGE = format('%s does not lie in days.', of);
  END IF;
END $$;

-- The least id of a day.
CREATE FUNCTION telemetry_day_start(of text, day date) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN public.telemetry_prefix(of) || substr(public.ledger_day_start(day), 5);

-- The day of an id; null for what newId did not make.
CREATE FUNCTION telemetry_day_of(id text) RETURNS date
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN public.ledger_day_of('att_' || substr(id, 5));

CREATE FUNCTION telemetry_day_table(of text, day date) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN of || to_char(day, '_YYYYMMDD');

-- Makes one day, with its rows that lie in the default partition. Nobody may write to it but through the whole, whatever the
-- owner's default privileges are; who may read it, such as a role for backups, goes on.
CREATE FUNCTION telemetry_add_day(of text, day date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  day_table constant text := public.telemetry_day_table(of, day);
  first_id constant text := public.telemetry_day_start(of, day);
  end_id constant text := public.telemetry_day_start(of, day + 1);
  given record;
BEGIN
  EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES)', day_table, of);
  FOR given IN
    SELECT a.privilege_type AS privilege, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS role
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
    WHERE c.oid = to_regclass('public.' || day_table) AND a.grantee <> c.relowner AND a.privilege_type <> 'SELECT'
  LOOP
    EXECUTE format('REVOKE %s ON public.%I FROM %s', given.privilege, day_table, given.role);
  END LOOP;
  EXECUTE format(
    'WITH moved AS (DELETE FROM public.%I WHERE id >= %L AND id < %L RETURNING *) INSERT INTO public.%I SELECT * FROM moved',
    of || '_default', first_id, end_id, day_table);
  EXECUTE format(
    'ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', of, day_table, first_id, end_id);
END $$;

-- The days from yesterday to so many ahead that are not there. Where none is missing: of those whose rows came when their day
-- was not there, the newest. While its rows move, inserts wait for them; one of which there are too many is in nobody's way.
CREATE FUNCTION telemetry_missing_days(of text, ahead int, OUT days date[], OUT has_rows boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  today constant date := (now() AT TIME ZONE 'UTC')::date;
  last_day constant date := today + least(greatest(ahead, 1), 60);
  strays date[];
BEGIN
  -- From the first id of a day to the first of the next that has any, by the index.
  EXECUTE format(
    'WITH RECURSIVE strays (id) AS (
       SELECT min(id) FROM public.%1$I
       UNION ALL
       SELECT (SELECT min(d.id) FROM public.%1$I d
               WHERE d.id >= greatest(public.telemetry_day_start(%2$L, public.telemetry_day_of(s.id) + 1), s.id || ''!''))
       FROM strays s WHERE s.id < public.telemetry_day_start(%2$L, $1 + 1)
     )
     SELECT coalesce(array_agg(d ORDER BY d DESC), ''{}'') FROM (SELECT DISTINCT public.telemetry_day_of(id) FROM strays) AS days (d)
     WHERE d <= $1 AND to_regclass(''public.'' || public.telemetry_day_table(%2$L, d)) IS NULL',
    of || '_default', of) INTO strays USING last_day;
  days := ARRAY(
    SELECT d FROM (SELECT today + n FROM generate_series(-1, last_day - today) AS n) AS ahead_of (d)
    WHERE to_regclass('public.' || public.telemetry_day_table(of, d)) IS NULL AND d <> ALL (strays) ORDER BY d DESC);
  has_rows := cardinality(days) = 0 AND cardinality(strays) > 0;
  IF has_rows THEN days := strays[1:1]; END IF;
END $$;

-- Makes what is missing, as `ledger_add_days` and `telemetry_add_days` bound it; returns what it made. Called until it makes
-- nothing.
CREATE FUNCTION telemetry_add_missing_days(of text, ahead int) RETURNS SETOF date
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  missing record;
  day date;
BEGIN
  missing := public.telemetry_missing_days(of, ahead);
  IF cardinality(missing.days) = 0 THEN RETURN; END IF;
  -- An insert that has chosen the default partition while its day is being made would fail: where rows came that way,
  -- inserts wait for us. Readers of the default partition do in any case, for a moment.
  IF missing.has_rows THEN EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE ROW EXCLUSIVE MODE', of); END IF;
  EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', of || '_default');
  FOREACH day IN ARRAY missing.days LOOP
    PERFORM public.telemetry_add_day(of, day);
    RETURN NEXT day;
  END LOOP;
END $$;

-- Waits shortly for locks, then fails (55P03), and is called again.
CREATE FUNCTION telemetry_add_days(of text, ahead int) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
BEGIN
  PERFORM public.telemetry_require(of);
  PERFORM pg_advisory_xact_lock(7218430915720636);
  RETURN QUERY SELECT * FROM public.telemetry_add_missing_days(of, ahead);
END $$;

-- The ledger's days are made as these are.
CREATE OR REPLACE FUNCTION ledger_add_day(day date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM public.telemetry_add_day('attempts', day);
END $$;

CREATE OR REPLACE FUNCTION ledger_add_days(ahead int) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(7218430915720635);
  RETURN QUERY SELECT * FROM public.telemetry_add_missing_days('attempts', ahead);
END $$;

-- The days that are there, with what each takes on disk, indexes included.
CREATE FUNCTION telemetry_days(of text) RETURNS TABLE (day date, bytes bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT to_date(right(c.relname, 8), 'YYYYMMDD'), coalesce(pg_total_relation_size(c.oid), 0)
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = to_regclass('public.' || of) AND c.relname ~ ('^' || of || '_[0-9]{8}$') ORDER BY 1
$$;

-- What was dropped, for good: only `telemetry_drop_day` writes here.
CREATE TABLE telemetry_dropped_days (
  table_name text NOT NULL,
  day date NOT NULL,
  dropped_at timestamptz NOT NULL DEFAULT now(),
  row_count bigint NOT NULL,
  dropped_by text NOT NULL DEFAULT session_user,
  PRIMARY KEY (table_name, day, dropped_at)
);

-- What must be known of a day before it may go: how much it has, when it was last written, and its last transaction, where
-- its rows are rolled up.
CREATE FUNCTION telemetry_measure(of text, day_table regclass, OUT row_count bigint, OUT written timestamptz, OUT last_tx bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- Nobody writes to the day from here on, and who reads it does not mind: what is counted is what goes.
  EXECUTE format('LOCK TABLE ONLY %s IN SHARE MODE', day_table);
  EXECUTE format('SELECT count(*), max(recorded_at), %s FROM %s',
    CASE of WHEN 'run_events' THEN 'max(tx_id)' ELSE 'NULL::bigint' END, day_table)
    INTO row_count, written, last_tx;
END $$;

-- Why a day stays: it was written within eight days, or it is not known that all of it is in the sums that outlive it (decision
-- 0022); null when it may go. `last_tx` is null where there is nothing to sum.
CREATE FUNCTION telemetry_day_stays(of text, written timestamptz, last_tx bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE
  WHEN written > now() - interval '8 days' THEN 'written lately'
  WHEN last_tx IS NOT NULL AND (last_tx < (SELECT w.tx_id FROM public.rollup_watermarks w WHERE w.source = of)) IS NOT TRUE
    THEN 'not yet summed' END;

-- Refuses a day that ended less than a week ago, and tables that do not lie in days. Returns whether nobody else drops that day
-- now: counting it may take minutes, which nobody shall wait for, nor do twice.
CREATE FUNCTION telemetry_begin_drop(of text, day date) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM public.telemetry_require(of);
  IF day IS NULL OR now() - (day + 1)::timestamp AT TIME ZONE 'UTC' < interval '7 days' THEN
    RAISE invalid_parameter_value USING MESSAGE = format('%s of %s are younger than a week: they stay.', of, day);
  END IF;
  RETURN pg_try_advisory_xact_lock(CASE of WHEN 'run_events' THEN 72184302 ELSE 72184303 END, day - date '2000-01-01');
END $$;

-- Drops one day, and leaves word of it in `telemetry_dropped_days`; returns what it held, and no row when there is no such day,
-- it stays, or somebody else drops it.
CREATE FUNCTION telemetry_drop_day(of text, day date) RETURNS TABLE (row_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
  day_table regclass;
  held record;
BEGIN
  IF NOT public.telemetry_begin_drop(of, day) THEN RETURN; END IF;
  SELECT inhrelid INTO day_table FROM pg_inherits
  WHERE inhparent = to_regclass('public.' || of)
    AND inhrelid = to_regclass('public.' || public.telemetry_day_table(of, day));
  IF day_table IS NULL THEN RETURN; END IF;
  held := public.telemetry_measure(of, day_table);
  IF public.telemetry_day_stays(of, held.written, held.last_tx) IS NOT NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(7218430915720636);
  -- The whole first, as readers do: one that has it already waits for nothing that we hold, and ends.
  EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', of);
  EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', of || '_default');
  EXECUTE format('DROP TABLE %s', day_table);
  row_count := held.row_count;
  INSERT INTO public.telemetry_dropped_days VALUES (of, day, DEFAULT, row_count);
  RETURN NEXT;
END $$;

-- The ledger's days too go only when they are in the sums that outlive them, and are counted while nobody waits.
CREATE OR REPLACE FUNCTION ledger_drop_day(day date) RETURNS TABLE (attempt_rows bigint, cost bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
  day_table constant text := public.ledger_day_table(day);
  written timestamptz;
  last_tx bigint;
BEGIN
  IF day IS NULL OR now() - (day + 1)::timestamp AT TIME ZONE 'UTC' < interval '7 days' THEN
    RAISE invalid_parameter_value USING MESSAGE = format('The ledger of %s is younger than a week: it stays.', day);
  END IF;
  IF NOT pg_try_advisory_xact_lock(72184301, day - date '2000-01-01') THEN RETURN; END IF;
  IF NOT EXISTS (
    SELECT FROM pg_inherits
    WHERE inhparent = 'public.attempts'::regclass AND inhrelid = to_regclass('public.' || day_table)
  ) THEN RETURN; END IF;
  EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE MODE', day_table);
  EXECUTE format(
    'SELECT count(*), coalesce(sum(cost_nanousd), 0)::bigint, max(recorded_at), max(tx_id) FROM public.%I', day_table)
    INTO attempt_rows, cost, written, last_tx;
  IF public.telemetry_day_stays('attempts', written, last_tx) IS NOT NULL THEN RETURN; END IF;
  PERFORM pg_advisory_xact_lock(7218430915720635);
  LOCK TABLE ONLY public.attempts IN ACCESS EXCLUSIVE MODE;
  LOCK TABLE ONLY public.attempts_default IN ACCESS EXCLUSIVE MODE;
  EXECUTE format('DROP TABLE public.%I', day_table);
  INSERT INTO public.ledger_dropped_days VALUES (day, DEFAULT, attempt_rows, cost);
  RETURN NEXT;
END $$;

REVOKE ALL ON FUNCTION telemetry_add_day(text, date), telemetry_missing_days(text, int), telemetry_add_missing_days(text, int),
  telemetry_add_days(text, int), telemetry_drop_day(text, date), telemetry_measure(text, regclass),
  telemetry_begin_drop(text, date) FROM PUBLIC;

-- The rest is for the first process that starts.
SELECT telemetry_add_days(of, 2) FROM unnest(ARRAY['run_events', 'benchmarks']) AS of;
