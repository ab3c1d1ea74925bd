-- The journal of a project (decision 0023).

CREATE TABLE tasks (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  title text NOT NULL,
  details text NOT NULL,
  status text NOT NULL CHECK (status IN ('todo', 'in_progress', 'done', 'blocked')),
  tags text[] NOT NULL,
  -- Counts its changes: what a change was made from.
  revision bigint NOT NULL DEFAULT 1,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX tasks_list ON tasks (project_id, id DESC);
CREATE INDEX tasks_by_status ON tasks (project_id, status, id);

CREATE TABLE notes (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  title text NOT NULL,
  body text NOT NULL,
  tags text[] NOT NULL,
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notes_list ON notes (project_id, id DESC);

CREATE TABLE changelog (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  category text NOT NULL CHECK (category IN ('platform', 'policy', 'model', 'infra', 'ops')),
  summary text NOT NULL,
  details text NOT NULL,
  -- Who appended it, by credential.
  actor_kind text NOT NULL,
  actor_id text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX changelog_list ON changelog (project_id, id DESC);
CREATE INDEX changelog_by_category ON changelog (project_id, category, id);

CREATE TABLE benchmarks (
  id text COLLATE "C" NOT NULL,
  project_id text NOT NULL,
  workflow text NOT NULL,
  provider_type text NOT NULL CHECK (provider_type IN ('api', 'subscription', 'opensource')),
  provider text NOT NULL,
  model text NOT NULL,
  tokens_input bigint NOT NULL CHECK (tokens_input >= 0),
  tokens_output bigint NOT NULL CHECK (tokens_output >= 0),
  cost_nanousd bigint NOT NULL CHECK (cost_nanousd >= 0),
  latency_ms double precision NOT NULL CHECK (latency_ms >= 0),
  -- 0 to 1; null is none.
  quality_score double precision CHECK (quality_score BETWEEN 0 AND 1),
  notes text NOT NULL,
  recorded_by text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (id);
CREATE TABLE benchmarks_default PARTITION OF benchmarks DEFAULT;
-- No index on the id alone: a list of a project would go through everybody's by it.
CREATE UNIQUE INDEX benchmarks_list ON benchmarks (project_id, id);
CREATE INDEX benchmarks_by_workflow ON benchmarks (project_id, workflow, id);

-- What a caller wrote into a journal on the day when it last did.
CREATE TABLE journal_quotas (
  project_id text NOT NULL REFERENCES projects,
  caller_id text NOT NULL,
  day date NOT NULL,
  writes integer NOT NULL,
  bytes bigint NOT NULL,
  PRIMARY KEY (project_id, caller_id)
);

-- For exports, which tell of released ones too.
CREATE INDEX kill_switches_list ON kill_switches (project_id, id);
