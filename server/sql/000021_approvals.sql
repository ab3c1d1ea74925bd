-- Approvals (docs/decisions/0028-approvals.md).

CREATE TABLE approvals (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  kind text NOT NULL CHECK (kind IN ('tool_call', 'model_call', 'run_gate', 'policy_change', 'kill_release')),
  state text NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'approved', 'rejected', 'edited', 'expired', 'cancelled')),
  risk text NOT NULL CHECK (risk IN ('normal', 'high')),
  requester_kind text NOT NULL CHECK (requester_kind IN ('operator', 'agent', 'service')),
  requester_id text NOT NULL,
  requester_name text NOT NULL,
  requester_agent_id text REFERENCES agents,
  -- Who asked, or answered for the agent when it asked: they never decide.
  requester_person_id text REFERENCES people,
  -- With which key: when that is revoked, the request has no ground any more.
  requester_key_id text REFERENCES api_keys,
  run_id text REFERENCES runs,
  action text NOT NULL,
  -- Canonical JSON (RFC 8785), byte by byte as its digest was taken: not jsonb, which would change it.
  what text NOT NULL,
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  -- After an edit: what stands to be approved instead, or was.
  edited_what text,
  edited_digest bytea CHECK (octet_length(edited_digest) = 32),
  summary text NOT NULL,
  diff text,
  rule_name text,
  rule_digest bytea,
  -- Who may decide now: those of the request and of each step of the ladder that was taken.
  groups text[] NOT NULL CHECK (cardinality(groups) > 0),
  quorum int NOT NULL CHECK (quorum >= 1),
  -- [{"after_ms": 1, "groups": ["role:admin"]}], in order.
  ladder jsonb NOT NULL DEFAULT '[]',
  rung int NOT NULL DEFAULT 0,
  next_rung_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  -- How long after the decision it may be used.
  use_ms bigint NOT NULL CHECK (use_ms > 0),
  ended_at timestamptz,
  -- The person whose vote decided; of a cancellation, who asked for it or null for the system.
  decided_by text,
  decided_via text CHECK (decided_via IN ('session', 'key', 'link')),
  reason text NOT NULL DEFAULT '',
  -- What a person answered instead of letting it run.
  response text,
  used_at timestamptz,
  CHECK ((state = 'pending') = (ended_at IS NULL)),
  CHECK ((edited_what IS NULL) = (edited_digest IS NULL)),
  CHECK (state <> 'edited' OR edited_digest IS NOT NULL),
  CHECK (used_at IS NULL OR state IN ('approved', 'edited'))
);
-- One of each that is pending: what is asked again attaches.
CREATE UNIQUE INDEX approvals_pending ON approvals (project_id, kind, digest) WHERE state = 'pending';
CREATE INDEX approvals_pending_by_requester ON approvals (project_id, requester_id) WHERE state = 'pending';
CREATE INDEX approvals_pending_list ON approvals (id) WHERE state = 'pending';
-- What was approved and may be used, and what was rejected a moment ago.
CREATE INDEX approvals_by_digest ON approvals (project_id, kind, digest, id);
CREATE INDEX approvals_list ON approvals (project_id, id);
CREATE INDEX approvals_list_by_state ON approvals (project_id, state, id);
CREATE INDEX approvals_list_by_requester ON approvals (project_id, requester_id, id);
CREATE INDEX approvals_list_by_requester_state ON approvals (project_id, requester_id, state, id);
CREATE INDEX approvals_by_run ON approvals (run_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX approvals_by_run_state ON approvals (run_id, state, id) WHERE run_id IS NOT NULL;
CREATE INDEX approvals_expiry ON approvals (expires_at) WHERE state = 'pending';
CREATE INDEX approvals_ladder ON approvals (next_rung_at) WHERE state = 'pending' AND next_rung_at IS NOT NULL;
CREATE INDEX approvals_purge ON approvals (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE approval_votes (
  approval_id text COLLATE "C" NOT NULL REFERENCES approvals ON DELETE CASCADE,
  person_id text NOT NULL REFERENCES people,
  -- What they saw and voted for.
  digest bytea NOT NULL,
  action text NOT NULL CHECK (action IN ('approve', 'edit', 'reject', 'respond')),
  via text NOT NULL CHECK (via IN ('session', 'key', 'link')),
  reason text NOT NULL DEFAULT '',
  -- From where.
  address text NOT NULL,
  voted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (approval_id, person_id, digest)
);

-- The same action, N times within T, without asking.
CREATE TABLE approval_grants (
  -- SHA-256 of project, kind, requester, run, action and, where only the same arguments are granted, the digest of the request.
  key bytea PRIMARY KEY,
  approval_id text COLLATE "C" NOT NULL REFERENCES approvals ON DELETE CASCADE,
  project_id text NOT NULL REFERENCES projects,
  agent_id text REFERENCES agents,
  run_id text REFERENCES runs,
  granted_by text NOT NULL REFERENCES people,
  rule_digest bytea,
  uses_left int NOT NULL CHECK (uses_left >= 0),
  expires_at timestamptz NOT NULL
);
CREATE INDEX approval_grants_by_approval ON approval_grants (approval_id);
CREATE INDEX approval_grants_by_run ON approval_grants (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX approval_grants_expiry ON approval_grants (expires_at);

-- Whom to tell: one for the request (step 0) and one for each step of the ladder that was taken.
CREATE TABLE approval_notices (
  approval_id text COLLATE "C" NOT NULL REFERENCES approvals ON DELETE CASCADE,
  rung int NOT NULL,
  groups text[] NOT NULL,
  tries int NOT NULL DEFAULT 0,
  due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (approval_id, rung)
);
CREATE INDEX approval_notices_due ON approval_notices (due_at);

-- When the person was last seen to authenticate, which may be long before a session begins, or not be known.
ALTER TABLE sessions ADD COLUMN authenticated_at timestamptz;
