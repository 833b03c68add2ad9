-- When a coupon was switched off: one that was off already when a customer signed up was not announced.
ALTER TABLE coupons ADD COLUMN disabled_at TIMESTAMPTZ;
UPDATE coupons SET disabled_at = updated_at WHERE status = 'DISABLED';
