-- What changed for a customer, in the order in which the changes became visible: written by triggers in the
-- transaction of the change, read by streams of events.
CREATE TABLE customer_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('instance', 'notification', 'subscription', 'wallet')),
    -- Instance, notification, subscription, or transaction of the wallet.
    subject_id BLOB NOT NULL,
    -- The status or the kind that it has now.
    change TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX customer_events_by_user ON customer_events (user_id, seq);
CREATE INDEX customer_events_by_age ON customer_events (at);

-- Events that no later commit can come before: all of them, since one transaction writes at a time. Their number is
-- the whole place.
CREATE VIEW settled_events AS SELECT seq AS tx, 0 AS seq, user_id, kind, subject_id, change, at FROM customer_events;
-- The place after which all further events come.
CREATE VIEW events_now AS
SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'customer_events'), 0) AS tx, 0 AS seq;

CREATE TRIGGER instances_made_event AFTER INSERT ON instances
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (NEW.user_id, 'instance', NEW.id, NEW.status, NEW.updated_at);
END;
CREATE TRIGGER instances_event AFTER UPDATE OF status ON instances WHEN NEW.status <> OLD.status
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (NEW.user_id, 'instance', NEW.id, NEW.status, NEW.updated_at);
END;

CREATE TRIGGER notifications_event AFTER INSERT ON notifications WHEN NEW.in_inbox
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (NEW.user_id, 'notification', NEW.id, NEW.kind, NEW.created_at);
END;

CREATE TRIGGER subscriptions_made_event AFTER INSERT ON subscriptions
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (NEW.user_id, 'subscription', NEW.id, NEW.status, NEW.updated_at);
END;
CREATE TRIGGER subscriptions_event AFTER UPDATE OF status, plan_id, auto_renew, period_end ON subscriptions
WHEN NEW.status <> OLD.status OR NEW.plan_id <> OLD.plan_id OR NEW.auto_renew <> OLD.auto_renew
    OR NEW.period_end <> OLD.period_end
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    VALUES (NEW.user_id, 'subscription', NEW.id, NEW.status, NEW.updated_at);
END;

CREATE TRIGGER wallets_event AFTER INSERT ON journal_entries
BEGIN
    INSERT INTO customer_events (user_id, kind, subject_id, change, at)
    SELECT NEW.wallet_id, 'wallet', t.id, t.type, NEW.posted_at FROM transactions t WHERE t.id = NEW.transaction_id;
END;
