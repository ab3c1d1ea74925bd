-- Events that were emitted, and their delivery to endpoints (decision 0030).

-- Written in the transaction of what it tells of, and only where an endpoint wants it.
CREATE TABLE outbox_events (
  -- The webhook-id of each of its deliveries, whatever is tried again.
  id text COLLATE "C" PRIMARY KEY,
  -- Null where it concerns all projects.
  project_id text REFERENCES projects,
  type text NOT NULL,
  schema_version smallint NOT NULL,
  -- What it is about. Events with one key are emitted under a lock on that thing, so that `seq` is in the order of their commits.
  key text,
  seq bigint GENERATED ALWAYS AS IDENTITY,
  -- JSON as it is sent: the same bytes at each attempt.
  data text NOT NULL,
  occurred_at timestamptz NOT NULL DEFAULT now(),
  fanned_out_at timestamptz
);
CREATE INDEX outbox_events_waiting ON outbox_events (seq) WHERE fanned_out_at IS NULL;
CREATE INDEX outbox_events_list ON outbox_events (project_id, id DESC);

CREATE TABLE webhook_endpoints (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  url text NOT NULL,
  description text NOT NULL DEFAULT '',
  -- None is every type of the catalogue.
  event_types text[] NOT NULL DEFAULT '{}',
  -- Nothing is sent but to one that is active: it answered the challenge.
  state text NOT NULL CHECK (state IN ('unverified', 'active', 'disabled', 'deleted')),
  -- Whether events with one key are delivered one after the other, in their order.
  ordered boolean NOT NULL DEFAULT false,
  -- Deliveries begun in a second; null is as fast as it answers.
  rate_per_s int CHECK (rate_per_s > 0),
  disabled_at timestamptz,
  disabled_reason text CHECK (disabled_reason IN ('operator', 'gone', 'failing')),
  created_by text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  -- Counts the changes that people made: what a change was made from.
  revision bigint NOT NULL DEFAULT 1,
  -- What follows belongs to the delivery engine.
  -- When its next delivery is due; null where none is waiting. Written under the row's lock after each change of its deliveries.
  next_due_at timestamptz,
  -- Nothing is claimed before: its Retry-After, or its rate.
  held_until timestamptz,
  -- Since when no delivery succeeded, of those that were tried.
  failing_since timestamptz,
  last_failure_at timestamptz,
  last_success_at timestamptz,
  -- Whether its last answer failed or was long in coming: it then shares the places of its like.
  slow boolean NOT NULL DEFAULT false,
  CHECK ((state = 'disabled') = (disabled_at IS NOT NULL)),
  CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
CREATE INDEX webhook_endpoints_list ON webhook_endpoints (project_id, id DESC) WHERE state <> 'deleted';
CREATE INDEX webhook_endpoints_wanting ON webhook_endpoints (project_id) WHERE state = 'active';
CREATE INDEX webhook_endpoints_due ON webhook_endpoints (slow, next_due_at) WHERE state = 'active';
-- Those that hold deliveries which are to be given up.
CREATE INDEX webhook_endpoints_stopped ON webhook_endpoints (id) WHERE state <> 'active' AND next_due_at IS NOT NULL;

-- One generation of the secrets of an endpoint: both sign every message. During a rotation there are two.
CREATE TABLE webhook_secrets (
  id text COLLATE "C" PRIMARY KEY,
  endpoint_id text NOT NULL REFERENCES webhook_endpoints,
  -- AES-256-GCM under a key that is derived from SECRETS_KEY, for this id: 32 bytes of HMAC secret, 32 of ed25519 seed.
  sealed bytea NOT NULL,
  -- The ed25519 public key.
  public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- When it ceases to sign; null is the newest. Rows are deleted soon after.
  expires_at timestamptz
);
CREATE UNIQUE INDEX webhook_secrets_newest ON webhook_secrets (endpoint_id) WHERE expires_at IS NULL;
CREATE INDEX webhook_secrets_by_endpoint ON webhook_secrets (endpoint_id);
CREATE INDEX webhook_secrets_expired ON webhook_secrets (expires_at) WHERE expires_at IS NOT NULL;

-- What one endpoint is to get of one event: at most one row, whatever is delivered again.
CREATE TABLE webhook_deliveries (
  id text COLLATE "C" PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  endpoint_id text NOT NULL REFERENCES webhook_endpoints,
  event_id text COLLATE "C" NOT NULL REFERENCES outbox_events ON DELETE CASCADE,
  event_type text NOT NULL,
  -- Of its event.
  seq bigint NOT NULL,
  -- The key of its event where the endpoint wants order: it waits for earlier ones of that key. Null once redelivered by hand.
  ordering_key text,
  state text NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
  -- Attempts on the present schedule, which redelivery begins anew; and all that were ever made.
  tries int NOT NULL DEFAULT 0,
  attempts int NOT NULL DEFAULT 0,
  -- When it is due; while it is claimed, when the claim ends; infinity while it waits for an earlier one of its key.
  next_at timestamptz NOT NULL,
  -- Whose claim it is. An outcome under another claim does not count.
  claim uuid,
  -- Why it is dead.
  dead_reason text CHECK (dead_reason IN ('exhausted', 'gone', 'endpoint_disabled')),
  -- When it was delivered or given up.
  ended_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (event_id, endpoint_id),
  CHECK ((state = 'pending') = (ended_at IS NULL)),
  CHECK ((state = 'dead') = (dead_reason IS NOT NULL)),
  CHECK (state = 'pending' OR claim IS NULL)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_at) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_claimed ON webhook_deliveries (endpoint_id, next_at) WHERE claim IS NOT NULL;
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (endpoint_id, ordering_key, seq)
  WHERE state = 'pending' AND ordering_key IS NOT NULL;
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (project_id, id DESC);
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (endpoint_id, id DESC);
CREATE INDEX webhook_deliveries_by_state ON webhook_deliveries (endpoint_id, state, id DESC);
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (project_id, id DESC) WHERE state = 'dead';

-- Each attempt that was made and written down.
CREATE TABLE webhook_attempts (
  delivery_id text COLLATE "C" NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
  number int NOT NULL,
  started_at timestamptz NOT NULL,
  duration_ms int NOT NULL CHECK (duration_ms >= 0),
  outcome text NOT NULL CHECK (outcome IN ('delivered', 'failed', 'gone')),
  -- Null where no answer came.
  status smallint,
  -- Why no answer came, or why it was not taken: a stable word.
  error text,
  -- The beginning of the answer, as text.
  answer text NOT NULL DEFAULT '',
  PRIMARY KEY (delivery_id, number)
);

-- An endpoint whose URL has not been verified has one row, which goes when it is.
CREATE TABLE webhook_challenges (
  endpoint_id text PRIMARY KEY REFERENCES webhook_endpoints,
  project_id text NOT NULL REFERENCES projects,
  -- The webhook-id of the challenge, which its answer must have in it. Another URL gets another one.
  id text NOT NULL,
  attempts int NOT NULL DEFAULT 0,
  -- When it is due; while it is under way, when another process may take it; null once it was given up, or waits for its endpoint.
  next_at timestamptz,
  last_at timestamptz,
  -- Why the last attempt failed, in a sentence; empty for none.
  error text NOT NULL DEFAULT ''
);
CREATE INDEX webhook_challenges_due ON webhook_challenges (next_at) WHERE next_at IS NOT NULL;

-- Keys that end soon are told of once.
ALTER TABLE api_keys ADD COLUMN expiry_told_at timestamptz;
CREATE INDEX api_keys_expiring ON api_keys (expires_at)
  WHERE revoked_at IS NULL AND expiry_told_at IS NULL AND login_id IS NULL AND run_id IS NULL AND successor_id IS NULL;
