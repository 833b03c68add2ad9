-- A quote buys once: the purchase that consumes it says when.
ALTER TABLE quotes ADD COLUMN used_at TEXT;
-- The time that an upgrade's payment covers begins here and ends with its period.
ALTER TABLE plan_changes ADD COLUMN covers_from TEXT;
UPDATE plan_changes SET covers_from = created_at;
