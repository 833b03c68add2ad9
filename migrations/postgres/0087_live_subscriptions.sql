-- Statements about subscriptions that live name the statuses that are stored, and not PENDING, which is shown (0085).
-- That is the condition of the index of all that is due, too, which PostgreSQL would read from end to end for those of
-- one customer or coupon. With the status in the indexes of these it reads no other entries.
DROP INDEX subscriptions_by_user;
CREATE INDEX subscriptions_by_user ON subscriptions (user_id, created_at, status);
DROP INDEX subscriptions_by_coupon;
CREATE INDEX subscriptions_by_coupon ON subscriptions (coupon_id, status) WHERE coupon_id IS NOT NULL;
