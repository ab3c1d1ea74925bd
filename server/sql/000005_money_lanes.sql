-- Holds that end by leaving the table (decision 0014), and leases for projects that take `relaxed` durability (0015).

-- What was reserved for an attempt; 0 on corrections, and where nothing was.
ALTER TABLE attempts ADD COLUMN held_nanousd bigint NOT NULL DEFAULT 0;

-- A hold that ended is deleted in the commit that writes its ledger row, so that the table has calls in flight alone. Two
-- kinds of row stay for a while: those posted at their worst case, whose truth may come late, and those abandoned while
-- their commit was in doubt, which make that commit fail.
DELETE FROM holds WHERE state IN ('settled', 'released') OR corrected_at IS NOT NULL;
DROP INDEX holds_open_by_instance;
ALTER TABLE holds DROP CONSTRAINT holds_state_check;
ALTER TABLE holds ADD CONSTRAINT holds_state_check CHECK (state IN ('held', 'posted', 'abandoned'));
ALTER TABLE holds DROP COLUMN corrected_at;
