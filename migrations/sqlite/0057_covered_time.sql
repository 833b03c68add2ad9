-- The time that a change of plan was paid for ends with its period as it was then, whatever is given later.
ALTER TABLE plan_changes ADD COLUMN covers_until TEXT;
UPDATE plan_changes SET covers_until = coalesce(
  (SELECT coalesce(p.paid_until, p.ends_at) FROM subscription_periods p
   WHERE p.subscription_id = plan_changes.subscription_id AND p.number = plan_changes.period_number), covers_from);
