-- The index of subscriptions that live names the statuses that are stored. PENDING is none of them: it is shown (0085).
DROP INDEX subscriptions_live;
CREATE INDEX subscriptions_live ON subscriptions
(plan_id, user_id, status, freeze_state, monthly_price, term_price, term_months, storage_price)
WHERE status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED');
