-- What is due for a period that has begun and is not paid: grace, suspension, and when to ask again.
ALTER TABLE subscriptions ADD COLUMN grace_until TEXT;
ALTER TABLE subscriptions ADD COLUMN suspended_at TEXT;
-- What the next period would cost; a wallet that holds as much renews by itself.
ALTER TABLE subscriptions ADD COLUMN unpaid INTEGER CHECK (unpaid >= 0);
-- Attempts that failed through no fault of the customer, and when the next one is.
ALTER TABLE subscriptions ADD COLUMN renewal_failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN renewal_retry_at TEXT;
CREATE INDEX subscriptions_due ON subscriptions (period_end) WHERE status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED');
CREATE INDEX subscriptions_unpaid ON subscriptions (user_id) WHERE status IN ('PAST_DUE', 'SUSPENDED');
CREATE INDEX subscriptions_retried ON subscriptions (renewal_retry_at) WHERE renewal_retry_at IS NOT NULL;

-- The period of the subscription that was reduced: 1 where the coupon was redeemed, more at renewals.
ALTER TABLE coupon_redemptions ADD COLUMN period INTEGER NOT NULL DEFAULT 1;
CREATE INDEX coupon_redemptions_by_subscription ON coupon_redemptions (subscription_id) WHERE subscription_id IS NOT NULL;
