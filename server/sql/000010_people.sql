-- People, teams, roles and sessions (docs/decisions/0019-who-calls.md).

-- Teams end rather than vanish: budgets name them. They are in memory only as what people belong to, so that they
-- need no control version of their own.
CREATE TABLE teams (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  deleted_at timestamptz
);
CREATE UNIQUE INDEX teams_name ON teams (project_id, name) WHERE deleted_at IS NULL;

-- Null roles: nobody has said what the person may do, and their keys have the scopes that they were made with. Else their
-- keys and sessions have no more than the roles give, from the moment that these change.
ALTER TABLE people ALTER COLUMN roles DROP NOT NULL;
ALTER TABLE people ALTER COLUMN roles DROP DEFAULT;
UPDATE people SET roles = NULL;
ALTER TABLE people
  ADD CHECK (roles <@ ARRAY['admin', 'operator', 'approver', 'auditor', 'developer']),
  ADD COLUMN teams text[] NOT NULL DEFAULT '{}',
  -- Who the person is at the identity provider where they sign in.
  ADD COLUMN issuer text,
  ADD COLUMN subject text,
  ADD COLUMN last_sign_in_at timestamptz,
  ADD CHECK ((issuer IS NULL) = (subject IS NULL)),
  ADD UNIQUE (project_id, issuer, subject);

-- Who is signed in. Read anew for each request of a browser, so that one that ended has ended everywhere.
CREATE TABLE sessions (
  id text PRIMARY KEY,
  -- SHA-256 of what the cookie holds.
  digest bytea NOT NULL UNIQUE,
  project_id text NOT NULL REFERENCES projects,
  -- Whose it is: a person, or a key that is nobody's in particular.
  principal_id text NOT NULL,
  person_id text REFERENCES people,
  -- What it stands on: the person's roles, or the key that they signed in with, and not a moment longer than that holds.
  method text NOT NULL CHECK (method IN ('oidc', 'key')),
  key_id text REFERENCES api_keys,
  -- Of a key that stands in the configuration: tells whether it still does.
  credential_tag bytea,
  address text NOT NULL,
  user_agent text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  CHECK (CASE method WHEN 'oidc' THEN person_id IS NOT NULL AND num_nonnulls(key_id, credential_tag) = 0
                     ELSE num_nonnulls(key_id, credential_tag) = 1 END)
);
CREATE INDEX sessions_list ON sessions (project_id, id DESC) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_principal ON sessions (principal_id, id DESC) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_person ON sessions (person_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_purge ON sessions (least(ended_at, expires_at));

ALTER TABLE budgets ADD COLUMN team_id text REFERENCES teams;
