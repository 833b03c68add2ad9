-- Upgrades under way: what is needed to finish one, or to restore plan, money and quota exactly.
CREATE TABLE plan_changes (
    id UUID PRIMARY KEY NOT NULL,
    subscription_id UUID NOT NULL REFERENCES subscriptions (id),
    from_plan_id UUID NOT NULL REFERENCES service_plans (id),
    -- The price the customer bought the earlier plan at.
    from_monthly_price BIGINT NOT NULL CHECK (from_monthly_price >= 0),
    to_plan_id UUID NOT NULL REFERENCES service_plans (id),
    -- Of the instance: once this was applied, the change is done.
    generation BIGINT NOT NULL,
    period_number BIGINT NOT NULL,
    paid_cash BIGINT NOT NULL CHECK (paid_cash >= 0),
    paid_bonus BIGINT NOT NULL CHECK (paid_bonus >= 0),
    transaction_id UUID NOT NULL REFERENCES transactions (id),
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'APPLIED', 'REVERTED')),
    -- Why it was reverted.
    message TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ
);
CREATE INDEX plan_changes_by_subscription ON plan_changes (subscription_id, created_at);
CREATE UNIQUE INDEX plan_changes_pending_key ON plan_changes (subscription_id) WHERE state = 'PENDING';
