-- Events tell of tickets: of each message that the customer sees, of a closing and of a reopening; and those of a
-- subscription tell of a freeze that is asked for or called back.
ALTER TABLE customer_events DROP CONSTRAINT customer_events_kind_check;
ALTER TABLE customer_events ADD CONSTRAINT customer_events_kind_check
    CHECK (kind IN ('instance', 'notification', 'subscription', 'ticket', 'wallet'));

-- Events of all kinds that no later commit can come before: all transactions up to theirs have ended.
CREATE VIEW settled_changes AS SELECT tx, seq, user_id, kind, subject_id, change, at FROM customer_events
WHERE tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
-- Servers before this migration read these. They know no events of tickets.
CREATE OR REPLACE VIEW settled_events AS SELECT tx, seq, user_id, kind, subject_id, change, at FROM customer_events
WHERE tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint AND kind <> 'ticket';

-- A ticket is opened with a message, and an answer makes it IN_PROGRESS in the transaction of its message, which
-- nothing else does. Notes are no events.
CREATE FUNCTION note_ticket_message_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    SELECT t.user_id, 'ticket', t.id, CASE WHEN NEW.author = 'ADMINISTRATOR' THEN 'IN_PROGRESS' ELSE t.status END,
        NEW.created_at
    FROM tickets t WHERE t.id = NEW.ticket_id;
    RETURN NULL;
END $$;
CREATE TRIGGER ticket_messages_event AFTER INSERT ON ticket_messages FOR EACH ROW
WHEN (NOT NEW.internal) EXECUTE FUNCTION note_ticket_message_event();
CREATE FUNCTION note_ticket_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (NEW.user_id, 'ticket', NEW.id, NEW.status, NEW.updated_at);
    RETURN NULL;
END $$;
CREATE TRIGGER tickets_event AFTER UPDATE OF status ON tickets FOR EACH ROW
WHEN (NEW.status <> OLD.status AND NEW.status <> 'IN_PROGRESS') EXECUTE FUNCTION note_ticket_event();

DROP TRIGGER subscriptions_event ON subscriptions;
CREATE TRIGGER subscriptions_event
AFTER UPDATE OF status, plan_id, auto_renew, period_end, delivered_at, freeze_state ON subscriptions FOR EACH ROW
WHEN (NEW.status <> OLD.status OR NEW.plan_id <> OLD.plan_id OR NEW.auto_renew <> OLD.auto_renew
    OR NEW.period_end <> OLD.period_end OR NEW.delivered_at IS NOT NULL AND OLD.delivered_at IS NULL
    OR NEW.freeze_state <> OLD.freeze_state)
EXECUTE FUNCTION note_subscription_event();
