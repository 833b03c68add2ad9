-- Acts of administrators on subscriptions: lists and statistics, extensions, plans that come with the next
-- period. Every change of status is a legal one: the same table as `SubscriptionStatus::may_become`.
CREATE INDEX subscriptions_by_age ON subscriptions (created_at, id);
CREATE INDEX subscriptions_ended ON subscriptions (cancelled_at) WHERE cancelled_at IS NOT NULL;
CREATE INDEX transactions_of_subscriptions ON transactions (created_at) WHERE subscription_id IS NOT NULL;

-- The end that was paid for, where administrators have moved the end of the period beyond it.
ALTER TABLE subscription_periods ADD COLUMN paid_until TIMESTAMPTZ;

-- The lower plan that comes with the next period; its place is taken already.
ALTER TABLE subscriptions ADD COLUMN next_plan_id UUID REFERENCES service_plans (id);
-- A change to a lower plan: the worth that is left of what was paid, each kind of credit; the cash to give back
-- once the instance is changed; and the cash that was given back of the period until then.
ALTER TABLE plan_changes ADD COLUMN kept_cash BIGINT CHECK (kept_cash >= 0);
ALTER TABLE plan_changes ADD COLUMN kept_bonus BIGINT CHECK (kept_bonus >= 0);
ALTER TABLE plan_changes ADD COLUMN give_back BIGINT NOT NULL DEFAULT 0 CHECK (give_back >= 0);
ALTER TABLE plan_changes ADD COLUMN refunded_until BIGINT;

CREATE FUNCTION subscription_moves_are_legal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'this is no legal change of a subscription' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER subscriptions_moves BEFORE UPDATE OF status ON subscriptions FOR EACH ROW
WHEN (NEW.status <> OLD.status AND (OLD.status || ' ' || NEW.status) NOT IN (
    'PENDING ACTIVE', 'PENDING CANCELLED', 'PENDING EXPIRED',
    'ACTIVE PAST_DUE', 'ACTIVE SUSPENDED', 'ACTIVE CANCELLED', 'ACTIVE EXPIRED',
    'PAST_DUE ACTIVE', 'PAST_DUE SUSPENDED', 'PAST_DUE CANCELLED', 'PAST_DUE EXPIRED',
    'SUSPENDED ACTIVE', 'SUSPENDED CANCELLED', 'SUSPENDED EXPIRED'
))
EXECUTE FUNCTION subscription_moves_are_legal();
