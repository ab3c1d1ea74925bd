-- More scopes, drills, acknowledgements, two-person release (decision 0021).

ALTER TABLE kill_switches
  DROP CONSTRAINT kill_switches_scope_check,
  ADD CONSTRAINT kill_switches_scope_check
    CHECK (scope IN ('everything', 'project', 'agent', 'key', 'run', 'workflow', 'provider', 'model')),
  -- A drill is released from its beginning, so that no code that asks what is engaged ever finds one.
  ADD COLUMN drill boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT kill_switches_drill_stops_nothing CHECK (NOT drill OR num_nulls(released_at, expires_at) = 0),
  -- Where two people release: who asked, and until when somebody else may confirm.
  ADD COLUMN release_asked_by text,
  ADD COLUMN release_person_id text REFERENCES people,
  ADD COLUMN release_until timestamptz,
  ADD CONSTRAINT kill_switches_release_asked CHECK (num_nulls(release_asked_by, release_person_id, release_until) IN (0, 3));

-- A switch for a workflow names one that a run had: found without reading all runs.
CREATE INDEX runs_by_workflow ON runs (project_id, workflow);

-- The key with which a key was made. Whoever releases a switch as a second person may use a key only where that person made
-- it themselves, by keys that they made themselves.
ALTER TABLE api_keys ADD COLUMN made_with_key_id text REFERENCES api_keys;

-- What each replica did when it applied a switch: the first time that it did.
CREATE TABLE kill_acknowledgements (
  kill_switch_id text NOT NULL REFERENCES kill_switches,
  instance_id text NOT NULL REFERENCES instances,
  -- From when nothing that matches went on there, by this database's clock; never earlier than it was.
  applied_at timestamptz NOT NULL,
  matched_calls int NOT NULL,
  matched_streams int NOT NULL,
  ended_calls int NOT NULL,
  PRIMARY KEY (kill_switch_id, instance_id)
);
CREATE INDEX kill_acknowledgements_applied ON kill_acknowledgements (applied_at);
