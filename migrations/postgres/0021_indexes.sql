-- Indexes for statements that looked at every row of a growing table.

-- No statement needs it, and SQLite chose it where it made the proof of the ledger quadratic.
DROP INDEX postings_by_account;

-- What is beside an instance in its namespace, asked in every pass of the reconciler.
CREATE INDEX instances_by_namespace ON instances (namespace) WHERE status <> 'TERMINATED';
CREATE INDEX instances_by_digest ON instances (plugin_digest);

CREATE INDEX coupons_by_plugin ON coupons (plugin_id, status);
CREATE INDEX coupons_by_status ON coupons (status, created_at);
CREATE INDEX subscriptions_by_coupon ON subscriptions (coupon_id) WHERE coupon_id IS NOT NULL;
CREATE INDEX subscriptions_in_grace ON subscriptions (grace_until) WHERE status = 'PAST_DUE';
CREATE INDEX subscriptions_suspended ON subscriptions (suspended_at) WHERE status = 'SUSPENDED';

-- Newest first, a page at a time.
CREATE INDEX coupons_by_age ON coupons (created_at, id);
CREATE INDEX coupon_redemptions_by_age ON coupon_redemptions (created_at);
CREATE INDEX payments_by_age ON payments (created_at, id);
CREATE INDEX debts_by_age ON debts (created_at, id);
CREATE INDEX decisions_by_age ON decisions (created_at, id);
CREATE INDEX transactions_by_age ON transactions (created_at, number);
DROP INDEX transactions_by_user;
CREATE INDEX transactions_by_user ON transactions (user_id, created_at, number);

CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);
CREATE INDEX users_administrators ON users (id) WHERE role = 'ADMINISTRATOR';
