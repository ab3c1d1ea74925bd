-- Policy versions and the facts that rules saw (decision 0020).

-- What a project's policy said, version by version. Rows never change: what a version does now is in policy_state.
CREATE TABLE policy_versions (
  project_id text NOT NULL REFERENCES projects,
  version int NOT NULL CHECK (version > 0),
  document jsonb NOT NULL,
  -- SHA-256 of the document in canonical form (RFC 8785).
  digest bytea NOT NULL,
  -- For lists, which do not read documents.
  rule_count int NOT NULL,
  cap_count int NOT NULL,
  author_id text NOT NULL,
  author_name text NOT NULL,
  note text NOT NULL DEFAULT '',
  -- Where a rollback made it: the version whose document this is; 0 where there was none before.
  restored_version int,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (project_id, version)
);

-- How a project's policy stands; no row is no policy.
CREATE TABLE policy_state (
  project_id text PRIMARY KEY REFERENCES projects,
  in_force int,
  -- What was in force before: where a rollback goes that names no version.
  previous int,
  shadow int CHECK (shadow <> in_force),
  last_version int NOT NULL,
  -- Counts the changes: the etag that the next one must name.
  revision bigint NOT NULL,
  changed_by text NOT NULL,
  control_version bigint NOT NULL,
  FOREIGN KEY (project_id, in_force) REFERENCES policy_versions,
  FOREIGN KEY (project_id, shadow) REFERENCES policy_versions
);
CREATE INDEX policy_state_control ON policy_state (control_version);

-- A cap of the policy in force is a budget that nobody else changes.
ALTER TABLE budgets ADD COLUMN managed_by_policy boolean NOT NULL DEFAULT false;
CREATE INDEX budgets_of_policy ON budgets (project_id, name) WHERE managed_by_policy;

-- The facts that rules saw, for some days. No evidence (the ledger is that): what cannot be written in time is left out.
-- Facts are json, not jsonb: they may hold text that jsonb cannot, and are read whole.
CREATE TABLE policy_records (
  project_id text NOT NULL,
  -- Begins with the time of the call (base/ids.ts).
  id text COLLATE "C" NOT NULL,
  request_id text NOT NULL,
  facts json NOT NULL,
  -- The version that judged; null where there was none.
  version int,
  verdict text NOT NULL CHECK (verdict IN ('allow', 'deny', 'require_approval')),
  rule text,
  -- What the shadow rules and the version in shadow would have done, where that is another verdict.
  shadows json,
  PRIMARY KEY (project_id, id)
);
