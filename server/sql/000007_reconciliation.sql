-- What providers billed, and what agents said of calls that did not pass the gate (decision 0017). What was imported,
-- matched or reported stays: a change is a row with the next version.

-- One reading of bills: figures of some days, of one provider or more.
CREATE TABLE bill_imports (
  id text PRIMARY KEY,
  source text NOT NULL CHECK (source IN ('anthropic', 'openai', 'csv')),
  -- SHA-256 of its content, so that the same again is known.
  digest bytea NOT NULL CHECK (octet_length(digest) = 32),
  -- To which project unexplained spend of its days goes; null is found from the attempts.
  project_id text REFERENCES projects,
  providers text[] NOT NULL,
  first_day date NOT NULL,
  last_day date NOT NULL,
  figures integer NOT NULL,
  -- How many it made or changed.
  changed integer NOT NULL,
  imported_by text NOT NULL,
  -- Later than that of an import that it waited for.
  imported_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX bill_imports_by_digest ON bill_imports (digest);

-- What a provider billed for a model on a day (UTC). The highest version holds. Null is: no bill said so.
CREATE TABLE billed_figures (
  provider text NOT NULL,
  day date NOT NULL,
  -- The provider's name of it, or of what else it billed.
  model text NOT NULL,
  version integer NOT NULL,
  cost_nanousd bigint CHECK (cost_nanousd >= 0),
  -- The whole prompt, cached tokens included.
  tokens_input bigint CHECK (tokens_input >= 0),
  tokens_output bigint CHECK (tokens_output >= 0),
  import_id text NOT NULL REFERENCES bill_imports,
  PRIMARY KEY (provider, day, model, version),
  CHECK ((tokens_input IS NULL) = (tokens_output IS NULL))
);

-- The days that an import tells of, also where nothing was billed.
CREATE TABLE billed_days (
  provider text NOT NULL,
  day date NOT NULL,
  import_id text NOT NULL REFERENCES bill_imports,
  -- Whether it tells what they cost: then a model that it leaves out was not billed.
  costs boolean NOT NULL,
  PRIMARY KEY (provider, day, import_id)
);

-- Bill against ledger, a row for each model of a provider's day as it stood when they were matched. All rows of a matching
-- have one version; those of the highest hold. The ledger's rows may be gone by now: these are what remains.
CREATE TABLE reconciled_days (
  provider text NOT NULL,
  day date NOT NULL,
  version integer NOT NULL,
  model text NOT NULL,
  -- The names that are one model: dated and undated ones.
  billed_models text[] NOT NULL,
  booked_models text[] NOT NULL,
  state text NOT NULL CHECK (state IN ('reconciled', 'drifted', 'tokens_agree')),
  billed_nanousd bigint,
  booked_nanousd bigint NOT NULL,
  -- The part of it that nobody measured.
  estimated_nanousd bigint NOT NULL,
  -- What was billed beyond what was booked. It is money of `project_id`, and in no total of attempts.
  unexplained_nanousd bigint NOT NULL CHECK (unexplained_nanousd = greatest(coalesce(billed_nanousd - booked_nanousd, 0), 0)),
  billed_tokens bigint,
  booked_tokens bigint NOT NULL,
  project_id text NOT NULL REFERENCES projects,
  -- The names in the ledger by project: whose attempts they are of.
  booked_by jsonb NOT NULL,
  matched_by text NOT NULL,
  matched_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (provider, day, version, model)
);

CREATE VIEW current_reconciled_days AS
  SELECT r.* FROM reconciled_days r
  WHERE r.version = (SELECT max(l.version) FROM reconciled_days l WHERE l.provider = r.provider AND l.day = r.day);

-- Calls that could not pass the gate, as their agents tell them. No budget and no total counts them.
CREATE TABLE provisional_attempts (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  agent_id text NOT NULL REFERENCES agents,
  -- The agent's own id of the call: told twice, it is one.
  client_id text NOT NULL,
  -- SHA-256 of what was told.
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  person_id text,
  key_id text,
  run_id text REFERENCES runs,
  provider text NOT NULL,
  model text NOT NULL,
  tokens_input bigint NOT NULL CHECK (tokens_input >= 0),
  tokens_output bigint NOT NULL CHECK (tokens_output >= 0),
  tokens_cache_read bigint NOT NULL CHECK (tokens_cache_read >= 0),
  tokens_cache_write bigint NOT NULL CHECK (tokens_cache_write >= 0),
  cost_nanousd bigint NOT NULL CHECK (cost_nanousd >= 0),
  outcome text NOT NULL CHECK (outcome IN ('success', 'failed', 'timeout', 'client_closed')),
  started_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (agent_id, client_id)
);
CREATE INDEX provisional_attempts_list ON provisional_attempts (project_id, id DESC);

-- How many an agent recorded on a day (UTC), which is bounded.
CREATE TABLE provisional_days (
  agent_id text NOT NULL REFERENCES agents,
  day date NOT NULL,
  recorded integer NOT NULL,
  PRIMARY KEY (agent_id, day)
);
