-- `run_events` and `benchmarks` as hypertables, with a chunk a day (decision 0025). Runs right after the file of the same name,
-- on a database without data. The ledger stays as it is.

-- The time of an id. Texts and their times have one order, whatever the texts are: by it a range of ids leaves chunks out.
-- What newId did not make has the time of the least digits above it.
CREATE FUNCTION telemetry_time(prefix text, id text) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  digits constant text := '0123456789abcdefghjkmnpqrstvwxyz';
  digit text;
  ms bigint := 0;
BEGIN
  IF left(id, 4) COLLATE "C" < prefix THEN RETURN to_timestamp(0); END IF;
  IF left(id, 4) COLLATE "C" > prefix THEN RETURN to_timestamp(2::float8 ^ 50 / 1000); END IF;
  FOR nth IN 5..14 LOOP
    digit := substr(id, nth, 1);
    IF position(digit IN digits) = 0 THEN
      ms := ms * 32 + (SELECT count(*) FROM regexp_split_to_table(digits, '') AS d WHERE d COLLATE "C" < digit);
      ms := ms << (5 * (14 - nth));
      EXIT;
    END IF;
    ms := ms * 32 + position(digit IN digits) - 1;
  END LOOP;
  RETURN to_timestamp(ms / 1000.0);
END $$;

CREATE FUNCTION run_event_time(id text) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN telemetry_time('evt_', id);
CREATE FUNCTION benchmark_time(id text) RETURNS timestamptz LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN telemetry_time('bmk_', id);

-- The same columns and indexes, by the same names.
DO $$
DECLARE
  made record;
  indexes text[];
  index_sql text;
BEGIN
  FOR made IN SELECT * FROM (VALUES
    ('run_events', 'run_event_time', 'id, tx_id'),
    ('benchmarks', 'benchmark_time', 'id')) AS tables (name, time_of, sorted_by)
  LOOP
    indexes := ARRAY(SELECT replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') FROM pg_index
                     WHERE indrelid = made.name::regclass ORDER BY indexrelid);
    EXECUTE format('ALTER TABLE %I RENAME TO %I', made.name, made.name || '_before');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES)', made.name, made.name || '_before');
    EXECUTE format('DROP TABLE %I', made.name || '_before');
    PERFORM public.create_hypertable(made.name::regclass, 'id', chunk_time_interval => interval '1 day',
      time_partitioning_func => made.time_of::regproc, create_default_indexes => false);
    FOREACH index_sql IN ARRAY indexes LOOP EXECUTE index_sql; END LOOP;
    EXECUTE format($compress$ALTER TABLE %I SET (timescaledb.compress, timescaledb.compress_segmentby = 'project_id',
      timescaledb.compress_orderby = %L)$compress$, made.name, made.sorted_by);
  END LOOP;
END $$;

-- The chunks that are there; `loose` is one that has rows which are not compressed.
CREATE FUNCTION telemetry_chunks(of text) RETURNS TABLE (chunk regclass, day date, loose boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM (
    SELECT to_regclass(format('%I.%I', c.schema_name, c.table_name)),
           (to_timestamp(s.range_start / 1000000.0) AT TIME ZONE 'UTC')::date,
           c.status & 1 = 0 OR c.status & 8 <> 0
    FROM _timescaledb_catalog.hypertable h
    JOIN _timescaledb_catalog.chunk c ON c.hypertable_id = h.id
    JOIN _timescaledb_catalog.chunk_constraint k ON k.chunk_id = c.id
    JOIN _timescaledb_catalog.dimension_slice s ON s.id = k.dimension_slice_id
    WHERE h.schema_name = 'public' AND h.table_name = of) AS chunks (chunk, day, loose)
  WHERE chunk IS NOT NULL ORDER BY day
$$;

-- A hypertable makes its chunks as rows come.
CREATE OR REPLACE FUNCTION telemetry_add_days(of text, ahead int) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM public.telemetry_require(of);
END $$;

CREATE OR REPLACE FUNCTION telemetry_days(of text) RETURNS TABLE (day date, bytes bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.day, coalesce(s.total_bytes, 0)
  FROM public.telemetry_chunks(of) AS c
  LEFT JOIN public.chunks_detailed_size(to_regclass('public.' || of)) AS s
    ON to_regclass(format('%I.%I', s.chunk_schema, s.chunk_name)) = c.chunk
  WHERE public.telemetry_prefix(of) IS NOT NULL ORDER BY 1
$$;

CREATE OR REPLACE FUNCTION telemetry_drop_day(of text, day date) RETURNS TABLE (row_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '250ms' AS $$
DECLARE
  dropped regclass;
  held record;
BEGIN
  IF NOT public.telemetry_begin_drop(of, day) THEN RETURN; END IF;
  SELECT c.chunk INTO dropped FROM public.telemetry_chunks(of) AS c WHERE c.day = telemetry_drop_day.day;
  IF dropped IS NULL THEN RETURN; END IF;
  held := public.telemetry_measure(of, dropped);
  IF public.telemetry_day_stays(of, held.written, held.last_tx) IS NOT NULL THEN RETURN; END IF;
  EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', of);
  EXECUTE format('DROP TABLE %s', dropped);
  row_count := held.row_count;
  INSERT INTO public.telemetry_dropped_days VALUES (of, day, DEFAULT, row_count);
  RETURN NEXT;
END $$;

-- Compresses, one by one, chunks of days that ended so long ago. TimescaleDB's own policy does not know columns whose time a
-- function tells.
CREATE PROCEDURE telemetry_compress(job_id int, config jsonb) LANGUAGE plpgsql AS $$
DECLARE
  loose_chunk regclass;
BEGIN
  FOR loose_chunk IN
    SELECT c.chunk FROM public.telemetry_chunks(config ->> 'table') AS c
    WHERE c.loose AND c.day < (now() AT TIME ZONE 'UTC')::date - (config ->> 'after_days')::int
  LOOP
    PERFORM public.compress_chunk(loose_chunk);
    COMMIT;
  END LOOP;
END $$;
REVOKE ALL ON PROCEDURE telemetry_compress(int, jsonb) FROM PUBLIC;

SELECT public.add_job('public.telemetry_compress', '1 hour', config => jsonb_build_object('table', of, 'after_days', after_days))
FROM (VALUES ('run_events', 7), ('benchmarks', 14)) AS kept (of, after_days);

-- A dump brings compressed chunks, in which all numbers of transactions may have to change.
ALTER FUNCTION tx_renumber() SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0;
