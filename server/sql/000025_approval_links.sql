-- Signed links by which one person decides one request, and who looked at requests (docs/decisions/0032-approval-links.md).

-- A link is used once: in the transaction of the decision.
CREATE TABLE approval_links (
  id text COLLATE "C" PRIMARY KEY,
  approval_id text COLLATE "C" NOT NULL REFERENCES approvals ON DELETE CASCADE,
  -- Whom it is for, and nobody else.
  person_id text NOT NULL REFERENCES people,
  actions text[] NOT NULL CHECK (actions <@ ARRAY['approve', 'reject', 'edit', 'respond'] AND cardinality(actions) > 0),
  -- A person, or null: it was sent by a channel of ours.
  minted_by text REFERENCES people,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  used_at timestamptz
);
CREATE INDEX approval_links_by_approval ON approval_links (approval_id, person_id);
CREATE INDEX approval_links_expiry ON approval_links (expires_at);

-- Who saw what was asked, how, and from where they last did. The audit log has each time that is worth telling, within bounds.
CREATE TABLE approval_views (
  approval_id text COLLATE "C" NOT NULL REFERENCES approvals ON DELETE CASCADE,
  person_id text NOT NULL REFERENCES people,
  via text NOT NULL CHECK (via IN ('session', 'link')),
  address text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  told int NOT NULL DEFAULT 1,
  PRIMARY KEY (approval_id, person_id, via)
);
