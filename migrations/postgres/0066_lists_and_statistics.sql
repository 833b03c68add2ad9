-- Lists and statistics that answer in milliseconds at a million transactions: each order and each filter of a large
-- list is served by one index alone, and sums of what is over are kept.

-- Transactions: of a customer and of all, by type, by the few that are not completed, and large ones.
DROP INDEX transactions_by_user;
CREATE INDEX transactions_by_user ON transactions (user_id, created_at, number, type, status, amount);
DROP INDEX transactions_by_age;
CREATE INDEX transactions_by_age ON transactions (created_at, number, status, amount);
CREATE INDEX transactions_by_type ON transactions (type, created_at, number, status, amount);
CREATE INDEX transactions_unsettled ON transactions (status, created_at, number) WHERE status <> 'COMPLETED';
CREATE INDEX transactions_large ON transactions (created_at, number) WHERE abs(amount) >= 1000000;
-- How many those are is not known from the columns alone.
CREATE STATISTICS transactions_amounts ON (abs(amount)) FROM transactions;
-- What went into and out of a wallet.
CREATE INDEX transactions_settled ON transactions (user_id, completed_at, type, amount)
WHERE status IN ('COMPLETED', 'REFUNDED');

-- Decisions: what filters them is in the index that orders them.
DROP INDEX decisions_by_age;
CREATE INDEX decisions_by_age ON decisions (created_at, id, function, plugin_version, failure);
DROP INDEX decisions_by_plugin;
CREATE INDEX decisions_by_plugin ON decisions (plugin_id, created_at, id, function, plugin_version, failure);
DROP INDEX decisions_by_user;
CREATE INDEX decisions_by_user ON decisions (user_id, created_at, id, function);
DROP INDEX decisions_by_digest;
CREATE INDEX decisions_by_digest ON decisions (digest, created_at, id);
DROP INDEX decisions_by_coupon;
CREATE INDEX decisions_by_coupon ON decisions (coupon_id, created_at, id) WHERE coupon_id IS NOT NULL;

-- Decisions from before they named their coupon.
DROP TRIGGER decisions_frozen ON decisions;
UPDATE decisions SET coupon_id = (SELECT r.coupon_id FROM coupon_redemptions r WHERE r.decision_id = decisions.id LIMIT 1)
WHERE coupon_id IS NULL AND id IN (SELECT decision_id FROM coupon_redemptions);
CREATE TRIGGER decisions_frozen BEFORE UPDATE OR DELETE ON decisions
FOR EACH ROW EXECUTE FUNCTION decisions_are_append_only();

-- Subscriptions: the list, and their numbers by plan.
DROP INDEX subscriptions_by_age;
CREATE INDEX subscriptions_by_age ON subscriptions (created_at, id, status, plan_id, auto_renew, period_end);
DROP INDEX subscriptions_by_plan;
CREATE INDEX subscriptions_by_plan ON subscriptions (plan_id, user_id, status);
DROP INDEX subscriptions_ended;
CREATE INDEX subscriptions_ended ON subscriptions (cancelled_at, plan_id) WHERE cancelled_at IS NOT NULL;
CREATE INDEX subscriptions_in_numbers ON subscriptions
(plan_id, status, auto_renew, freeze_state, monthly_price, term_price, term_months, storage_price, unpaid);

-- Other lists.
CREATE INDEX payments_by_state ON payments (state, created_at, id);
DROP INDEX payments_by_user;
CREATE INDEX payments_by_user ON payments (user_id, created_at, id, state);
DROP INDEX audit_events_by_actor;
CREATE INDEX audit_events_by_actor ON audit_events (actor_id, created_at, id);
DROP INDEX audit_events_by_act;
CREATE INDEX audit_events_by_act ON audit_events (act, created_at, id);
DROP INDEX notifications_by_user;
CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id, kind) WHERE in_inbox;
DROP INDEX notifications_unread;
CREATE INDEX notifications_unread ON notifications (user_id, created_at, id) WHERE read_at IS NULL AND in_inbox;
CREATE INDEX tickets_by_age ON tickets (created_at, id, status, priority, assignee_id);
CREATE INDEX users_by_search ON users (created_at, id, email, name);

-- Nearly every open span has the same end, none, which made it look like the rarest.
DROP INDEX health_spans_by_end;
CREATE INDEX health_spans_by_end ON health_spans (until, id) WHERE until IS NOT NULL;
CREATE INDEX health_spans_open ON health_spans (state, since, instance_id, until) WHERE until IS NULL;
CREATE INDEX instances_by_first_ready ON instances (ready_at);

-- What the wallet paid for what a redemption reduced.
ALTER TABLE coupon_redemptions ADD COLUMN revenue BIGINT NOT NULL DEFAULT 0;
UPDATE coupon_redemptions SET revenue = (SELECT -t.amount FROM transactions t WHERE t.id = coupon_redemptions.transaction_id)
WHERE EXISTS (SELECT 1 FROM transactions t WHERE t.id = coupon_redemptions.transaction_id
    AND t.type IN ('SUBSCRIPTION', 'UPGRADE') AND t.status = 'COMPLETED');
DROP INDEX coupon_redemptions_by_coupon;
CREATE INDEX coupon_redemptions_by_coupon ON coupon_redemptions
(coupon_id, created_at, id, released_at, period, amount, revenue);
DROP INDEX coupon_redemptions_by_user;
CREATE INDEX coupon_redemptions_by_user ON coupon_redemptions (user_id, created_at, id, released_at);

-- Every full thousand of a wallet's entries: what they did to it, and when. A statement adds up blocks, not entries.
CREATE TABLE ledger_blocks (
    wallet_id UUID NOT NULL REFERENCES wallets (user_id),
    -- 1 for the entries 1 to 1,000, and so on.
    number BIGINT NOT NULL,
    paid BIGINT NOT NULL,
    bonus BIGINT NOT NULL,
    -- The earliest and the latest of its entries, as clocks of servers differ.
    first_at TIMESTAMPTZ NOT NULL,
    last_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (wallet_id, number)
);
CREATE TRIGGER ledger_blocks_frozen BEFORE UPDATE OR DELETE ON ledger_blocks
FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_blocks_kept BEFORE TRUNCATE ON ledger_blocks
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

-- Days that are over, whose figures are kept.
CREATE TABLE kept_days (
    from_at TIMESTAMPTZ PRIMARY KEY NOT NULL,
    until_at TIMESTAMPTZ NOT NULL,
    CHECK (from_at < until_at)
);

-- Subscriptions of a service that began and ended on a day, and what wallets paid for them, less what came back.
CREATE TABLE subscription_days (
    from_at TIMESTAMPTZ NOT NULL REFERENCES kept_days (from_at) ON DELETE CASCADE,
    service_id UUID NOT NULL REFERENCES services (id),
    began BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    paid BIGINT NOT NULL,
    bonus BIGINT NOT NULL,
    PRIMARY KEY (from_at, service_id)
);
