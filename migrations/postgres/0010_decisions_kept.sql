-- What was decided is evidence: it is written once. A decision about a coupon also names it, so that
-- refusals, which leave no redemption, are found by its code.

-- No foreign key: a coupon that nobody got anything from can be deleted, its refusals stay.
ALTER TABLE decisions ADD COLUMN coupon_id UUID;
CREATE INDEX decisions_by_coupon ON decisions (coupon_id, created_at) WHERE coupon_id IS NOT NULL;
CREATE INDEX transactions_by_subscription ON transactions (subscription_id) WHERE subscription_id IS NOT NULL;

CREATE FUNCTION decisions_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'decisions are append-only' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER decisions_frozen BEFORE UPDATE OR DELETE ON decisions
FOR EACH ROW EXECUTE FUNCTION decisions_are_append_only();
CREATE TRIGGER decisions_kept BEFORE TRUNCATE ON decisions
FOR EACH STATEMENT EXECUTE FUNCTION decisions_are_append_only();
