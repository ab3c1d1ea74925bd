-- Keys that sign requests, and the nonces that were taken (decision 0019).

CREATE TABLE signing_keys (
  id text PRIMARY KEY,
  project_id text NOT NULL REFERENCES projects,
  -- The API key whose requests it signs.
  key_id text NOT NULL REFERENCES api_keys,
  algorithm text NOT NULL CHECK (algorithm IN ('ed25519', 'hmac-sha256')),
  public_key bytea CHECK (octet_length(public_key) = 32),
  -- AES-256-GCM under a key that is derived from SECRETS_KEY; gone when the key is revoked.
  sealed_secret bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  revoked_at timestamptz,
  control_version bigint NOT NULL,
  CHECK ((algorithm = 'ed25519') = (public_key IS NOT NULL)),
  CHECK ((algorithm = 'hmac-sha256' AND revoked_at IS NULL) = (sealed_secret IS NOT NULL))
);
CREATE INDEX signing_keys_control ON signing_keys (control_version);
CREATE INDEX signing_keys_list ON signing_keys (key_id, id DESC);
CREATE UNIQUE INDEX signing_keys_once ON signing_keys (key_id, public_key) WHERE revoked_at IS NULL;

-- A row for each signature that held, for as long as it would hold again. No reference to signing_keys: the rows live
-- for minutes, and the lookup would cost each signed request as much as the insert.
CREATE TABLE signature_nonces (
  signing_key_id text NOT NULL,
  nonce text NOT NULL,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (signing_key_id, nonce)
);
CREATE INDEX signature_nonces_expired ON signature_nonces (expires_at);
