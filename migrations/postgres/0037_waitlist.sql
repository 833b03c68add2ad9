-- Customers who wait for a place of a plan that is sold out, and those for whom one is held. A held place
-- counts in the plan's used_quota until it is bought, given up or over.
CREATE TABLE waitlist (
    id UUID PRIMARY KEY NOT NULL,
    plan_id UUID NOT NULL REFERENCES service_plans (id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Order of the queue, given under the lock of the plan's row: clocks of servers differ.
    number BIGINT NOT NULL,
    -- End of the time for which a place is held; empty while the customer waits.
    held_until TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT waitlist_plan_id_user_id_key UNIQUE (plan_id, user_id),
    CONSTRAINT waitlist_plan_id_number_key UNIQUE (plan_id, number)
);
CREATE INDEX waitlist_by_user ON waitlist (user_id, created_at);
