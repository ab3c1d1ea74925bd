-- Device codes and logins of the command line (docs/decisions/0019-who-calls.md, "portcullis login").

-- What somebody's command line asked for (RFC 8628), until a person confirmed it and it was fetched. Kept a little longer
-- than it holds, so that whoever still asks is told why not.
CREATE TABLE device_codes (
  -- The id of the login that may come of it.
  id text PRIMARY KEY,
  -- SHA-256 of the device code, and a keyed digest of the code that people type.
  digest bytea NOT NULL UNIQUE,
  user_code_digest bytea NOT NULL UNIQUE,
  -- What the client calls itself, which may be anything, and where it asked from.
  client_name text NOT NULL,
  address text NOT NULL,
  address_prefix text NOT NULL,
  address_site text NOT NULL,
  -- What was asked for; null: all that the person has but admin. From the confirmation on what was confirmed.
  scopes text[],
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'approved', 'denied', 'used')),
  project_id text REFERENCES projects,
  person_id text REFERENCES people,
  interval_s int NOT NULL,
  polled_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  CHECK ((state = 'pending') = (person_id IS NULL)),
  CHECK ((person_id IS NULL) = (project_id IS NULL)),
  CHECK (person_id IS NULL OR scopes IS NOT NULL)
);
CREATE INDEX device_codes_pending ON device_codes (address_prefix) WHERE state = 'pending';
CREATE INDEX device_codes_pending_of_site ON device_codes (address_site) WHERE state = 'pending';
CREATE INDEX device_codes_approved ON device_codes (person_id) WHERE state = 'approved';
CREATE INDEX device_codes_expiry ON device_codes (expires_at);

-- Who is logged in at a command line. Refresh credentials and keys of a login follow from its seed, its generation and a
-- key of the server, so that nobody who reads this table has one.
CREATE TABLE logins (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  person_id text NOT NULL REFERENCES people,
  -- What the person confirmed; a key has of these what they may do when it is made, and no more than they may when it is used.
  scopes text[] NOT NULL,
  client_name text NOT NULL,
  address text NOT NULL,
  seed bytea NOT NULL CHECK (octet_length(seed) = 32),
  -- Counts the refresh credentials: an older one that comes back was stolen, or its successor was.
  generation int NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- When the generation began.
  last_used_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  ended_at timestamptz
);
CREATE INDEX logins_list ON logins (project_id, id DESC) WHERE ended_at IS NULL;
CREATE INDEX logins_by_person ON logins (person_id, id DESC) WHERE ended_at IS NULL;

-- The login that a key is of, which ends it.
ALTER TABLE api_keys ADD COLUMN login_id text REFERENCES logins;
CREATE INDEX api_keys_by_login ON api_keys (login_id) WHERE login_id IS NOT NULL;
-- What was made with a key, which ends with the login that the key is of.
CREATE INDEX api_keys_made_with ON api_keys (made_with_key_id) WHERE made_with_key_id IS NOT NULL;
-- Keys that count towards the limit of a project: most of those that there ever were are of logins, and have expired.
CREATE INDEX api_keys_active ON api_keys (project_id, expires_at) WHERE revoked_at IS NULL;
-- Keys that agents got for tokens of their issuers, which are counted.
CREATE INDEX api_keys_exchanged ON api_keys (agent_id, expires_at) WHERE created_by = agent_id AND revoked_at IS NULL;
