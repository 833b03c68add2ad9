-- Questions of customers to the shop.
DROP SEQUENCE ticket_numbers;
-- The last number of a ticket. Its row is locked by the transaction that takes one, so that none is left out.
CREATE TABLE ticket_numbers (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    last BIGINT NOT NULL
);
INSERT INTO ticket_numbers (id, last) VALUES (1, 0);

CREATE TABLE tickets (
    id UUID PRIMARY KEY NOT NULL,
    number BIGINT NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    subject TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('OPEN', 'IN_PROGRESS', 'CLOSED')),
    priority TEXT NOT NULL CHECK (priority IN ('LOW', 'NORMAL', 'HIGH', 'URGENT')),
    assignee_id UUID REFERENCES users (id),
    instance_id UUID REFERENCES instances (id),
    -- Time of the last answer that the customer did not answer yet.
    awaits_customer_since TIMESTAMPTZ,
    closed_at TIMESTAMPTZ,
    closed_by TEXT CHECK (closed_by IN ('CUSTOMER', 'ADMINISTRATOR', 'SILENCE')),
    created_at TIMESTAMPTZ NOT NULL,
    -- Last change that the customer sees.
    updated_at TIMESTAMPTZ NOT NULL,
    -- Last change of any kind, notes too.
    touched_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT tickets_number_key UNIQUE (number),
    CHECK ((status = 'CLOSED') = (closed_at IS NOT NULL) AND (closed_at IS NULL) = (closed_by IS NULL)),
    CHECK (awaits_customer_since IS NULL OR status = 'IN_PROGRESS')
);
CREATE INDEX tickets_by_user ON tickets (user_id, created_at, id);
CREATE INDEX tickets_by_assignee ON tickets (assignee_id) WHERE assignee_id IS NOT NULL;
CREATE INDEX tickets_by_instance ON tickets (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX tickets_awaiting ON tickets (awaits_customer_since) WHERE awaits_customer_since IS NOT NULL;

-- The same table as `TicketStatus::may_become`.
CREATE FUNCTION ticket_moves_are_legal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'this is no legal change of a ticket' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER tickets_moves BEFORE UPDATE OF status ON tickets FOR EACH ROW
WHEN (NEW.status <> OLD.status AND (OLD.status || ' ' || NEW.status) IN ('IN_PROGRESS OPEN', 'CLOSED IN_PROGRESS'))
EXECUTE FUNCTION ticket_moves_are_legal();

CREATE TABLE ticket_messages (
    id UUID PRIMARY KEY NOT NULL,
    ticket_id UUID NOT NULL REFERENCES tickets (id) ON DELETE CASCADE,
    author_id UUID NOT NULL REFERENCES users (id),
    author TEXT NOT NULL CHECK (author IN ('CUSTOMER', 'ADMINISTRATOR')),
    -- A note of administrators, which customers never see.
    internal BOOLEAN NOT NULL,
    channel TEXT NOT NULL CHECK (channel IN ('API', 'EMAIL')),
    -- Message-ID of the mail that it came by, so that one that is delivered twice is one message.
    mail_id TEXT,
    body TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT ticket_messages_mail_key UNIQUE (ticket_id, mail_id),
    CHECK (author = 'ADMINISTRATOR' OR NOT internal)
);
CREATE INDEX ticket_messages_by_ticket ON ticket_messages (ticket_id, created_at, id);

-- Files of messages. A row is there before its file and until after it, so that no file is ever without a row.
CREATE TABLE ticket_attachments (
    id UUID PRIMARY KEY NOT NULL,
    -- Absent while its upload is under way, and for one that was refused or interrupted.
    message_id UUID REFERENCES ticket_messages (id) ON DELETE RESTRICT,
    user_id UUID NOT NULL REFERENCES users (id),
    -- Name that the file had where it came from.
    name TEXT NOT NULL,
    media_type TEXT NOT NULL CHECK (media_type IN ('image/gif', 'image/jpeg', 'image/png')),
    size_bytes BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    -- Its file is being removed: it can belong to no message any more.
    discarded_at TIMESTAMPTZ,
    CHECK (message_id IS NULL OR discarded_at IS NULL)
);
CREATE INDEX ticket_attachments_by_message ON ticket_attachments (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX ticket_attachments_without_message ON ticket_attachments (created_at) WHERE message_id IS NULL;

-- What was known of the instance that a ticket names when it was opened.
CREATE TABLE ticket_evidence (
    ticket_id UUID PRIMARY KEY NOT NULL REFERENCES tickets (id) ON DELETE CASCADE,
    content JSONB NOT NULL,
    taken_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE canned_answers (
    id UUID PRIMARY KEY NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT canned_answers_title_key UNIQUE (title)
);
