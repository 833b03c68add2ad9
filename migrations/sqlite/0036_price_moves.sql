-- Moves of chosen customers to another price of their plan: from the first period that begins at the moment
-- or later. One for each subscription; the audit trail keeps the earlier ones.
CREATE TABLE price_moves (
    subscription_id BLOB PRIMARY KEY NOT NULL REFERENCES subscriptions (id),
    -- A customer who changes plan pays that plan's price, and this is void.
    plan_id BLOB NOT NULL REFERENCES service_plans (id),
    monthly_price INTEGER NOT NULL CHECK (monthly_price >= 0),
    effective_at TEXT NOT NULL,
    moved_by BLOB NOT NULL REFERENCES users (id),
    reason TEXT NOT NULL,
    created_at TEXT NOT NULL,
    -- Number of the first period at this price, once it has begun.
    applied_period INTEGER
) STRICT;
