-- Lists and statistics that read an index in the place of long rows, and only entries that count.

-- Customers and prices of subscriptions by plan. Those that have ended are in it, too: PostgreSQL would read an index of
-- those that live from end to end where it looks for one customer's, as long as there are few.
DROP INDEX subscriptions_by_plan;
CREATE INDEX subscriptions_by_plan ON subscriptions
(plan_id, user_id, status, freeze_state, monthly_price, term_price, term_months, storage_price);

-- Decisions that failed are few, and were looked for among all.
CREATE INDEX decisions_failed ON decisions (created_at, id, failure) WHERE failure IS NOT NULL;

-- Redemptions of a month with all that is added up of them.
DROP INDEX coupon_redemptions_by_age;
CREATE INDEX coupon_redemptions_by_age ON coupon_redemptions
(created_at, coupon_id, user_id, released_at, period, amount, revenue);

-- Spans of health that have ended: their time, and those alone of which more than their time counts.
DROP INDEX health_spans_by_end;
CREATE INDEX health_spans_by_end ON health_spans (until, id, state, unwell_since, since, instance_id)
WHERE until IS NOT NULL;
CREATE INDEX health_spans_eventful ON health_spans (until, id, state, unwell_since)
WHERE until IS NOT NULL AND (state <> 'HEALTHY' OR unwell_since IS NOT NULL);

-- Instances have long rows, whose state comes last.
CREATE INDEX instances_live ON instances (status) WHERE status <> 'TERMINATED';
DROP INDEX instances_by_first_ready;
CREATE INDEX instances_by_first_ready ON instances (ready_at, id);
