-- Which prompt is better (decision 0024).

CREATE TABLE prompt_versions (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  workflow text NOT NULL,
  -- SHA-256 of its content, in hex.
  digest text NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
  -- Never of the form of a digest: both name a version.
  label text NOT NULL CHECK (label !~* '^[0-9a-f]{64}$'),
  -- Whether somebody who may publish gave the label, or confirmed it: of others strangers see eight digits of the digest.
  label_confirmed boolean NOT NULL DEFAULT false,
  notes text NOT NULL DEFAULT '',
  registered_by text NOT NULL,
  registered_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (project_id, workflow, digest),
  UNIQUE (project_id, workflow, label)
);
-- In lower case no two are the same either.
CREATE UNIQUE INDEX prompt_versions_names ON prompt_versions (project_id, workflow, lower(label));
CREATE INDEX prompt_versions_list ON prompt_versions (project_id, id);
CREATE INDEX prompt_versions_by_workflow ON prompt_versions (project_id, workflow, id);

-- One rating a person, or principal that is nobody's, and run; the last holds.
CREATE TABLE run_ratings (
  run_id text NOT NULL REFERENCES runs,
  project_id text NOT NULL,
  rated_by text COLLATE "C" NOT NULL,
  rating smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
  comment text NOT NULL,
  rated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (run_id, rated_by)
);

-- One score an evaluator and run; the last holds.
CREATE TABLE run_evaluations (
  run_id text NOT NULL REFERENCES runs,
  project_id text NOT NULL,
  evaluator text COLLATE "C" NOT NULL,
  -- Millionths: sums are exact.
  score_ppm integer NOT NULL CHECK (score_ppm BETWEEN 0 AND 1000000),
  notes text NOT NULL,
  recorded_by text NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (run_id, evaluator)
);

-- The models that the runs of a workflow are told apart by: the first ones. What a run asks for is a caller's word.
CREATE TABLE counted_models (
  project_id text NOT NULL,
  workflow text NOT NULL,
  model text NOT NULL,
  PRIMARY KEY (project_id, workflow, model)
);

-- What of a run is counted in `version_days`.
CREATE TABLE counted_runs (
  run_id text COLLATE "C" PRIMARY KEY REFERENCES runs,
  project_id text NOT NULL,
  workflow text NOT NULL,
  -- Empty where the run named none.
  prompt_version text NOT NULL,
  -- Empty where it called none, '*' several, or one that runs are not told apart by.
  model text NOT NULL,
  task_id text,
  -- UTC, of its end.
  day date NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('succeeded', 'failed', 'cancelled')),
  cost_nanousd bigint NOT NULL,
  duration_bin smallint NOT NULL,
  -- The means of its ratings and of its evaluations, in millionths: however many somebody gives, it is one run.
  rating_ppm bigint,
  evaluation_ppm bigint
);
CREATE INDEX counted_runs_by_version ON counted_runs (project_id, workflow, prompt_version, day, run_id);

CREATE TABLE version_days (
  project_id text NOT NULL,
  workflow text NOT NULL,
  prompt_version text NOT NULL,
  model text NOT NULL,
  day date NOT NULL,
  succeeded bigint NOT NULL,
  failed bigint NOT NULL,
  cancelled bigint NOT NULL,
  cost_nanousd bigint NOT NULL,
  -- Of the runs that succeeded.
  succeeded_nanousd bigint NOT NULL,
  -- Squares are for intervals of means.
  cost_squares numeric NOT NULL,
  -- Runs that were rated, and what the means of their ratings add up to, in millionths. Of evaluations likewise.
  ratings bigint NOT NULL,
  rating_ppm bigint NOT NULL,
  rating_squares numeric NOT NULL,
  evaluations bigint NOT NULL,
  evaluation_ppm bigint NOT NULL,
  evaluation_squares numeric NOT NULL,
  PRIMARY KEY (project_id, workflow, day, prompt_version, model)
);

-- How long runs took that succeeded: histograms, a row a bin.
CREATE TABLE version_durations (
  project_id text NOT NULL,
  workflow text NOT NULL,
  prompt_version text NOT NULL,
  model text NOT NULL,
  day date NOT NULL,
  bin smallint NOT NULL,
  runs bigint NOT NULL,
  PRIMARY KEY (project_id, workflow, day, prompt_version, model, bin)
);

-- What strangers may see on the public leaderboard.
CREATE TABLE published_workflows (
  project_id text NOT NULL REFERENCES projects,
  workflow text NOT NULL,
  title text NOT NULL,
  published_by text NOT NULL,
  published_at timestamptz NOT NULL DEFAULT now(),
  -- Since when it is not public any more.
  unpublished_at timestamptz,
  control_version bigint NOT NULL,
  PRIMARY KEY (project_id, workflow)
);
CREATE INDEX published_workflows_control ON published_workflows (control_version);
CREATE UNIQUE INDEX published_workflows_titles ON published_workflows (lower(title)) WHERE unpublished_at IS NULL;

-- How far a workflow's days were released to strangers: the last day, and the first that is not folded.
CREATE TABLE public_counts (
  project_id text NOT NULL,
  workflow text NOT NULL,
  from_day date NOT NULL,
  to_day date NOT NULL,
  PRIMARY KEY (project_id, workflow)
);

-- What was released of a version at the end of a day, and never changes: all that was counted by then and not released
-- before. Of runs, cancelled ones, ratings and evaluations each that is at least five, or nothing (all its columns are 0).
-- Steps that left the window are folded into a row of the day -infinity: they, less what was counted of the days before it.
CREATE TABLE public_steps (
  project_id text NOT NULL,
  workflow text NOT NULL,
  prompt_version text NOT NULL,
  day date NOT NULL,
  succeeded bigint NOT NULL,
  failed bigint NOT NULL,
  cancelled bigint NOT NULL,
  cost_nanousd bigint NOT NULL,
  succeeded_nanousd bigint NOT NULL,
  cost_squares numeric NOT NULL,
  ratings bigint NOT NULL,
  rating_ppm bigint NOT NULL,
  rating_squares numeric NOT NULL,
  evaluations bigint NOT NULL,
  evaluation_ppm bigint NOT NULL,
  evaluation_squares numeric NOT NULL,
  CHECK (day = '-infinity' OR succeeded + failed >= 5 OR (succeeded + failed = 0 AND cost_nanousd = 0)),
  CHECK (day = '-infinity' OR cancelled >= 5 OR cancelled = 0),
  CHECK (day = '-infinity' OR ratings >= 5 OR (ratings = 0 AND rating_ppm = 0)),
  CHECK (day = '-infinity' OR evaluations >= 5 OR (evaluations = 0 AND evaluation_ppm = 0)),
  PRIMARY KEY (project_id, workflow, day, prompt_version)
);

-- The same of how long runs took that succeeded: of each version and day five, or none; folded ones may be fewer than none.
CREATE TABLE public_durations (
  project_id text NOT NULL,
  workflow text NOT NULL,
  prompt_version text NOT NULL,
  day date NOT NULL,
  bin smallint NOT NULL,
  runs bigint NOT NULL,
  PRIMARY KEY (project_id, workflow, day, prompt_version, bin)
);
