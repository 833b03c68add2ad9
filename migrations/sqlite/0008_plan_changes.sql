-- Upgrades under way: what is needed to finish one, or to restore plan, money and quota exactly.
CREATE TABLE plan_changes (
    id BLOB PRIMARY KEY NOT NULL,
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id),
    from_plan_id BLOB NOT NULL REFERENCES service_plans (id),
    -- The price the customer bought the earlier plan at.
    from_monthly_price INTEGER NOT NULL CHECK (from_monthly_price >= 0),
    to_plan_id BLOB NOT NULL REFERENCES service_plans (id),
    -- Of the instance: once this was applied, the change is done.
    generation INTEGER NOT NULL,
    period_number INTEGER NOT NULL,
    paid_cash INTEGER NOT NULL CHECK (paid_cash >= 0),
    paid_bonus INTEGER NOT NULL CHECK (paid_bonus >= 0),
    transaction_id BLOB NOT NULL REFERENCES transactions (id),
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'APPLIED', 'REVERTED')),
    -- Why it was reverted.
    message TEXT,
    created_at TEXT NOT NULL,
    settled_at TEXT
) STRICT;
CREATE INDEX plan_changes_by_subscription ON plan_changes (subscription_id, created_at);
CREATE UNIQUE INDEX plan_changes_pending_key ON plan_changes (subscription_id) WHERE state = 'PENDING';
