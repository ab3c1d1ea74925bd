-- What operators see of budgets: two more units, how durable a project's money is, and notices of what is nearly spent.

-- `relaxed` spends within leased slices (decision 0015).
ALTER TABLE projects DROP CONSTRAINT projects_durability_check;
ALTER TABLE projects ADD CONSTRAINT projects_durability_check CHECK (durability IN ('strict', 'relaxed'));

-- Calls in flight are only ever held, so a window that begins anew says nothing of them; how long an attempt may take is
-- measured by itself.
ALTER TABLE budgets DROP CONSTRAINT budgets_unit_check;
ALTER TABLE budgets ADD CONSTRAINT budgets_unit_check
  CHECK (unit IN ('usd', 'tokens', 'requests', 'concurrent_requests', 'latency_ms'));
ALTER TABLE budgets ADD CONSTRAINT budgets_unit_window CHECK (
  CASE unit
    WHEN 'concurrent_requests' THEN "window" IN ('run', 'lifetime')
    WHEN 'latency_ms' THEN "window" = 'attempt'
    ELSE true
  END
);

-- At what parts of the limit somebody is told. A budget without a counter reaches none.
ALTER TABLE budgets ADD COLUMN notify_percents smallint[] NOT NULL DEFAULT '{80,100}' CHECK (
  cardinality(notify_percents) <= 10 AND 1 <= ALL (notify_percents) AND 1000 >= ALL (notify_percents)
);
UPDATE budgets SET notify_percents = '{}' WHERE "window" = 'attempt';

-- Lists by project, and what a run of one agent must have left, in a project of very many budgets.
CREATE INDEX budgets_list ON budgets (project_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX budgets_of_run ON budgets (project_id, agent_id, workflow)
  WHERE deleted_at IS NULL AND coalesce(key_id, run_id, provider_type, provider, model) IS NULL;

-- Runs that are running (for ever, as far as is known) or ended lately: their counters still move.
CREATE INDEX runs_ended ON runs (coalesce(finished_at, 'infinity'));
CREATE INDEX budget_counters_of_runs ON budget_counters (window_key) WHERE window_key LIKE 'run\_%';

-- A row for each (budget, window, percent) that was reached: it is told once, by whichever process found it.
CREATE TABLE budget_notices (
  budget_id text NOT NULL REFERENCES budgets,
  window_key text NOT NULL,
  percent smallint NOT NULL,
  -- For lists: sorts by time.
  id text NOT NULL UNIQUE,
  project_id text NOT NULL,
  -- As they were then: limit and mode can be changed.
  posted bigint NOT NULL,
  limit_amount bigint NOT NULL,
  mode text NOT NULL CHECK (mode IN ('enforce', 'dry_run')),
  at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (budget_id, window_key, percent)
);
CREATE INDEX budget_notices_list ON budget_notices (project_id, id DESC);
