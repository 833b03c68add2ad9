-- Events tell of tickets: of each message that the customer sees, of a closing and of a reopening; and those of a
-- subscription tell of a freeze that is asked for or called back.

-- The check of a column cannot be changed in place, so that the table is made again. Triggers and views that name it
-- stay. Clients may have seen the numbers of events that were removed since: the count goes on.
CREATE TABLE customer_events_kept AS SELECT seq, user_id, kind, subject_id, change, at FROM customer_events;
CREATE TABLE customer_events_count AS SELECT seq FROM sqlite_sequence WHERE name = 'customer_events';
DROP TABLE customer_events;
CREATE TABLE customer_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('instance', 'notification', 'subscription', 'ticket', 'wallet')),
    -- Instance, notification, subscription, ticket, or transaction of the wallet.
    subject_id BLOB NOT NULL,
    -- The status or the kind that it has now.
    change TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
INSERT INTO customer_events (seq, user_id, kind, subject_id, change, at)
SELECT seq, user_id, kind, subject_id, change, at FROM customer_events_kept ORDER BY seq;
DELETE FROM sqlite_sequence WHERE name = 'customer_events';
INSERT INTO sqlite_sequence (name, seq) SELECT 'customer_events', seq FROM customer_events_count;
DROP TABLE customer_events_kept;
DROP TABLE customer_events_count;
CREATE INDEX customer_events_by_user ON customer_events (user_id, seq);
CREATE INDEX customer_events_by_age ON customer_events (at);

-- Events of all kinds that no later commit can come before, under the name that PostgreSQL has for them.
DROP VIEW settled_events;
CREATE VIEW settled_changes AS SELECT seq AS tx, 0 AS seq, user_id, kind, subject_id, change, at FROM customer_events;

-- A ticket is opened with a message, and an answer makes it IN_PROGRESS in the transaction of its message, which
-- nothing else does. Notes are no events.
CREATE TRIGGER ticket_messages_event AFTER INSERT ON ticket_messages WHEN NOT NEW.internal
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    SELECT t.user_id, 'ticket', t.id, CASE WHEN NEW.author = 'ADMINISTRATOR' THEN 'IN_PROGRESS' ELSE t.status END,
        NEW.created_at
    FROM tickets t WHERE t.id = NEW.ticket_id;
END;
CREATE TRIGGER tickets_event AFTER UPDATE OF status ON tickets
WHEN NEW.status <> OLD.status AND NEW.status <> 'IN_PROGRESS'
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (NEW.user_id, 'ticket', NEW.id, NEW.status, NEW.updated_at);
END;

DROP TRIGGER subscriptions_event;
CREATE TRIGGER subscriptions_event
AFTER UPDATE OF status, plan_id, auto_renew, period_end, delivered_at, freeze_state ON subscriptions
WHEN NEW.status <> OLD.status OR NEW.plan_id <> OLD.plan_id OR NEW.auto_renew <> OLD.auto_renew
    OR NEW.period_end <> OLD.period_end OR NEW.delivered_at IS NOT NULL AND OLD.delivered_at IS NULL
    OR NEW.freeze_state <> OLD.freeze_state
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (
        NEW.user_id, 'subscription', NEW.id,
        CASE WHEN NEW.status = 'ACTIVE' AND NEW.delivered_at IS NULL AND NEW.period_number = 1 THEN 'PENDING'
            ELSE NEW.status END,
        NEW.updated_at
    );
END;
