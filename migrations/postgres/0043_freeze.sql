-- Freeze: compute off, data kept, a storage price for each month.
-- Price of a frozen month; null where the plan cannot be frozen.
ALTER TABLE service_plans ADD COLUMN storage_price BIGINT CHECK (storage_price >= 0);

ALTER TABLE subscriptions ADD COLUMN freeze_state TEXT NOT NULL DEFAULT 'NONE'
    CHECK (freeze_state IN ('NONE', 'PENDING', 'FROZEN'));
-- Price of a frozen month that the customer froze at.
ALTER TABLE subscriptions ADD COLUMN storage_price BIGINT CHECK (storage_price >= 0);
-- A period that only the storage was paid for.
ALTER TABLE subscription_periods ADD COLUMN frozen BOOLEAN NOT NULL DEFAULT FALSE;

-- The same table as `FreezeState::may_become`.
CREATE FUNCTION freeze_moves_are_legal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'this is no legal change of a freeze' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER subscriptions_freeze_moves BEFORE UPDATE OF freeze_state ON subscriptions FOR EACH ROW
WHEN ((OLD.freeze_state || ' ' || NEW.freeze_state) IN ('NONE FROZEN', 'FROZEN PENDING'))
EXECUTE FUNCTION freeze_moves_are_legal();

-- An instance is kept stopped by a freeze, too.
ALTER TABLE instances DROP CONSTRAINT instances_halt_check;
ALTER TABLE instances ADD CONSTRAINT instances_halt_check
    CHECK (halt IN ('OWNER', 'UNPAID', 'OWNER_AND_UNPAID', 'FROZEN', 'OWNER_AND_FROZEN'));
