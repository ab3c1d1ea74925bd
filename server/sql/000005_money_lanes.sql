-- Holds that end by leaving the table (decision 0014), and leases for projects that take `relaxed` durability (0015).

-- What was reserved for an attempt; 0 on corrections, and where nothing was.
ALTER TABLE attempts ADD COLUMN held_nanousd bigint NOT NULL DEFAULT 0;

-- A hold that ended is deleted in the commit that writes its ledger row, so that the table has calls in flight alone. Two
-- kinds of row stay for a while: those posted at their worst case, whose truth may come late, and those abandoned while
-- their commit was in doubt, which make that commit fail.
-- A process of the version before cannot work on this: stop all, then migrate.
DELETE FROM holds WHERE state IN ('settled', 'released') OR corrected_at IS NOT NULL;
DROP INDEX holds_open_by_instance;
-- Its predicate is not one that ending a hold by its id implies: else the planner, told by statistics that nothing is held,
-- would read this index through all that is dead in it instead of the primary key.
DROP INDEX holds_open;
CREATE INDEX holds_open ON holds (deadline_at) WHERE ended_at IS NULL;
-- Every call inserts and deletes one row: what is dead must go before it is worth a look.
ALTER TABLE holds SET (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.5);
ALTER TABLE holds DROP CONSTRAINT holds_state_check;
ALTER TABLE holds ADD CONSTRAINT holds_state_check CHECK (state IN ('held', 'posted', 'abandoned'));
ALTER TABLE holds DROP COLUMN corrected_at;

-- What of `held` is leased to processes as slices.
ALTER TABLE budget_counters ADD COLUMN leased bigint NOT NULL DEFAULT 0 CHECK (leased >= 0);

-- A slice of a counter that one process spends in memory. An epoch is never used twice, so that what a process says of a
-- slice that was taken from it is not counted on its next one.
CREATE TABLE leases (
  instance_id text NOT NULL,
  epoch bigint NOT NULL,
  budget_id text NOT NULL,
  window_key text NOT NULL,
  -- What is left of it, spent by nobody that we know of.
  granted bigint NOT NULL CHECK (granted >= 0),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (instance_id, epoch)
);
CREATE INDEX leases_expiry ON leases (expires_at);

-- Slices of processes that went silent, posted whole; a negative amount takes back what the process said of it later.
-- Append only, like the ledger: posted of a counter = its attempts + its lease postings.
CREATE TABLE lease_postings (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  project_id text NOT NULL,
  budget_id text NOT NULL,
  window_key text NOT NULL,
  instance_id text NOT NULL,
  epoch bigint NOT NULL,
  amount bigint NOT NULL,
  posted_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX lease_postings_epoch ON lease_postings (instance_id, epoch);
CREATE INDEX lease_postings_list ON lease_postings (project_id, id DESC);

-- The last flush of each process: one whose acknowledgement was lost is not applied twice.
CREATE TABLE lease_flushes (
  instance_id text PRIMARY KEY,
  flush_no bigint NOT NULL
);
