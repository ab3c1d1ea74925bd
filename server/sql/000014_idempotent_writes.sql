-- Answers of writes whose effect is in this database (decision 0018). Such a row is inserted, and ended, in the transaction of
-- the effect: nobody ever sees it without its answer, and its lease is over before anybody can.

-- The control version that the answer tells of: a replica that gives it again obeys that much before. Null: none, or a call
-- with an effect outside.
ALTER TABLE idempotency_keys ADD COLUMN effect_version bigint;
