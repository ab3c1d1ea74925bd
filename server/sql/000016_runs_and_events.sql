-- What agents tell of their work (decision 0023).

ALTER TABLE runs
  -- Of the journal, or the caller's own name of a task.
  ADD COLUMN task_id text,
  -- The digest of a registered version of the workflow's prompt.
  ADD COLUMN prompt_version text,
  -- How many further upstream attempts a call may make; null is as many as the gate allows.
  ADD COLUMN max_retries integer CHECK (max_retries >= 0),
  -- Why it failed, in the words of who finished it.
  ADD COLUMN error text NOT NULL DEFAULT '',
  -- What it had used when it was finished: who finishes it again is told the same.
  ADD COLUMN finish_totals jsonb;

-- One for each combination of filters that a list of runs offers (run/list-filter.ts). They are read backwards, by all of
-- their columns.
DROP INDEX runs_list, runs_by_agent, runs_by_workflow;
CREATE INDEX runs_list ON runs (project_id, id);
CREATE INDEX runs_list_by_agent ON runs (agent_id, id);
CREATE INDEX runs_list_by_workflow ON runs (project_id, workflow, id);
CREATE INDEX runs_list_by_state ON runs (project_id, state, id);
CREATE INDEX runs_list_by_workflow_state ON runs (project_id, workflow, state, id);
CREATE INDEX runs_list_by_version ON runs (project_id, workflow, prompt_version, id) WHERE prompt_version IS NOT NULL;
CREATE INDEX runs_list_by_task ON runs (project_id, task_id, id) WHERE task_id IS NOT NULL;
CREATE INDEX runs_list_by_agent_workflow ON runs (agent_id, workflow, id);
CREATE INDEX runs_list_by_agent_state ON runs (agent_id, state, id);
CREATE INDEX runs_list_by_agent_task ON runs (agent_id, task_id, id) WHERE task_id IS NOT NULL;

CREATE TABLE run_events (
  -- Made of the time it occurred and, where the agent named it, of that name: told twice, it is one.
  id text COLLATE "C" NOT NULL,
  project_id text NOT NULL,
  agent_id text NOT NULL,
  run_id text NOT NULL,
  type text NOT NULL,
  level text NOT NULL CHECK (level IN ('info', 'warn', 'error')),
  message text NOT NULL,
  -- A JSON object, byte by byte as it was told; it was parsed then. Nothing here looks into it.
  data text,
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  -- Which transaction wrote it (decision 0022).
  tx_id bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint)
) PARTITION BY RANGE (id);
CREATE TABLE run_events_default PARTITION OF run_events DEFAULT;
-- An id is made of its run, so that this finds a run's events and tells those apart that were told twice.
CREATE UNIQUE INDEX run_events_of_run ON run_events (run_id, id);
-- What is new since the last look, of runs that are watched, or of all.
CREATE INDEX run_events_told ON run_events (tx_id, run_id);

-- What agents report of calls that did not pass the gate.
ALTER TABLE provisional_attempts
  -- The agent's own name of the call that it is an attempt of.
  ADD COLUMN call_id text,
  ADD COLUMN attempt_number integer NOT NULL DEFAULT 1 CHECK (attempt_number >= 1),
  -- The run's, when it was told.
  ADD COLUMN prompt_version text;
UPDATE provisional_attempts SET call_id = client_id;
ALTER TABLE provisional_attempts ALTER COLUMN call_id SET NOT NULL;
CREATE UNIQUE INDEX provisional_attempts_numbers
  ON provisional_attempts (agent_id, coalesce(run_id, ''), call_id, attempt_number);
DROP INDEX provisional_attempts_list;
CREATE INDEX provisional_attempts_list ON provisional_attempts (project_id, id);
CREATE INDEX provisional_attempts_by_agent ON provisional_attempts (agent_id, id);
CREATE INDEX provisional_attempts_by_run ON provisional_attempts (run_id, id) WHERE run_id IS NOT NULL;
