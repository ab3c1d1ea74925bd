-- Answers that are kept to be given again. Both tables hold them sealed (AES-256-GCM under a key derived from
-- SECRETS_KEY, base/sealed-answer.ts): neither a reader of the database nor one of its backups learns what was said,
-- and no writer can put words there. Rows are deleted when their time is over.

-- The one table of idempotency keys. A row is a claim, committed before the effect; it ends by an answer, or it is
-- deleted by its owner. One that does neither until `lease_until` has an unknown end, and is never run again by itself.
CREATE TABLE idempotency_keys (
  -- SHA-256 of project, principal, operation and key: a key belongs to one caller and one operation.
  id bytea PRIMARY KEY CHECK (octet_length(id) = 32),
  project_id text NOT NULL,
  -- SHA-256 of the request that the key was first used for.
  fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
  -- The owner of the claim: only it may end the row, so a late one cannot end another's.
  claim_id text NOT NULL,
  lease_until timestamptz NOT NULL,
  finished_at timestamptz,
  -- Null in a finished row: the answer was too large, or made room for newer ones.
  answer bytea CHECK (answer IS NULL OR finished_at IS NOT NULL),
  answer_bytes integer GENERATED ALWAYS AS (octet_length(answer)) STORED,
  expires_at timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_expired ON idempotency_keys (expires_at);
-- What the answers of a project take is summed up from this alone.
CREATE INDEX idempotency_keys_answers ON idempotency_keys (project_id, finished_at) INCLUDE (answer_bytes)
  WHERE answer IS NOT NULL;
-- What is sealed does not compress.
ALTER TABLE idempotency_keys ALTER COLUMN answer SET STORAGE EXTERNAL;

-- The exact response cache. An entry says itself what it is (response-cache/entry.ts): the columns are only for finding.
CREATE TABLE cache_entries (
  project_id text NOT NULL,
  -- SHA-256 of everything that the answer depends on.
  key bytea NOT NULL,
  entry bytea NOT NULL,
  entry_bytes integer NOT NULL GENERATED ALWAYS AS (octet_length(entry)) STORED,
  stored_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (project_id, key)
);
CREATE INDEX cache_entries_newest ON cache_entries (project_id, stored_at) INCLUDE (entry_bytes);
CREATE INDEX cache_entries_expired ON cache_entries (expires_at);
ALTER TABLE cache_entries ALTER COLUMN entry SET STORAGE EXTERNAL;

-- Entries that were found damaged, as they were found, for whoever wants to know why. Never served.
CREATE TABLE cache_quarantine (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project_id text NOT NULL,
  key bytea NOT NULL,
  entry bytea NOT NULL,
  stored_at timestamptz NOT NULL,
  reason text NOT NULL,
  found_at timestamptz NOT NULL
);
CREATE INDEX cache_quarantine_newest ON cache_quarantine (project_id, id);
CREATE INDEX cache_quarantine_found ON cache_quarantine (found_at);
ALTER TABLE cache_quarantine ALTER COLUMN entry SET STORAGE EXTERNAL;
