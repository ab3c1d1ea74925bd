-- The ledger by days (decision 0016): one partition a day (UTC), so that old days go in one piece and reads touch the days
-- they ask for. Ids begin with the time they were made at (base/ids.ts), so a range of ids is a span of time, and one row an
-- attempt stays what an index enforces.

ALTER TABLE attempts RENAME TO attempts_before;
DROP INDEX attempts_id, attempts_list, attempts_started, attempts_by_run, attempts_by_agent;
ALTER TABLE attempts_before DROP CONSTRAINT attempts_pkey;
ALTER TABLE attempts_before ALTER COLUMN row_no DROP IDENTITY;
-- Byte order, in any database: ids are compared as their time is.
ALTER TABLE attempts_before ALTER COLUMN id TYPE text COLLATE "C";

CREATE TABLE attempts (LIKE attempts_before INCLUDING ALL) PARTITION BY RANGE (id);
ALTER TABLE attempts ALTER COLUMN row_no ADD GENERATED ALWAYS AS IDENTITY;
-- Ids of days that nobody made: of clocks that were absurd, or of a time when days were not made.
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

-- The least id of a day: its first millisecond as ten characters of base32, as base/ids.ts writes it.
CREATE FUNCTION ledger_day_start(day date) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN (
  SELECT 'att_' || string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> (5 * n)) & 31)::int + 1, 1), '' ORDER BY n DESC)
  FROM (SELECT (day - date '1970-01-01') * 86400000::bigint AS ms) AS start, generate_series(0, 9) AS n);

-- The day of an id; null for what newId did not make.
CREATE FUNCTION ledger_day_of(id text) RETURNS date
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN id COLLATE "C" ~ '^att_[0-7][0-9a-hjkmnp-tv-z]{25}$' THEN (
  SELECT date '1970-01-01'
    + div(sum((position(substr(id, 14 - n, 1) IN '0123456789abcdefghjkmnpqrstvwxyz') - 1)::bigint << (5 * n)), 86400000)::int
  FROM generate_series(0, 9) AS n) END;

CREATE FUNCTION ledger_day_table(day date) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
RETURN 'attempts_' || to_char(day, 'YYYYMMDD');

-- Makes one day, with its rows that lie in the default partition. Attached, not made as PARTITION OF, whose lock on the
-- ledger would stop all inserts.
CREATE FUNCTION ledger_add_day(day date) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  day_table constant text := public.ledger_day_table(day);
  first_id constant text := public.ledger_day_start(day);
  end_id constant text := public.ledger_day_start(day + 1);
BEGIN
  EXECUTE format(
    'CREATE TABLE public.%I (LIKE public.attempts INCLUDING ALL EXCLUDING IDENTITY EXCLUDING INDEXES)', day_table);
  EXECUTE format(
    'WITH moved AS (DELETE FROM public.attempts_default WHERE id >= %L AND id < %L RETURNING *)
     INSERT INTO public.%I SELECT * FROM moved',
    first_id, end_id, day_table);
  EXECUTE format(
    'ALTER TABLE public.attempts ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', day_table, first_id, end_id);
END $$;

-- Makes the days from yesterday to so many ahead, and those of rows that came when their day was not there; returns what it
-- made. The application's role may do no DDL: it may call this, and `ledger_drop_day`. Neither waits long for a lock, since
-- others wait behind it: then it fails (55P03), and is called again.
CREATE FUNCTION ledger_add_days(ahead int) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
  today constant date := (now() AT TIME ZONE 'UTC')::date;
  last_day constant date := today + least(greatest(ahead, 1), 60);
  missing date[];
  day date;
BEGIN
  PERFORM pg_advisory_xact_lock(7218430915720635);
  missing := ARRAY(
    -- From the first id of a day to the first of the next that has any, by the index.
    WITH RECURSIVE strays (id) AS (
      SELECT min(id) FROM public.attempts_default WHERE corrects IS NULL
      UNION ALL
      SELECT (SELECT min(d.id) FROM public.attempts_default d
              WHERE d.corrects IS NULL
                AND d.id >= coalesce(public.ledger_day_start(public.ledger_day_of(s.id) + 1), s.id || '!'))
      FROM strays s WHERE s.id < public.ledger_day_start(last_day + 1)
    )
    SELECT d FROM (
      SELECT today + n FROM generate_series(-1, last_day - today) AS n
      UNION
      SELECT public.ledger_day_of(id) FROM strays
    ) AS days (d)
    WHERE d <= last_day AND to_regclass('public.' || public.ledger_day_table(d)) IS NULL
    -- PostgreSQL's table of locks has room for so many; what is left is for the next call.
    ORDER BY d DESC LIMIT 200);
  IF cardinality(missing) = 0 THEN RETURN; END IF;
  -- An insert that has chosen the default partition while its day is being made would fail: where rows came that way,
  -- inserts wait for us. Readers of the default partition do in any case, for a moment.
  IF EXISTS (SELECT FROM public.attempts_default WHERE public.ledger_day_of(id) = ANY (missing)) THEN
    LOCK TABLE ONLY public.attempts IN SHARE ROW EXCLUSIVE MODE;
  END IF;
  LOCK TABLE ONLY public.attempts_default IN ACCESS EXCLUSIVE MODE;
  FOREACH day IN ARRAY missing LOOP
    PERFORM public.ledger_add_day(day);
    RETURN NEXT day;
  END LOOP;
END $$;

-- What was dropped, for good: only `ledger_drop_day` writes here. A day that rows came to later may be dropped again.
CREATE TABLE ledger_dropped_days (
  day date NOT NULL,
  dropped_at timestamptz NOT NULL DEFAULT now(),
  attempt_rows bigint NOT NULL,
  cost_nanousd bigint NOT NULL,
  dropped_by text NOT NULL DEFAULT session_user,
  PRIMARY KEY (day, dropped_at)
);

-- Drops one day, and leaves word of it in `ledger_dropped_days`; returns what it held, and no row when there is no such day,
-- or it has rows written within eight days: those of an absurd clock, or of a hold that can still be corrected, which is so
-- for a week. Whoever calls, what is younger than a week stays.
CREATE FUNCTION ledger_drop_day(day date) RETURNS TABLE (attempt_rows bigint, cost bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
  day_table constant text := public.ledger_day_table(day);
  written timestamptz;
BEGIN
  IF day IS NULL OR now() - (day + 1)::timestamp AT TIME ZONE 'UTC' < interval '7 days' THEN
    RAISE invalid_parameter_value USING MESSAGE = format('The ledger of %s is younger than a week: it stays.', day);
  END IF;
  PERFORM pg_advisory_xact_lock(7218430915720635);
  IF NOT EXISTS (
    SELECT FROM pg_inherits
    WHERE inhparent = 'public.attempts'::regclass AND inhrelid = to_regclass('public.' || day_table)
  ) THEN RETURN; END IF;
  -- Nobody writes to the day from here on, and who reads it does not mind: what is counted is what goes.
  EXECUTE format('LOCK TABLE ONLY public.%I IN SHARE MODE', day_table);
  EXECUTE format('SELECT count(*), coalesce(sum(cost_nanousd), 0)::bigint, max(recorded_at) FROM public.%I', day_table)
    INTO attempt_rows, cost, written;
  IF written > now() - interval '8 days' THEN RETURN; END IF;
  -- The ledger first, as readers do: one that has it already waits for nothing that we hold, and ends.
  LOCK TABLE ONLY public.attempts IN ACCESS EXCLUSIVE MODE;
  LOCK TABLE ONLY public.attempts_default IN ACCESS EXCLUSIVE MODE;
  EXECUTE format('DROP TABLE public.%I', day_table);
  INSERT INTO public.ledger_dropped_days VALUES (day, DEFAULT, attempt_rows, cost);
  RETURN NEXT;
END $$;

REVOKE ALL ON FUNCTION ledger_add_day(date), ledger_add_days(int), ledger_drop_day(date) FROM PUBLIC;

-- The rows that are there, by the days they started on; what these days do not hold, `ledger_add_days` will find.
SELECT ledger_add_day(day) FROM (
  SELECT DISTINCT (started_at AT TIME ZONE 'UTC')::date AS day FROM attempts_before ORDER BY day DESC LIMIT 200
) AS days;
INSERT INTO attempts OVERRIDING SYSTEM VALUE SELECT * FROM attempts_before;
SELECT setval(pg_get_serial_sequence('attempts', 'row_no'), coalesce(max(row_no), 0) + 1, false) FROM attempts_before;

-- Replicas of the release before write on while they are replaced: whoever could use the ledger can use this one.
DO $$
DECLARE given record;
BEGIN
  FOR given IN
    SELECT a.grantee::regrole AS role, a.privilege_type AS privilege
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
    WHERE c.oid = 'attempts_before'::regclass AND a.grantee NOT IN (0, c.relowner)
  LOOP
    EXECUTE format('GRANT %s ON attempts TO %s', given.privilege, given.role);
  END LOOP;
END $$;
DROP TABLE attempts_before;

-- One row an attempt; corrections stand apart.
CREATE UNIQUE INDEX attempts_id ON attempts (id) WHERE corrects IS NULL;
CREATE INDEX attempts_corrections ON attempts (id) WHERE corrects IS NOT NULL;
CREATE INDEX attempts_list ON attempts (project_id, id, row_no);
CREATE INDEX attempts_by_run ON attempts (run_id, id, row_no) WHERE run_id IS NOT NULL;
CREATE INDEX attempts_by_agent ON attempts (agent_id, id, row_no) WHERE agent_id IS NOT NULL;

-- The rest is for the first process that starts.
SELECT ledger_add_days(2);

-- Holds that ended and stay for a while (decision 0014), for whoever purges them.
CREATE INDEX holds_ended ON holds (ended_at) WHERE ended_at IS NOT NULL;
