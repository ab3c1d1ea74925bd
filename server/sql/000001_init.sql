-- Portcullis schema, first version. Forward only: later changes are new files.
-- Ids are text with a prefix that says the kind (base/ids.ts); money is bigint nano-USD; time is timestamptz.
-- Rows that the data plane keeps in memory carry `control_version`: the version at which they last changed. Replicas
-- read what is newer than what they have (pg/control-feed.ts), so such rows are never deleted, only ended.

-- One row. Every control write increments it in its own transaction; the row lock makes versions follow commit order.
CREATE TABLE control_version (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  version bigint NOT NULL
);
INSERT INTO control_version (version) VALUES (1);

CREATE TABLE projects (
  id text PRIMARY KEY,
  name text NOT NULL UNIQUE,
  durability text NOT NULL DEFAULT 'strict' CHECK (durability IN ('strict')),
  created_at timestamptz NOT NULL DEFAULT now(),
  control_version bigint NOT NULL
);
CREATE INDEX projects_control ON projects (control_version);

CREATE TABLE people (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  email text NOT NULL,
  name text NOT NULL,
  roles text[] NOT NULL DEFAULT '{}',
  state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
  created_at timestamptz NOT NULL DEFAULT now(),
  control_version bigint NOT NULL,
  UNIQUE (project_id, email)
);
CREATE INDEX people_control ON people (control_version);

CREATE TABLE agents (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  -- The person who answers for this agent; disabling the person stops the agent's keys.
  person_id text REFERENCES people,
  -- The identity under which an issuer knows this agent, for access tokens.
  issuer text,
  subject text,
  state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  control_version bigint NOT NULL,
  UNIQUE (project_id, name),
  UNIQUE (project_id, issuer, subject),
  CHECK ((issuer IS NULL) = (subject IS NULL))
);
CREATE INDEX agents_control ON agents (control_version);

CREATE TABLE api_keys (
  -- The 12 characters in the key itself.
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  agent_id text REFERENCES agents,
  person_id text REFERENCES people,
  kind text NOT NULL CHECK (kind IN ('operator', 'agent', 'service')),
  name text NOT NULL,
  -- HMAC-SHA-256 of the secret under the server's pepper; the secret itself is never stored.
  secret_hash bytea NOT NULL,
  scopes text[] NOT NULL DEFAULT '{}',
  models text[],
  cidrs text[],
  run_id text,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  expires_at timestamptz,
  revoked_at timestamptz,
  successor_id text REFERENCES api_keys,
  last_used_at timestamptz,
  control_version bigint NOT NULL,
  CHECK ((kind = 'agent') = (agent_id IS NOT NULL))
);
CREATE INDEX api_keys_control ON api_keys (control_version);
CREATE INDEX api_keys_list ON api_keys (project_id, created_at DESC, id DESC);
-- The keys that end with their run.
CREATE INDEX api_keys_by_run ON api_keys (run_id) WHERE run_id IS NOT NULL AND revoked_at IS NULL;

CREATE TABLE kill_switches (
  id text PRIMARY KEY,
  scope text NOT NULL CHECK (scope IN ('everything', 'project', 'agent', 'key', 'run', 'model')),
  value text NOT NULL DEFAULT '',
  project_id text REFERENCES projects,
  reason text NOT NULL,
  engaged_by text NOT NULL,
  engaged_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz,
  released_at timestamptz,
  released_by text,
  control_version bigint NOT NULL,
  CHECK ((scope = 'everything') = (project_id IS NULL))
);
CREATE INDEX kill_switches_control ON kill_switches (control_version);
CREATE UNIQUE INDEX kill_switches_engaged ON kill_switches (scope, value, coalesce(project_id, '')) WHERE released_at IS NULL;

CREATE TABLE runs (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  agent_id text NOT NULL REFERENCES agents,
  workflow text NOT NULL,
  state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled')),
  summary text NOT NULL DEFAULT '',
  started_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  control_version bigint NOT NULL,
  CHECK ((state = 'running') = (finished_at IS NULL))
);
CREATE INDEX runs_control ON runs (control_version);
CREATE INDEX runs_list ON runs (project_id, id DESC);
CREATE INDEX runs_by_agent ON runs (agent_id, id DESC);

CREATE TABLE budgets (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  name text NOT NULL,
  -- Selector: every column that is set must be equal; none set is the whole project.
  person_id text REFERENCES people,
  agent_id text REFERENCES agents,
  key_id text REFERENCES api_keys,
  workflow text,
  run_id text REFERENCES runs,
  provider_type text CHECK (provider_type IN ('api', 'subscription', 'opensource')),
  provider text,
  model text,
  unit text NOT NULL CHECK (unit IN ('usd', 'tokens', 'requests')),
  "window" text NOT NULL CHECK ("window" IN ('attempt', 'run', 'hour', 'day', 'month', 'lifetime')),
  time_zone text NOT NULL DEFAULT 'UTC',
  -- Null is no limit (it only counts), 0 denies.
  limit_amount bigint CHECK (limit_amount >= 0),
  mode text NOT NULL DEFAULT 'enforce' CHECK (mode IN ('enforce', 'dry_run')),
  deleted_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  control_version bigint NOT NULL
);
CREATE INDEX budgets_control ON budgets (control_version);
CREATE UNIQUE INDEX budgets_name ON budgets (project_id, name) WHERE deleted_at IS NULL;

-- What was spent and what is reserved, per budget and window. The window's name is part of the key, so that a reset
-- needs no sweeper and usage lands in the window of its hold.
CREATE TABLE budget_counters (
  budget_id text NOT NULL REFERENCES budgets,
  window_key text NOT NULL,
  held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
  posted bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (budget_id, window_key)
) WITH (fillfactor = 50);

-- The gate processes that may own holds. One that stops saying it lives has its holds posted at their worst case.
CREATE TABLE instances (
  id text PRIMARY KEY,
  started_at timestamptz NOT NULL DEFAULT now(),
  seen_at timestamptz NOT NULL DEFAULT now(),
  stopped_at timestamptz
);

-- Money reserved before the first upstream byte. A hold ends exactly once: settled, released or posted.
CREATE TABLE holds (
  -- The attempt's id: the request id that goes upstream.
  id text PRIMARY KEY,
  -- No foreign key: its check would lock the instance's row once for every call.
  instance_id text NOT NULL,
  state text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'settled', 'released', 'posted')),
  -- Parallel arrays: the counters that this hold stands on, and how much on each.
  budget_ids text[] NOT NULL,
  window_keys text[] NOT NULL,
  amounts bigint[] NOT NULL,
  -- The ledger row that a crash leaves to be written: the attempt at its worst case, by the columns of `attempts`.
  -- Emptied when the hold is settled or released.
  crash_row json NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  deadline_at timestamptz NOT NULL,
  ended_at timestamptz,
  -- When the truth arrived after the worst case had been posted; it is told once.
  corrected_at timestamptz CHECK (corrected_at IS NULL OR state = 'posted'),
  CHECK ((state = 'held') = (ended_at IS NULL))
);
CREATE INDEX holds_open ON holds (deadline_at) WHERE state = 'held';
CREATE INDEX holds_open_by_instance ON holds (instance_id) WHERE state = 'held';

-- The ledger: append only, one row per upstream attempt; corrections are new rows.
CREATE TABLE attempts (
  id text NOT NULL,
  row_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  request_id text NOT NULL,
  project_id text NOT NULL,
  agent_id text,
  person_id text,
  key_id text,
  run_id text,
  workflow text,
  client_session text,
  route text,
  provider text,
  model_asked text,
  model_served text,
  dialect_in text NOT NULL,
  dialect_out text,
  streamed boolean NOT NULL,
  price_version text,
  tokens_input bigint NOT NULL,
  tokens_output bigint NOT NULL,
  tokens_cache_read bigint NOT NULL,
  tokens_cache_write_5m bigint NOT NULL,
  tokens_cache_write_1h bigint NOT NULL,
  tokens_reasoning bigint NOT NULL,
  cost_nanousd bigint NOT NULL,
  provenance text NOT NULL CHECK (provenance IN ('estimated', 'measured', 'reconciled')),
  outcome text NOT NULL CHECK (outcome IN ('success', 'failed', 'timeout', 'refused', 'killed', 'budget', 'client_closed')),
  error_class text,
  rule text,
  started_at timestamptz NOT NULL,
  queue_ms double precision NOT NULL,
  connect_ms double precision,
  first_token_ms double precision,
  total_ms double precision NOT NULL,
  overrun boolean NOT NULL,
  corrects text,
  -- What dry-run budgets would have refused.
  shadow_verdicts jsonb
);
-- One row an attempt; corrections stand apart.
CREATE UNIQUE INDEX attempts_id ON attempts (id) WHERE corrects IS NULL;
CREATE INDEX attempts_list ON attempts (project_id, row_no DESC);
-- Rows arrive nearly in this order, so a range of days needs few pages, and an insert costs nothing.
CREATE INDEX attempts_started ON attempts USING brin (started_at);
CREATE INDEX attempts_by_run ON attempts (run_id, row_no DESC) WHERE run_id IS NOT NULL;
CREATE INDEX attempts_by_agent ON attempts (agent_id, row_no DESC) WHERE agent_id IS NOT NULL;

-- The audit log's entries. They are inserted unnumbered, in the transaction of the change; a sequencer numbers those
-- whose transaction id lies below pg_snapshot_xmin, so `xid` is stored with each.
CREATE TABLE audit_entries (
  id text PRIMARY KEY,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor_kind text NOT NULL CHECK (actor_kind IN ('operator', 'agent', 'service', 'system', 'unknown')),
  actor_id text NOT NULL,
  action text NOT NULL,
  target text NOT NULL,
  project_id text,
  request_id text,
  trace_id text,
  policy_version bigint,
  -- SHA-256 of salt and canonical payload: the payload can be erased and the proof stays.
  payload_digest bytea NOT NULL,
  salt bytea NOT NULL,
  payload jsonb,
  -- Filled by the sequencer alone.
  seq bigint UNIQUE
);
CREATE INDEX audit_entries_list ON audit_entries (project_id, at DESC, id DESC);
CREATE INDEX audit_entries_unsequenced ON audit_entries (xid) WHERE seq IS NULL;
