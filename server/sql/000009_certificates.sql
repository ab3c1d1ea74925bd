-- What binds a key: a certificate, a signature (decision 0019).

ALTER TABLE api_keys
  -- Each request must be signed (RFC 9421).
  ADD COLUMN require_signature boolean NOT NULL DEFAULT false,
  -- The client certificate without which the key does not hold: SHA-256 of its DER in base64url (RFC 8705, section 3.1) …
  ADD COLUMN bound_x5t_s256 text CHECK (bound_x5t_s256 ~ '^[A-Za-z0-9_-]{43}$'),
  -- … or any one with this SPIFFE id, so that a certificate may be renewed every hour.
  ADD COLUMN bound_spiffe_id text CHECK (bound_spiffe_id LIKE 'spiffe://%'),
  ADD CHECK (num_nonnulls(bound_x5t_s256, bound_spiffe_id) <= 1);

-- What an agent may ask for by its certificate alone: a certificate has no scopes of its own. None is none.
ALTER TABLE agents ADD COLUMN certificate_scopes text[] NOT NULL DEFAULT '{}';
