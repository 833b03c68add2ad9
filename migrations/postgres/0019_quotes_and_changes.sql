-- A quote buys once: the purchase that consumes it says when.
ALTER TABLE quotes ADD COLUMN used_at TIMESTAMPTZ;
-- The time that an upgrade's payment covers begins here and ends with its period.
ALTER TABLE plan_changes ADD COLUMN covers_from TIMESTAMPTZ;
UPDATE plan_changes SET covers_from = created_at;
ALTER TABLE plan_changes ALTER COLUMN covers_from SET NOT NULL;
