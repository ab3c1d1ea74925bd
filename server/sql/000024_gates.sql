-- What waits for people (docs/decisions/0029-what-waits-where.md).

-- Who asks again for what was just decided against is told so.
CREATE INDEX approvals_rejected ON approvals (project_id, kind, digest, ended_at) WHERE state = 'rejected';

-- By what request for approval the switch for everything shall be released. (release_asked_by, release_person_id and
-- release_until are no longer read: the request has them.)
ALTER TABLE kill_switches ADD COLUMN release_approval_id text COLLATE "C" REFERENCES approvals ON DELETE SET NULL;
