-- What is told to people: once for its kind, its subject and its period, in their language.
ALTER TABLE users ADD COLUMN language TEXT NOT NULL DEFAULT 'id' CHECK (language IN ('id', 'en'));

ALTER TABLE outbox ADD COLUMN once_key TEXT;
CREATE UNIQUE INDEX outbox_once ON outbox (topic, subject_id, once_key) WHERE once_key IS NOT NULL;
-- Rows from before this were for no reader.
UPDATE outbox SET handled_at = created_at WHERE handled_at IS NULL;
DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (created_at, id) WHERE handled_at IS NULL;

CREATE TABLE notifications (
    id BLOB PRIMARY KEY NOT NULL,
    -- The row of the outbox, which may be purged before.
    message_id BLOB NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    in_inbox INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    read_at TEXT,
    CONSTRAINT notifications_message_id_user_id_key UNIQUE (message_id, user_id)
) STRICT;
CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id) WHERE in_inbox;
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL AND in_inbox;
CREATE INDEX notifications_by_age ON notifications (created_at);

CREATE TABLE notification_deliveries (
    id BLOB PRIMARY KEY NOT NULL,
    notification_id BLOB NOT NULL REFERENCES notifications (id),
    channel TEXT NOT NULL CHECK (channel IN ('EMAIL')),
    address TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'SENT', 'FAILED', 'DEAD')),
    attempts INTEGER NOT NULL,
    next_try_at TEXT NOT NULL,
    -- After this moment it is not tried any more.
    retry_until TEXT NOT NULL,
    lease_holder BLOB,
    lease_until TEXT,
    -- The last answer of the other side, or the reason why there was none.
    answer TEXT,
    -- Ends further mails of the kind without a password; absent in what must be told.
    unsubscribe_token TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    sent_at TEXT,
    CONSTRAINT notification_deliveries_notification_id_channel_key UNIQUE (notification_id, channel),
    CONSTRAINT notification_deliveries_unsubscribe_token_key UNIQUE (unsubscribe_token)
) STRICT;
CREATE INDEX notification_deliveries_due ON notification_deliveries (next_try_at) WHERE state IN ('PENDING', 'FAILED');
CREATE INDEX notification_deliveries_by_state ON notification_deliveries (state, created_at, id);
CREATE INDEX notification_deliveries_by_age ON notification_deliveries (created_at, id);
CREATE INDEX notification_deliveries_by_lease ON notification_deliveries (lease_until) WHERE lease_until IS NOT NULL;

-- Exceptions; without one, everything is told on every channel.
CREATE TABLE notification_preferences (
    user_id BLOB NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('INBOX', 'EMAIL')),
    enabled INTEGER NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (user_id, kind, channel)
) STRICT;
