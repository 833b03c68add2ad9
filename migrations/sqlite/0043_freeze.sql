-- Freeze: compute off, data kept, a storage price for each month.
-- Price of a frozen month; null where the plan cannot be frozen.
ALTER TABLE service_plans ADD COLUMN storage_price INTEGER CHECK (storage_price >= 0);

ALTER TABLE subscriptions ADD COLUMN freeze_state TEXT NOT NULL DEFAULT 'NONE'
    CHECK (freeze_state IN ('NONE', 'PENDING', 'FROZEN'));
-- Price of a frozen month that the customer froze at.
ALTER TABLE subscriptions ADD COLUMN storage_price INTEGER CHECK (storage_price >= 0);
-- A period that only the storage was paid for.
ALTER TABLE subscription_periods ADD COLUMN frozen INTEGER NOT NULL DEFAULT FALSE;

-- The same table as `FreezeState::may_become`.
CREATE TRIGGER subscriptions_freeze_moves BEFORE UPDATE OF freeze_state ON subscriptions
WHEN (OLD.freeze_state || ' ' || NEW.freeze_state) IN ('NONE FROZEN', 'FROZEN PENDING')
BEGIN
    SELECT RAISE(ABORT, 'this is no legal change of a freeze');
END;

-- An instance is kept stopped by a freeze, too. The check of a column cannot be changed in place.
ALTER TABLE instances RENAME COLUMN halt TO halt_before;
ALTER TABLE instances ADD COLUMN halt TEXT
    CHECK (halt IN ('OWNER', 'UNPAID', 'OWNER_AND_UNPAID', 'FROZEN', 'OWNER_AND_FROZEN'));
UPDATE instances SET halt = halt_before;
ALTER TABLE instances DROP COLUMN halt_before;
