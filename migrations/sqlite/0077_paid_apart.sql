-- Within the price of a period that began with a thaw: storage of the time before, which was not paid yet. It is used, and
-- never comes back.
ALTER TABLE subscription_periods ADD COLUMN storage INTEGER NOT NULL DEFAULT 0;

-- Within the price of a change of plan: days that were given after the period was paid for. They come after all others.
ALTER TABLE plan_changes ADD COLUMN given INTEGER NOT NULL DEFAULT 0;
