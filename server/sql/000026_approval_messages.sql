-- Messages about requests for approval (docs/decisions/0033-approval-messages.md).

CREATE TABLE approval_messages (
  approval_id text COLLATE "C" NOT NULL REFERENCES approvals ON DELETE CASCADE,
  -- `email`, or `chat:<name>`.
  channel text NOT NULL,
  -- Whom it is for; empty: all who read the channel.
  person_id text NOT NULL DEFAULT '',
  -- Of the request: nobody fills an inbox by asking again and again.
  requester_id text NOT NULL,
  state text NOT NULL CHECK (state IN ('waiting', 'sent', 'failed', 'dropped')),
  tries int NOT NULL DEFAULT 0,
  due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Why the last try failed, or why it is not sent.
  note text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  PRIMARY KEY (approval_id, channel, person_id),
  CHECK ((state = 'waiting') = (ended_at IS NULL))
);
CREATE INDEX approval_messages_due ON approval_messages (channel, due_at) WHERE state = 'waiting';
CREATE INDEX approval_messages_recent ON approval_messages (channel, person_id, requester_id, created_at);
CREATE INDEX approval_messages_purge ON approval_messages (created_at);
