-- Terms: plans sold for several months at a price of their own.
-- Longer terms of a plan, each with a price or a discount.
ALTER TABLE service_plans ADD COLUMN terms TEXT NOT NULL DEFAULT '[]';

-- Months that each period of a subscription lasts.
ALTER TABLE subscriptions ADD COLUMN term_months INTEGER NOT NULL DEFAULT 1 CHECK (term_months > 0);
-- Price of the plan for the term that the customer bought at, before coupons; null means its months' price.
ALTER TABLE subscriptions ADD COLUMN term_price INTEGER CHECK (term_price >= 0);
-- Months from the anchor to the end of the running period.
ALTER TABLE subscriptions ADD COLUMN anchor_months INTEGER NOT NULL DEFAULT 1 CHECK (anchor_months > 0);
UPDATE subscriptions SET anchor_months = period_number;

-- Months that a period was paid for.
ALTER TABLE subscription_periods ADD COLUMN months INTEGER NOT NULL DEFAULT 1 CHECK (months > 0);
-- Price of the term before a change of plan, which an undone change brings back.
ALTER TABLE plan_changes ADD COLUMN from_term_price INTEGER CHECK (from_term_price >= 0);
ALTER TABLE quotes ADD COLUMN term_months INTEGER NOT NULL DEFAULT 1;
