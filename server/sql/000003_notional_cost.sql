-- What a call would have cost at list prices that a caller's own account paid for (`credential: caller`). It is told
-- beside the cost, and no budget counts it. Not null with a default: a process of the release before writes rows too.
ALTER TABLE attempts ADD COLUMN notional_nanousd bigint NOT NULL DEFAULT 0;
