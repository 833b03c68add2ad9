-- What was decided is evidence: it is written once. A decision about a coupon also names it, so that
-- refusals, which leave no redemption, are found by its code.

-- No foreign key: a coupon that nobody got anything from can be deleted, its refusals stay.
ALTER TABLE decisions ADD COLUMN coupon_id BLOB;
CREATE INDEX decisions_by_coupon ON decisions (coupon_id, created_at) WHERE coupon_id IS NOT NULL;
CREATE INDEX transactions_by_subscription ON transactions (subscription_id) WHERE subscription_id IS NOT NULL;

CREATE TRIGGER decisions_frozen BEFORE UPDATE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
CREATE TRIGGER decisions_kept BEFORE DELETE ON decisions
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
