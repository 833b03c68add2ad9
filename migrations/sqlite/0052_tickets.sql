-- Questions of customers to the shop.
DELETE FROM sequences WHERE name = 'ticket';
-- The last number of a ticket. Its row is locked by the transaction that takes one, so that none is left out.
CREATE TABLE ticket_numbers (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    last INTEGER NOT NULL
) STRICT;
INSERT INTO ticket_numbers (id, last) VALUES (1, 0);

CREATE TABLE tickets (
    id BLOB PRIMARY KEY NOT NULL,
    number INTEGER NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    subject TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('OPEN', 'IN_PROGRESS', 'CLOSED')),
    priority TEXT NOT NULL CHECK (priority IN ('LOW', 'NORMAL', 'HIGH', 'URGENT')),
    assignee_id BLOB REFERENCES users (id),
    instance_id BLOB REFERENCES instances (id),
    -- Time of the last answer that the customer did not answer yet.
    awaits_customer_since TEXT,
    closed_at TEXT,
    closed_by TEXT CHECK (closed_by IN ('CUSTOMER', 'ADMINISTRATOR', 'SILENCE')),
    created_at TEXT NOT NULL,
    -- Last change that the customer sees.
    updated_at TEXT NOT NULL,
    -- Last change of any kind, notes too.
    touched_at TEXT NOT NULL,
    CONSTRAINT tickets_number_key UNIQUE (number),
    CHECK ((status = 'CLOSED') = (closed_at IS NOT NULL) AND (closed_at IS NULL) = (closed_by IS NULL)),
    CHECK (awaits_customer_since IS NULL OR status = 'IN_PROGRESS')
) STRICT;
CREATE INDEX tickets_by_user ON tickets (user_id, created_at, id);
CREATE INDEX tickets_by_assignee ON tickets (assignee_id) WHERE assignee_id IS NOT NULL;
CREATE INDEX tickets_by_instance ON tickets (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX tickets_awaiting ON tickets (awaits_customer_since) WHERE awaits_customer_since IS NOT NULL;

-- The same table as `TicketStatus::may_become`.
CREATE TRIGGER tickets_moves BEFORE UPDATE OF status ON tickets
WHEN NEW.status <> OLD.status AND (OLD.status || ' ' || NEW.status) IN ('IN_PROGRESS OPEN', 'CLOSED IN_PROGRESS')
BEGIN
    SELECT RAISE(ABORT, 'this is no legal change of a ticket');
END;

CREATE TABLE ticket_messages (
    id BLOB PRIMARY KEY NOT NULL,
    ticket_id BLOB NOT NULL REFERENCES tickets (id) ON DELETE CASCADE,
    author_id BLOB NOT NULL REFERENCES users (id),
    author TEXT NOT NULL CHECK (author IN ('CUSTOMER', 'ADMINISTRATOR')),
    -- A note of administrators, which customers never see.
    internal INTEGER NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('API', 'EMAIL')),
    -- Message-ID of the mail that it came by, so that one that is delivered twice is one message.
    mail_id TEXT,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    CONSTRAINT ticket_messages_mail_key UNIQUE (ticket_id, mail_id),
    CHECK (author = 'ADMINISTRATOR' OR NOT internal)
) STRICT;
CREATE INDEX ticket_messages_by_ticket ON ticket_messages (ticket_id, created_at, id);

-- Files of messages. A row is there before its file and until after it, so that no file is ever without a row.
CREATE TABLE ticket_attachments (
    id BLOB PRIMARY KEY NOT NULL,
    -- Absent while its upload is under way, and for one that was refused or interrupted.
    message_id BLOB REFERENCES ticket_messages (id) ON DELETE RESTRICT,
    user_id BLOB NOT NULL REFERENCES users (id),
    -- Name that the file had where it came from.
    name TEXT NOT NULL,
    media_type TEXT NOT NULL CHECK (media_type IN ('image/gif', 'image/jpeg', 'image/png')),
    size_bytes INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    -- Its file is being removed: it can belong to no message any more.
    discarded_at TEXT,
    CHECK (message_id IS NULL OR discarded_at IS NULL)
) STRICT;
CREATE INDEX ticket_attachments_by_message ON ticket_attachments (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX ticket_attachments_without_message ON ticket_attachments (created_at) WHERE message_id IS NULL;

-- What was known of the instance that a ticket names when it was opened.
CREATE TABLE ticket_evidence (
    ticket_id BLOB PRIMARY KEY NOT NULL REFERENCES tickets (id) ON DELETE CASCADE,
    content TEXT NOT NULL,
    taken_at TEXT NOT NULL
) STRICT;

CREATE TABLE canned_answers (
    id BLOB PRIMARY KEY NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT canned_answers_title_key UNIQUE (title)
) STRICT;
