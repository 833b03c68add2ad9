-- What is told to people: once for its kind, its subject and its period, in their language.
ALTER TABLE users ADD COLUMN language TEXT NOT NULL DEFAULT 'id' CHECK (language IN ('id', 'en'));

ALTER TABLE outbox ADD COLUMN once_key TEXT;
CREATE UNIQUE INDEX outbox_once ON outbox (topic, subject_id, once_key) WHERE once_key IS NOT NULL;
-- Rows from before this were for no reader.
UPDATE outbox SET handled_at = created_at WHERE handled_at IS NULL;
DROP INDEX outbox_waiting;
CREATE INDEX outbox_waiting ON outbox (created_at, id) WHERE handled_at IS NULL;

CREATE TABLE notifications (
    id UUID PRIMARY KEY NOT NULL,
    -- The row of the outbox, which may be purged before.
    message_id UUID NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    payload JSONB NOT NULL,
    in_inbox BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    read_at TIMESTAMPTZ,
    CONSTRAINT notifications_message_id_user_id_key UNIQUE (message_id, user_id)
);
CREATE INDEX notifications_by_user ON notifications (user_id, created_at, id) WHERE in_inbox;
CREATE INDEX notifications_unread ON notifications (user_id) WHERE read_at IS NULL AND in_inbox;
CREATE INDEX notifications_by_age ON notifications (created_at);

CREATE TABLE notification_deliveries (
    id UUID PRIMARY KEY NOT NULL,
    notification_id UUID NOT NULL REFERENCES notifications (id),
    channel TEXT NOT NULL CHECK (channel IN ('EMAIL')),
    address TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'SENT', 'FAILED', 'DEAD')),
    attempts BIGINT NOT NULL,
    next_try_at TIMESTAMPTZ NOT NULL,
    -- After this moment it is not tried any more.
    retry_until TIMESTAMPTZ NOT NULL,
    lease_holder UUID,
    lease_until TIMESTAMPTZ,
    -- The last answer of the other side, or the reason why there was none.
    answer TEXT,
    -- Ends further mails of the kind without a password; absent in what must be told.
    unsubscribe_token TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    sent_at TIMESTAMPTZ,
    CONSTRAINT notification_deliveries_notification_id_channel_key UNIQUE (notification_id, channel),
    CONSTRAINT notification_deliveries_unsubscribe_token_key UNIQUE (unsubscribe_token)
);
CREATE INDEX notification_deliveries_due ON notification_deliveries (next_try_at) WHERE state IN ('PENDING', 'FAILED');
CREATE INDEX notification_deliveries_by_state ON notification_deliveries (state, created_at, id);
CREATE INDEX notification_deliveries_by_age ON notification_deliveries (created_at, id);
CREATE INDEX notification_deliveries_by_lease ON notification_deliveries (lease_until) WHERE lease_until IS NOT NULL;

-- Exceptions; without one, everything is told on every channel.
CREATE TABLE notification_preferences (
    user_id UUID NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('INBOX', 'EMAIL')),
    enabled BOOLEAN NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, kind, channel)
);
