-- A subscription is shown as PENDING from its payment until its first delivery: its events say so, and tell of that
-- delivery. The status that is stored stays ACTIVE.
CREATE OR REPLACE FUNCTION note_subscription_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (
        NEW.user_id, 'subscription', NEW.id,
        CASE WHEN NEW.status = 'ACTIVE' AND NEW.delivered_at IS NULL AND NEW.period_number = 1 THEN 'PENDING'
            ELSE NEW.status END,
        NEW.updated_at
    );
    RETURN NULL;
END $$;
DROP TRIGGER subscriptions_event ON subscriptions;
CREATE TRIGGER subscriptions_event
AFTER UPDATE OF status, plan_id, auto_renew, period_end, delivered_at ON subscriptions FOR EACH ROW
WHEN (NEW.status <> OLD.status OR NEW.plan_id <> OLD.plan_id OR NEW.auto_renew <> OLD.auto_renew
    OR NEW.period_end <> OLD.period_end OR NEW.delivered_at IS NOT NULL AND OLD.delivered_at IS NULL)
EXECUTE FUNCTION note_subscription_event();
